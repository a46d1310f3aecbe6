// Tells ThreadSanitizer of Abseil's locks; linked into every program of the tsan preset, and of no other.
//
// Abseil annotates its mutex for ThreadSanitizer only where Abseil itself is compiled with it. The packaged library is not: a
// program that keeps every rule would be full of "races". These definitions stand before the library's (the dynamic linker
// takes a program's symbols first, for gRPC's calls, too), tell the sanitizer what happens and call the library's own.
//
// What a condition reads is looked at in the thread that waits, under the lock; Abseil's own evaluations of it, which may be
// by another thread, are not looked at.
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/base/config.h"
#include "absl/base/options.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

// Later ones inline other functions into their callers: what has to be defined here differs.
static_assert(ABSL_LTS_RELEASE_VERSION == 20220623,
              "the tsan preset knows the locks of Abseil 20220623 (Debian 12, Ubuntu 24.04)");

namespace {

#define MG_NAME_TEXT(name) #name
#define MG_NAME(name) MG_NAME_TEXT(name)

// Itanium mangling: absl::<inline namespace>::<member>.
void* NextDefinition(const char* member) {
  constexpr char kNamespace[] = MG_NAME(ABSL_OPTION_INLINE_NAMESPACE_NAME);
  char symbol[256];
  snprintf(symbol, sizeof(symbol), "_ZN4absl%zu%s%s", strlen(kNamespace), kNamespace, member);
  void* found = dlsym(RTLD_NEXT, symbol);
  if (found == nullptr) {
    fprintf(stderr, "%s: no library defines %s\n", __FILE__, symbol);
    abort();
  }
  return found;
}

// As a free function: `this` comes first, and a reference is a pointer. In mangled arguments S0_ is the inline namespace.
#define MG_REAL(result, member, ...) \
  static const auto real = reinterpret_cast<result (*)(__VA_ARGS__)>(NextDefinition(member))

thread_local int depth = 0;  // the library's functions call one another: only the outermost is told

struct Inside {
  Inside() { ++depth; }
  ~Inside() { --depth; }
};

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

Mutex::~Mutex() {
  MG_REAL(void, "5MutexD1Ev", Mutex*);
  __tsan_mutex_destroy(this, __tsan_mutex_not_static);
  real(this);
}

#define MG_LOCK(member, symbol, flags)      \
  void Mutex::member() {                    \
    MG_REAL(void, symbol, Mutex*);          \
    if (depth > 0) return real(this);       \
    const Inside inside;                    \
    __tsan_mutex_pre_lock(this, flags);     \
    real(this);                             \
    __tsan_mutex_post_lock(this, flags, 0); \
  }
MG_LOCK(Lock, "5Mutex4LockEv", 0)
MG_LOCK(ReaderLock, "5Mutex10ReaderLockEv", __tsan_mutex_read_lock)

#define MG_UNLOCK(member, symbol, flags)   \
  void Mutex::member() {                   \
    MG_REAL(void, symbol, Mutex*);         \
    if (depth > 0) return real(this);      \
    const Inside inside;                   \
    __tsan_mutex_pre_unlock(this, flags);  \
    real(this);                            \
    __tsan_mutex_post_unlock(this, flags); \
  }
MG_UNLOCK(Unlock, "5Mutex6UnlockEv", 0)
MG_UNLOCK(ReaderUnlock, "5Mutex12ReaderUnlockEv", __tsan_mutex_read_lock)

#define MG_TRY_LOCK(member, symbol, flags)                                                                          \
  bool Mutex::member() {                                                                                            \
    MG_REAL(bool, symbol, Mutex*);                                                                                  \
    if (depth > 0) return real(this);                                                                               \
    const Inside inside;                                                                                            \
    __tsan_mutex_pre_lock(this, (flags) | __tsan_mutex_try_lock);                                                   \
    const bool locked = real(this);                                                                                 \
    __tsan_mutex_post_lock(this, (flags) | __tsan_mutex_try_lock | (locked ? 0 : __tsan_mutex_try_lock_failed), 0); \
    return locked;                                                                                                  \
  }
MG_TRY_LOCK(TryLock, "5Mutex7TryLockEv", 0)
MG_TRY_LOCK(ReaderTryLock, "5Mutex13ReaderTryLockEv", __tsan_mutex_read_lock)

#define MG_LOCK_WHEN(member, symbol, flags)          \
  void Mutex::member(const Condition& condition) {   \
    MG_REAL(void, symbol, Mutex*, const Condition*); \
    if (depth > 0) return real(this, &condition);    \
    {                                                \
      const Inside inside;                           \
      __tsan_mutex_pre_lock(this, flags);            \
      real(this, &condition);                        \
      __tsan_mutex_post_lock(this, flags, 0);        \
    }                                                \
    (void)condition.Eval();                          \
  }
MG_LOCK_WHEN(LockWhen, "5Mutex8LockWhenERKNS0_9ConditionE", 0)
MG_LOCK_WHEN(ReaderLockWhen, "5Mutex14ReaderLockWhenERKNS0_9ConditionE", __tsan_mutex_read_lock)

// Locked whether or not the condition held in time.
#define MG_LOCK_WHEN_UNTIL(member, symbol, Limit, flags)        \
  bool Mutex::member(const Condition& condition, Limit limit) { \
    MG_REAL(bool, symbol, Mutex*, const Condition*, Limit);     \
    if (depth > 0) return real(this, &condition, limit);        \
    bool held = false;                                          \
    {                                                           \
      const Inside inside;                                      \
      __tsan_mutex_pre_lock(this, flags);                       \
      held = real(this, &condition, limit);                     \
      __tsan_mutex_post_lock(this, flags, 0);                   \
    }                                                           \
    (void)condition.Eval();                                     \
    return held;                                                \
  }
MG_LOCK_WHEN_UNTIL(LockWhenWithTimeout, "5Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE", Duration, 0)
MG_LOCK_WHEN_UNTIL(LockWhenWithDeadline, "5Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE", Time, 0)
MG_LOCK_WHEN_UNTIL(ReaderLockWhenWithTimeout, "5Mutex25ReaderLockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE", Duration,
                   __tsan_mutex_read_lock)
MG_LOCK_WHEN_UNTIL(ReaderLockWhenWithDeadline, "5Mutex26ReaderLockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE", Time,
                   __tsan_mutex_read_lock)

namespace {

// Given up and taken again while `wait` runs.
template <typename Wait>
auto Released(void* mutex, unsigned flags, Wait wait) {
  const Inside inside;
  __tsan_mutex_pre_unlock(mutex, flags);
  __tsan_mutex_post_unlock(mutex, flags);
  __tsan_mutex_pre_lock(mutex, flags);
  const auto result = wait();
  __tsan_mutex_post_lock(mutex, flags, 0);
  return result;
}

constexpr intptr_t kHeldByWriter = 0x8;  // Abseil's kMuWriter

}  // namespace

void Mutex::Await(const Condition& condition) {
  MG_REAL(void, "5Mutex5AwaitERKNS0_9ConditionE", Mutex*, const Condition*);
  if (depth > 0) return real(this, &condition);
  if (condition.Eval()) return;
  const unsigned flags = (mu_.load(std::memory_order_relaxed) & kHeldByWriter) != 0 ? 0 : __tsan_mutex_read_lock;
  Released(this, flags, [&] { return real(this, &condition), true; });
}

#define MG_AWAIT_UNTIL(member, symbol, Limit)                                                                       \
  bool Mutex::member(const Condition& condition, Limit limit) {                                                     \
    MG_REAL(bool, symbol, Mutex*, const Condition*, Limit);                                                         \
    if (depth > 0) return real(this, &condition, limit);                                                            \
    if (condition.Eval()) return true;                                                                              \
    const unsigned flags = (mu_.load(std::memory_order_relaxed) & kHeldByWriter) != 0 ? 0 : __tsan_mutex_read_lock; \
    return Released(this, flags, [&] { return real(this, &condition, limit); });                                    \
  }
MG_AWAIT_UNTIL(AwaitWithTimeout, "5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE", Duration)
MG_AWAIT_UNTIL(AwaitWithDeadline, "5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE", Time)

void CondVar::Wait(Mutex* mutex) {
  MG_REAL(void, "7CondVar4WaitEPNS0_5MutexE", CondVar*, Mutex*);
  if (depth > 0) return real(this, mutex);
  Released(mutex, 0, [&] { return real(this, mutex), true; });
}

#define MG_WAIT_UNTIL(member, symbol, Limit)                             \
  bool CondVar::member(Mutex* mutex, Limit limit) {                      \
    MG_REAL(bool, symbol, CondVar*, Mutex*, Limit);                      \
    if (depth > 0) return real(this, mutex, limit);                      \
    return Released(mutex, 0, [&] { return real(this, mutex, limit); }); \
  }
MG_WAIT_UNTIL(WaitWithTimeout, "7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE", Duration)
MG_WAIT_UNTIL(WaitWithDeadline, "7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE", Time)

// The library's has its store and its first look at the flag where the sanitizer sees neither.
void Notification::Notify() {
  MutexLock lock(&mutex_);
  notified_yet_.store(true, std::memory_order_release);
}

void Notification::WaitForNotification() const {
  if (HasBeenNotified()) return;
  MutexLock lock(&mutex_, Condition(&HasBeenNotifiedInternal, &notified_yet_));
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  if (HasBeenNotified()) return true;
  const bool notified = mutex_.LockWhenWithTimeout(Condition(&HasBeenNotifiedInternal, &notified_yet_), timeout);
  mutex_.Unlock();
  return notified;
}

bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  if (HasBeenNotified()) return true;
  const bool notified = mutex_.LockWhenWithDeadline(Condition(&HasBeenNotifiedInternal, &notified_yet_), deadline);
  mutex_.Unlock();
  return notified;
}

ABSL_NAMESPACE_END
}  // namespace absl
