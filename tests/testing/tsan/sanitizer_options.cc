// Options and suppressions of ThreadSanitizer, compiled into every program of the tsan preset: one that is started by hand
// has them, too. TSAN_OPTIONS adds to them.
//
// A suppression names a function (or library) that is not ours, and its top frame only: a race of ours below it stays one.

// A second thread may fork (tests start programs); the child only executes one.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "die_after_fork=0:second_deadlock_stack=1"; }
