# What `cmake --install` and `cpack` put where.
#
#   component  default  what
#   merganser  yes      bin/, lib/libmerganser-*.so, manual pages, completions, share/merganser (deploy/, examples/)
#   torch_link yes      lib/torch, a link to the libtorch of the build
#   torch      no       lib/torch (and lib/nvidia), a copy of that libtorch, instead of the link: for containers
#   torch_cpu  no       lib/torch (and lib/nvidia), only what the CPU half of it loads: 0.5 GB of a CUDA wheel's 4.6
#   libraries  no       lib/merganser, every other shared library outside the C and C++ runtime: for tarballs and wheels
#
# Nothing installed names a folder of the build machine but that link: the programs look for lib/merganser beside bin/, the
# library for lib/torch beside itself and, in a wheel, for the torch package beside its own.
set(MG_PROGRAMS merganser merganser-coordinator merganser-worker)
set_target_properties(${MG_PROGRAMS} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib/merganser")
foreach(program ${MG_PROGRAMS})
  # DT_RPATH instead of DT_RUNPATH: it also holds for what the bundled libraries load themselves.
  target_link_options(${program} PRIVATE "LINKER:--disable-new-dtags")
endforeach()
install(TARGETS ${MG_PROGRAMS} RUNTIME_DEPENDENCY_SET mg_libraries RUNTIME DESTINATION bin COMPONENT merganser)

if(MERGANSER_WITH_TORCH)
  set_target_properties(merganser-local PROPERTIES
                        INSTALL_RPATH "$ORIGIN/torch/lib;$ORIGIN/../../../torch/lib;$ORIGIN/merganser")
  target_link_options(merganser-local PRIVATE "LINKER:--disable-new-dtags")
  install(TARGETS merganser-local RUNTIME_DEPENDENCY_SET mg_libraries LIBRARY DESTINATION lib COMPONENT merganser)

  if(TARGET merganser-cuda)  # without what it loads, which is libtorch's
    install(TARGETS merganser-cuda LIBRARY DESTINATION lib COMPONENT merganser)
  endif()

  install(CODE "
    set(link \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/torch\")
    if(NOT EXISTS \"\${link}\" OR IS_SYMLINK \"\${link}\")
      message(STATUS \"Link: \${link} -> ${MERGANSER_TORCH_DIR}\")
      file(CREATE_LINK \"${MERGANSER_TORCH_DIR}\" \"\${link}\" SYMBOLIC)
    endif()" COMPONENT torch_link)
  install(CODE "
    set(link \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/torch\")
    if(IS_SYMLINK \"\${link}\")
      file(REMOVE \"\${link}\")
    endif()" COMPONENT torch EXCLUDE_FROM_ALL)
  install(DIRECTORY ${MERGANSER_TORCH_DIR}/lib/ DESTINATION lib/torch/lib COMPONENT torch EXCLUDE_FROM_ALL
          FILES_MATCHING PATTERN "lib*.so*" PATTERN "libtorch_python.so" EXCLUDE PATTERN "libshm*" EXCLUDE)
  get_filename_component(MG_TORCH_REAL ${MERGANSER_TORCH_DIR} REALPATH)
  get_filename_component(MG_SITE_PACKAGES ${MG_TORCH_REAL} DIRECTORY)
  if(EXISTS ${MG_SITE_PACKAGES}/nvidia)  # libtorch_cuda.so looks for CUDA's libraries at ../../nvidia
    install(DIRECTORY ${MG_SITE_PACKAGES}/nvidia/ DESTINATION lib/nvidia COMPONENT torch EXCLUDE_FROM_ALL
            FILES_MATCHING PATTERN "*.so*")
  endif()
  # Beside each other as in site-packages, because the libraries find each other by relative paths.
  install(CODE "
    set(prefix \"\${CMAKE_INSTALL_PREFIX}/lib\")
    if(IS_SYMLINK \"\$ENV{DESTDIR}\${prefix}/torch\")
      file(REMOVE \"\$ENV{DESTDIR}\${prefix}/torch\")
    endif()
    set(cpu \"${MG_TORCH_REAL}/lib/libtorch_cpu.so\")
    file(GET_RUNTIME_DEPENDENCIES RESOLVED_DEPENDENCIES_VAR found UNRESOLVED_DEPENDENCIES_VAR missing LIBRARIES \"\${cpu}\"
         PRE_EXCLUDE_REGEXES \"^ld-linux\")
    if(missing)
      message(FATAL_ERROR \"\${cpu} needs \${missing}, not found\")
    endif()
    foreach(file \"\${cpu}\" \${found})
      string(REPLACE \"${MG_TORCH_REAL}/\" \"torch/\" to \"\${file}\")
      string(REPLACE \"${MG_SITE_PACKAGES}/nvidia/\" \"nvidia/\" to \"\${to}\")
      if(NOT IS_ABSOLUTE \"\${to}\")
        get_filename_component(folder \"\${to}\" DIRECTORY)
        file(INSTALL DESTINATION \"\${prefix}/\${folder}\" TYPE SHARED_LIBRARY FILES \"\${file}\")
      endif()
    endforeach()" COMPONENT torch_cpu EXCLUDE_FROM_ALL)
endif()

install(RUNTIME_DEPENDENCY_SET mg_libraries
        PRE_EXCLUDE_REGEXES "^libtorch" "^libc10" "^libgomp" "^ld-linux"
                            "^lib(c|m|dl|rt|pthread|resolv|gcc_s|stdc\\+\\+)\\.so"
        LIBRARY DESTINATION lib/merganser COMPONENT libraries EXCLUDE_FROM_ALL)

# Manual pages and completions, from the programs themselves.
set(MG_SHARE ${CMAKE_BINARY_DIR}/share)
set(MG_SHARE_FILES "")
file(MAKE_DIRECTORY ${MG_SHARE}/man/man1 ${MG_SHARE}/bash-completion/completions ${MG_SHARE}/zsh/site-functions
     ${MG_SHARE}/fish/vendor_completions.d)
function(mg_share_file file)  # mg_share_file(FILE PROGRAM ARG...): what PROGRAM prints to stdout
  list(GET ARGN 0 program)
  list(REMOVE_AT ARGN 0)
  add_custom_command(OUTPUT ${MG_SHARE}/${file} COMMAND ${program} ${ARGN} > ${MG_SHARE}/${file} DEPENDS ${program} VERBATIM)
  set(MG_SHARE_FILES ${MG_SHARE_FILES} ${MG_SHARE}/${file} PARENT_SCOPE)
endfunction()
foreach(program ${MG_PROGRAMS})
  mg_share_file(man/man1/${program}.1 ${program} --man-page)
endforeach()
mg_share_file(bash-completion/completions/merganser merganser completion bash)
mg_share_file(zsh/site-functions/_merganser merganser completion zsh)
mg_share_file(fish/vendor_completions.d/merganser.fish merganser completion fish)
add_custom_target(mg_share ALL DEPENDS ${MG_SHARE_FILES})
install(DIRECTORY ${MG_SHARE}/ DESTINATION share COMPONENT merganser)
install(DIRECTORY deploy examples DESTINATION share/merganser COMPONENT merganser USE_SOURCE_PERMISSIONS
        PATTERN "__pycache__" EXCLUDE)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION share/doc/merganser COMPONENT merganser)

# cpack -G TGZ --config .build/release/CPackConfig.cmake: one tarball, without libtorch (docs/deploy.md).
set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_NAME merganser)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_FILE_NAME merganser-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
set(CPACK_COMPONENT_INCLUDE_TOPLEVEL_DIRECTORY ON)
set(CPACK_COMPONENTS_ALL merganser libraries)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
include(CPack)
