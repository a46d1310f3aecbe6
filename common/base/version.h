// What this build calls itself, in results, `merganser version` and the build_info metric.
#ifndef MERGANSER_COMMON_BASE_VERSION_H_
#define MERGANSER_COMMON_BASE_VERSION_H_

namespace merganser {

inline constexpr char kVersion[] = "0.1.0";
// Part of every result record: raised whenever the same recipe may score differently (engine, merge or scoring changes).
inline constexpr int kEvaluationVersion = 1;

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_VERSION_H_
