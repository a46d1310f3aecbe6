# mg_library(NAME [SRCS ...] [DEPS ...] [PRIVATE_DEPS ...] [TORCH])
#   A static library of one module. Without SRCS it is header-only. TORCH compiles with the shared ATen
#   precompiled header.
# mg_test(NAME SRCS ... [DEPS ...] [LABELS ...] [TIMEOUT seconds] [TORCH] [ENV VAR=value ...])
#   A GoogleTest binary, registered with ctest under NAME. It runs in the source tree (by hand: from there, too).
#   The target threads_tests builds all that have the label threads: those that ./dev tsan runs.

find_program(MG_MOLD mold)
if(MG_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_library(mg_warnings INTERFACE)
target_compile_options(mg_warnings INTERFACE -Wall -Wextra -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(mg_warnings INTERFACE -Wthread-safety -Werror=thread-safety)
endif()

function(mg_library name)
  cmake_parse_arguments(ARG "TORCH" "" "SRCS;DEPS;PRIVATE_DEPS" ${ARGN})
  if(ARG_SRCS)
    add_library(${name} STATIC ${ARG_SRCS})
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE mg_warnings ${ARG_PRIVATE_DEPS})
    if(ARG_TORCH)
      target_link_libraries(${name} PUBLIC mg_torch)
      mg_use_torch_pch(${name})
    endif()
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} INTERFACE ${ARG_DEPS})
  endif()
endfunction()

add_custom_target(threads_tests)
file(RELATIVE_PATH MG_RELATIVE_BINARY_DIR ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
function(mg_test name)
  cmake_parse_arguments(ARG "TORCH" "TIMEOUT" "SRCS;DEPS;LABELS;ENV" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  # Relative to the tests' working directory (the source tree), so that clones share ccache's objects.
  target_compile_definitions(${name} PRIVATE MG_SOURCE_DIR="." MG_BINARY_DIR="${MG_RELATIVE_BINARY_DIR}")
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} mg_testing_temporary_directory mg_warnings GTest::gmock GTest::gtest_main)
  if(NOT ARG_TORCH AND CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(${name} PRIVATE -O1)  # a third less time to compile; what is tested keeps its own flags
  endif()
  if(ARG_TORCH)
    target_link_libraries(${name} PRIVATE mg_torch)
    # The precompiled header is made with -fPIC; CMake would compile an executable with -fPIE, which cannot use it.
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE -fPIC)
    mg_use_torch_pch(${name})
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(threads IN_LIST ARG_LABELS)
    add_dependencies(threads_tests ${name})
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 900)  # a bound for hangs: of one that takes a minute on an idle machine, with sanitizers or beside others, too
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
                       ENVIRONMENT "OMP_WAIT_POLICY=passive;${ARG_ENV}")
endfunction()
