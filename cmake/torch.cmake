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

# mg_torch_cuda: the CUDA half, for libmerganser-cuda.so alone (worker/engine/cuda_step_graph.cc). The headers of CUDA's runtime are
# those of the wheels beside torch; its folder crt/ comes with nvidia-cuda-crt or, else, with triton, which torch asks for. Without
# them everything but that library is built.
get_filename_component(_mg_torch_real ${MERGANSER_TORCH_DIR} REALPATH)
get_filename_component(_mg_packages ${_mg_torch_real} DIRECTORY)
file(GLOB _mg_cuda ${_mg_packages}/nvidia/cu[0-9]*/include/cuda_runtime_api.h)
foreach(_mg_header ${_mg_cuda})
  get_filename_component(_mg_include ${_mg_header} DIRECTORY)
  file(GLOB _mg_cudart ${_mg_include}/../lib/libcudart.so.*)
  if(EXISTS ${_mg_include}/crt/host_defines.h)
    set(_mg_crt ${_mg_include})
  else()
    set(_mg_crt ${_mg_packages}/triton/backends/nvidia/include)
  endif()
  if(_mg_cudart AND EXISTS ${_mg_crt}/crt/host_defines.h AND EXISTS ${MERGANSER_TORCH_DIR}/lib/libtorch_cuda.so AND NOT TARGET mg_torch_cuda)
    list(GET _mg_cudart 0 _mg_cudart)
    add_library(mg_torch_cuda INTERFACE)
    target_compile_options(mg_torch_cuda INTERFACE "SHELL:-idirafter ${_mg_include}" "SHELL:-idirafter ${_mg_crt}")
    target_link_libraries(mg_torch_cuda INTERFACE mg_torch ${MERGANSER_TORCH_DIR}/lib/libtorch_cuda.so
                          ${MERGANSER_TORCH_DIR}/lib/libc10_cuda.so ${_mg_cudart})
  endif()
endforeach()
if(NOT TARGET mg_torch_cuda)
  message(STATUS "CUDA graphs: not built (no CUDA libtorch with the wheels nvidia-cuda-runtime and triton or nvidia-cuda-crt beside it)")
endif()
