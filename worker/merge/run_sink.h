// Where a merge's results go, run by run: an arena, or whoever writes them while the rest is computed.
#ifndef MERGANSER_WORKER_MERGE_RUN_SINK_H_
#define MERGANSER_WORKER_MERGE_RUN_SINK_H_

#include <cstddef>
#include <cstdint>

namespace merganser {

// Runs are RunsOf(the sources' layout), begun in their order by several threads and finished in any.
class RunSink {
 public:
  virtual ~RunSink() = default;

  // Memory for a run's values. May wait until earlier runs have been taken away; null: nobody wants it any more.
  virtual std::byte* Room(int64_t run) = 0;
  // All `bytes` of the run are there.
  virtual void Put(int64_t run, int64_t bytes) = 0;
  // This run will not be put: the merge ends with an error, and none behind it need be begun.
  virtual void Fail(int64_t run) = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_RUN_SINK_H_
