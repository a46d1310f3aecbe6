// MG_MULTIVERSION: compiles a function for several instruction sets; the machine's best one is
// taken at run time. All versions give the same bits, because this folder is compiled with
// -ffp-contract=off (no fused multiply-add).
#ifndef MERGANSER_WORKER_MERGE_MULTIVERSION_H_
#define MERGANSER_WORKER_MERGE_MULTIVERSION_H_

// Sanitizers are not set up yet when the dynamic linker asks which version to take.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define MG_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MG_MULTIVERSION
#endif

#endif  // MERGANSER_WORKER_MERGE_MULTIVERSION_H_
