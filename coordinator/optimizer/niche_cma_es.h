// CMA-ES with a niche archive beside it that injects children.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_NICHE_CMA_ES_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_NICHE_CMA_ES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "coordinator/optimizer/cma_es.h"
#include "coordinator/optimizer/niche_archive.h"
#include "coordinator/optimizer/optimizer.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {

// The distribution learns from the mean of the objectives, the archive keeps who is good at what few are good at. Of every
// batch_size() proposals the last `children` are bred by the archive, as soon as it has two members, and injected into
// CMA-ES (CmaEs::Inject); the others are drawn from the distribution. Every outcome is told to both, so whatever CMA-ES
// finds may become a parent. The archive takes outcomes in groups of a generation.
//
// Both keep books of all proposals under the same ids.
class NicheCmaEs : public Optimizer {
 public:
  // `cma_es` and `archive` have the same genome and batch_size() and have proposed nothing. REQUIRES: 1 <= children <
  // batch_size().
  NicheCmaEs(std::unique_ptr<CmaEs> cma_es, std::unique_ptr<NicheArchive> archive, int children);
  // Reads what SaveState wrote, after the header line. DataLoss if it is damaged.
  static absl::StatusOr<std::unique_ptr<NicheCmaEs>> Restore(StateReader& reader);

  absl::StatusOr<std::vector<Proposal>> Ask(int count) override;
  absl::Status Tell(absl::Span<const Outcome> outcomes) override;
  absl::Status Adopt(absl::Span<const Proposal> logged) override;
  std::string SaveState() const override;
  int batch_size() const override { return cma_es_->batch_size(); }
  int dimension() const override { return cma_es_->dimension(); }
  int64_t generation() const override { return cma_es_->generation(); }
  // Of the distribution.
  std::vector<double> Mean() const override { return cma_es_->Mean(); }
  std::string Summary() const override;
  std::string StopReason() const override { return cma_es_->StopReason(); }

  const CmaEs& cma_es() const { return *cma_es_; }
  const NicheArchive& archive() const { return *archive_; }

 private:
  bool IsChild(ProposalId id) const {
    return id % batch_size() >= batch_size() - children_ && archive_->members().size() >= 2;
  }

  std::unique_ptr<CmaEs> cma_es_;
  std::unique_ptr<NicheArchive> archive_;
  int children_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_NICHE_CMA_ES_H_
