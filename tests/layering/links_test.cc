// Documents hold together: every relative link leads to a file, and every heading that a link names is there.
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace {

namespace fs = std::filesystem;

std::string Read(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Without what stands between ``` fences: examples, not links.
std::string WithoutCode(const std::string& text) {
  std::string out;
  bool code = false;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("```", 0) == 0) {
      code = !code;
    } else if (!code) {
      out += line + "\n";
    }
  }
  return out;
}

// As renderers make them: lower case, spaces to '-', punctuation dropped.
std::set<std::string> Anchors(const std::string& text) {
  std::set<std::string> anchors;
  std::istringstream lines(WithoutCode(text));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] != '#') continue;
    std::string anchor;
    for (const char c : line.substr(line.find_first_not_of("# "))) {
      if (c == ' ' || c == '-') anchor += '-';
      if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_') anchor += static_cast<char>(std::tolower(c));
    }
    anchors.insert(anchor);
  }
  return anchors;
}

std::vector<fs::path> Documents() {
  std::vector<fs::path> documents = {fs::path(MG_SOURCE_DIR) / "README.md", fs::path(MG_SOURCE_DIR) / "CHANGELOG.md"};
  for (const char* folder : {"docs", "examples", "common", "coordinator", "worker", "client", "deploy", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(MG_SOURCE_DIR) / folder)) {
      if (entry.path().extension() == ".md") documents.push_back(entry.path());
    }
  }
  return documents;
}

TEST(LinksTest, EveryRelativeLinkLeadsSomewhere) {
  const std::regex link(R"(\]\(([^)\s]+)\))");
  int links = 0;
  for (const fs::path& document : Documents()) {
    const std::string text = WithoutCode(Read(document));
    for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it) {
      const std::string target = (*it)[1];
      if (target.find("://") != std::string::npos || target.rfind("mailto:", 0) == 0) continue;
      ++links;
      const size_t hash = target.find('#');
      const fs::path file = hash == 0 ? document : document.parent_path() / target.substr(0, hash);
      EXPECT_TRUE(fs::exists(file)) << fs::relative(document, MG_SOURCE_DIR) << " links to " << target;
      if (hash != std::string::npos && fs::is_regular_file(file)) {
        EXPECT_EQ(Anchors(Read(file)).count(target.substr(hash + 1)), 1u)
            << fs::relative(document, MG_SOURCE_DIR) << " links to " << target;
      }
    }
  }
  EXPECT_GT(links, 10);
}

}  // namespace
