// Options and suppressions of ThreadSanitizer, compiled into every program of the tsan preset: one that is started by hand
// has them, too. TSAN_OPTIONS adds to them.
//
// A suppression names a function that is not ours and calls nothing of ours back, never a library: that would hide whatever
// it calls. docs/sanitizers.md has the reason of each.

// A second thread may fork (tests start programs); the child only executes one.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "die_after_fork=0:second_deadlock_stack=1"; }

extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  // Its mutex is a function's static variable, made under a guard that the sanitizer does not see.
  return "race:absl::*::time_internal::cctz::time_zone::Impl::LoadTimeZone\n";
}
