// Linked into every test program: whatever it and the processes that it starts make under $TMPDIR (testing::TempDir()) is in
// one folder of the program's own, which goes when it ends. MERGANSER_KEEP_TEST_FILES=1 keeps it, and says where it is.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace merganser::testing_support {
namespace {

char folder[4096];
pid_t owner = 0;

// Before the initializers of the tests' own globals, which may ask for the folder.
__attribute__((constructor(101))) void MakeFolder() {
  const char* parent = std::getenv("TEST_TMPDIR");
  if (parent == nullptr || *parent == '\0') parent = std::getenv("TMPDIR");
  if (parent == nullptr || *parent == '\0') parent = "/tmp";
  std::snprintf(folder, sizeof(folder), "%s/mg-test.XXXXXX", parent);
  if (mkdtemp(folder) == nullptr) {
    std::perror(folder);
    std::_Exit(1);
  }
  owner = getpid();
  setenv("TMPDIR", folder, 1);
  unsetenv("TEST_TMPDIR");  // testing::TempDir() would take it first
}

__attribute__((destructor(101))) void RemoveFolder() {
  if (getpid() != owner) return;  // a child of fork()
  if (std::getenv("MERGANSER_KEEP_TEST_FILES") != nullptr) {
    std::fprintf(stderr, "the test's files are in %s\n", folder);
    return;
  }
  std::error_code ignored;  // a folder that a test made unreadable: better left than to fail for it
  std::filesystem::remove_all(folder, ignored);
}

}  // namespace
}  // namespace merganser::testing_support
