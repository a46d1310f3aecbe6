// Every bound on what a client may ask for, each with its reason. Validate() (job_spec.h) enforces them.
#ifndef MERGANSER_COMMON_DOMAIN_LIMITS_H_
#define MERGANSER_COMMON_DOMAIN_LIMITS_H_

#include <cstdint>

namespace merganser::limits {

inline constexpr int kModelsMax = 64;                 // sources held resident by each worker
inline constexpr int kBenchmarksMax = 64;             // per job, held-out ones included
inline constexpr int kObjectivesMax = 8;              // beyond, every candidate is Pareto-optimal
inline constexpr int kGenomeDimensionMax = 10'000;    // a covariance matrix of 800 MB
inline constexpr int64_t kCandidatesMax = 1'000'000;  // a job's log is replayed in memory
inline constexpr int kPopulationMax = 10'000;
inline constexpr int kAttemptsMax = 20;
inline constexpr int kStagesMax = 16;        // searches of a job
inline constexpr int kRepeatsMax = 16;       // of the layers in a data-flow space; the engine's paths have 1024 hops
inline constexpr int kPathLengthMax = 1024;  // hops; a slot of the cache holds keys and values of each
inline constexpr double kScaleMax = 10;      // of what enters a hop
inline constexpr int kHiddenUnitsMax = 64;   // of a network of scales
inline constexpr int kFinalistsMax = 1000;
inline constexpr int kNewTokensMax = 32'768;
inline constexpr int64_t kRecordBytesMax = int64_t{64} << 20;  // one result record in the store
inline constexpr int kRequestBytesMax = 4 << 20;               // one client request
inline constexpr int kPageSizeDefault = 100;
inline constexpr int kPageSizeMax = 1000;

}  // namespace merganser::limits

#endif  // MERGANSER_COMMON_DOMAIN_LIMITS_H_
