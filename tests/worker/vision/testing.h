#ifndef MERGANSER_TESTS_WORKER_VISION_TESTING_H_
#define MERGANSER_TESTS_WORKER_VISION_TESTING_H_

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace merganser {

inline std::string VisionData(const std::string& name) { return MG_SOURCE_DIR "/tests/worker/vision/testdata/" + name; }

// The goldens of every picture, by file name.
inline const nlohmann::json& ImageGoldens() {
  static const auto* const goldens = new nlohmann::json(nlohmann::json::parse(std::ifstream(VisionData("images.json"))));
  return *goldens;
}

}  // namespace merganser

#endif  // MERGANSER_TESTS_WORKER_VISION_TESTING_H_
