// Included before all else in what uses protobuf, in the tsan preset only.
//
// Under ThreadSanitizer protobuf's MapFieldBase has two members more. The packaged library is compiled without it: each map
// of a message would be of another layout there than here. The standard library comes first: what it has for the sanitizer
// stays.
#ifndef MERGANSER_TESTS_TESTING_TSAN_PROTOBUF_LAYOUT_H_
#define MERGANSER_TESTS_TESTING_TSAN_PROTOBUF_LAYOUT_H_

#include <memory>

#pragma push_macro("__SANITIZE_THREAD__")
#undef __SANITIZE_THREAD__
#include <google/protobuf/map_field.h>
#pragma pop_macro("__SANITIZE_THREAD__")

#endif  // MERGANSER_TESTS_TESTING_TSAN_PROTOBUF_LAYOUT_H_
