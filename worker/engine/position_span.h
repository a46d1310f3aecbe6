// Where the positions of a sequence lie in its slot of the key-value cache. Plain data: the kernels include it.
#ifndef MERGANSER_WORKER_ENGINE_POSITION_SPAN_H_
#define MERGANSER_WORKER_ENGINE_POSITION_SPAN_H_

namespace merganser {

// The positions from `position` up to the next span's lie side by side from `row` on. Rows and positions are congruent
// modulo 16, so that a sum over a sequence takes its terms in the same order wherever it lies.
struct PositionSpan {
  int position = 0;
  int row = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_POSITION_SPAN_H_
