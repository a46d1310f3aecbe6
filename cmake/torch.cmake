# mg_torch: libtorch from the `torch` wheel (or any libtorch >= 2.8), without its CMake package, which asks for a CUDA
# toolkit. Only the CPU half is linked; libtorch_cuda is loaded at run time when a CUDA device is asked for
# (worker/engine/device.h), so the same binary starts quickly on a machine without a GPU.
#
# torch's include folders come after the system's (-idirafter): the wheel ships an old protobuf.
#
# Found in this order: -DMERGANSER_TORCH_DIR, the environment's MERGANSER_TORCH_DIR, the project's .venv, python3's torch.
set(MERGANSER_TORCH_DIR "$ENV{MERGANSER_TORCH_DIR}" CACHE PATH "Folder of libtorch (holds include/ and lib/)")
if(NOT MERGANSER_TORCH_DIR)
  file(GLOB _mg_venv_torch ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  if(_mg_venv_torch)
    list(GET _mg_venv_torch 0 _mg_torch)
  else()
    execute_process(COMMAND python3 -c "import importlib.util as u, os; s=u.find_spec('torch'); print(os.path.dirname(s.origin) if s else '')"
                    OUTPUT_VARIABLE _mg_torch OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  set(MERGANSER_TORCH_DIR "${_mg_torch}" CACHE PATH "" FORCE)
endif()
if(NOT EXISTS ${MERGANSER_TORCH_DIR}/include/ATen/ATen.h)
  message(FATAL_ERROR "libtorch not found in '${MERGANSER_TORCH_DIR}': run ./dev setup, or set MERGANSER_TORCH_DIR to a folder "
                      "that holds include/ATen/ATen.h and lib/libtorch_cpu.so")
endif()
message(STATUS "libtorch: ${MERGANSER_TORCH_DIR}")

add_library(mg_torch INTERFACE)
target_compile_options(mg_torch INTERFACE
  "SHELL:-idirafter ${MERGANSER_TORCH_DIR}/include"
  "SHELL:-idirafter ${MERGANSER_TORCH_DIR}/include/torch/csrc/api/include"
  -Wno-unused-parameter -Wno-sign-compare)
target_link_libraries(mg_torch INTERFACE
  ${MERGANSER_TORCH_DIR}/lib/libtorch_cpu.so ${MERGANSER_TORCH_DIR}/lib/libc10.so)

# One precompiled ATen header for every torch source: 15 s a file without it, 4 s with it.
file(WRITE ${CMAKE_BINARY_DIR}/mg_torch_pch.cc "")
add_library(mg_torch_pch STATIC ${CMAKE_BINARY_DIR}/mg_torch_pch.cc)
target_include_directories(mg_torch_pch PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(mg_torch_pch PRIVATE mg_torch mg_warnings)
target_precompile_headers(mg_torch_pch PRIVATE <ATen/ATen.h> <c10/core/InferenceMode.h>)
function(mg_use_torch_pch target)
  target_precompile_headers(${target} REUSE_FROM mg_torch_pch)
endfunction()
