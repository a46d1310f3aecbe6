// The contract of ResultsStore as tests: results_store_contract.cc has them, *_test.cc instantiates
// them.
#ifndef MERGANSER_TESTS_CONTRACTS_RESULTS_STORE_CONTRACT_H_
#define MERGANSER_TESTS_CONTRACTS_RESULTS_STORE_CONTRACT_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "common/store/results_store.h"
#include "gtest/gtest.h"

namespace merganser {

// One empty store for one test.
class StoreWorld {
 public:
  virtual ~StoreWorld() = default;
  virtual ResultsStore& store() = 0;
  // Closes the store and opens the same data again. False if this kind keeps nothing.
  virtual bool Reopen() = 0;
  // Moves the store's clock, if the test can; otherwise time passes by itself and the test polls.
  virtual void Advance(absl::Duration) {}
};

struct StoreKind {
  std::string name;
  // nullptr with a reason if this machine cannot run it.
  std::function<std::unique_ptr<StoreWorld>(std::string& reason)> make;
};

inline void PrintTo(const StoreKind& kind, std::ostream* out) { *out << kind.name; }

class ResultsStoreContract : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override;
  ResultsStore& store() { return world_->store(); }
  // Lead under `holder`, which must succeed.
  int64_t MustLead(const std::string& holder = "a");
  // Lets `lease` run out: tries to lead as `holder` until it may.
  int64_t LeadWhenFree(const std::string& holder, absl::Duration lease);
  std::string MustCreateJob(int64_t epoch, const std::string& name = "job");

  std::unique_ptr<StoreWorld> world_;
};

}  // namespace merganser

#endif  // MERGANSER_TESTS_CONTRACTS_RESULTS_STORE_CONTRACT_H_
