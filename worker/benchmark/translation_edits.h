// Translation edit rate (Snover et al. 2006) as sacrebleu 2, after Tercom, works it out.
#ifndef MERGANSER_WORKER_BENCHMARK_TRANSLATION_EDITS_H_
#define MERGANSER_WORKER_BENCHMARK_TRANSLATION_EDITS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace merganser {

// How many edits make `words` of `reference`: words put in, taken out, replaced, and runs of up to 10 words moved by up to
// 50 places. The search is greedy: of the moves that save most edits the first of the longest ones is made, as long as one
// saves any and fewer than 1000 were tried; edit distances are those within 25 words of the diagonal.
int64_t TranslationEdits(const std::vector<std::string>& words, const std::vector<std::string>& reference);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_TRANSLATION_EDITS_H_
