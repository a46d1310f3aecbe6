// MGSM's worked examples, for few-shots.
#ifndef MERGANSER_WORKER_BENCHMARK_MGSM_EXEMPLARS_H_
#define MERGANSER_WORKER_BENCHMARK_MGSM_EXEMPLARS_H_

#include <map>
#include <string>
#include <vector>

namespace merganser {

// By language ("ja"); eight JSON objects {"question", "answer"}, each text with its label ("問題：...").
const std::map<std::string, std::vector<std::string>>& MgsmExemplars();

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_MGSM_EXEMPLARS_H_
