#include "coordinator/optimizer/niche_cma_es.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {

NicheCmaEs::NicheCmaEs(std::unique_ptr<CmaEs> cma_es, std::unique_ptr<NicheArchive> archive, int children)
    : cma_es_(std::move(cma_es)), archive_(std::move(archive)), children_(children) {}

absl::StatusOr<std::vector<Proposal>> NicheCmaEs::Ask(int count) {
  MG_RETURN_IF_ERROR(cma_es_->CheckAsk(count));
  std::vector<Proposal> proposals;
  proposals.reserve(count);
  while (static_cast<int>(proposals.size()) < count) {
    const ProposalId id = archive_->next_id();
    if (IsChild(id)) {
      proposals.push_back(archive_->Breed());
      cma_es_->Inject(proposals.back().genome);
      continue;
    }
    int run = 1;  // drawn at once, which is faster and the same
    while (static_cast<int>(proposals.size()) + run < count && !IsChild(id + run)) ++run;
    MG_ASSIGN_OR_RETURN(std::vector<Proposal> drawn, cma_es_->Ask(run));
    for (Proposal& proposal : drawn) {
      archive_->Inject(proposal.genome);
      proposals.push_back(std::move(proposal));
    }
  }
  return proposals;
}

absl::Status NicheCmaEs::Tell(absl::Span<const Outcome> outcomes) {
  // What the first takes the second takes too: they refuse for the same reasons, but that numbers may run away in the first.
  MG_RETURN_IF_ERROR(cma_es_->Tell(outcomes));
  return archive_->Tell(outcomes);
}

absl::Status NicheCmaEs::Adopt(absl::Span<const Proposal> logged) {
  MG_RETURN_IF_ERROR(cma_es_->Adopt(logged));
  return archive_->Adopt(logged);
}

std::string NicheCmaEs::Summary() const { return absl::StrCat(cma_es_->Summary(), "; ", archive_->Summary()); }

std::string NicheCmaEs::SaveState() const {
  StateWriter writer("niche_cma_es");
  writer.Int("children", children_);
  cma_es_->SaveTo(writer);
  archive_->SaveTo(writer);
  return std::move(writer).Finish();
}

absl::StatusOr<std::unique_ptr<NicheCmaEs>> NicheCmaEs::Restore(StateReader& reader) {
  const int children = static_cast<int>(reader.Int("children", 1, CmaEsOptions::kPopulationMax));
  MG_ASSIGN_OR_RETURN(std::unique_ptr<CmaEs> cma_es, CmaEs::RestorePart(reader));
  MG_ASSIGN_OR_RETURN(std::unique_ptr<NicheArchive> archive, NicheArchive::RestorePart(reader));
  reader.Finish();
  if (reader.ok() && (children >= cma_es->batch_size() || archive->batch_size() != cma_es->batch_size() ||
                      archive->dimension() != cma_es->dimension() || archive->next_id() != cma_es->next_id())) {
    reader.Fail("the archive and the distribution are of different searches");
  }
  if (!reader.ok()) return reader.status();
  return std::make_unique<NicheCmaEs>(std::move(cma_es), std::move(archive), children);
}

}  // namespace merganser
