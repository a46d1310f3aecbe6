# mg_rust_text: the Rust static library behind worker/text (tokenizers + minijinja), built by cargo from the committed
# Cargo.lock. Its target folder is shared by all presets.
find_program(MG_CARGO cargo HINTS $ENV{HOME}/.cargo/bin REQUIRED)
set(MG_RUST_DIR ${CMAKE_SOURCE_DIR}/worker/text/rust)
set(MG_RUST_TARGET_DIR ${CMAKE_SOURCE_DIR}/.build/cargo)
set(MG_RUST_LIB ${MG_RUST_TARGET_DIR}/release/libmerganser_text.a)
file(GLOB MG_RUST_SOURCES ${MG_RUST_DIR}/src/*.rs)   # only as dependencies of the command below
add_custom_command(
  OUTPUT ${MG_RUST_LIB}
  COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${MG_RUST_TARGET_DIR} ${MG_CARGO} build --release --locked --quiet
  WORKING_DIRECTORY ${MG_RUST_DIR}
  DEPENDS ${MG_RUST_SOURCES} ${MG_RUST_DIR}/Cargo.toml ${MG_RUST_DIR}/Cargo.lock
  COMMENT "cargo: tokenizers and minijinja (minutes, the first time)"
  USES_TERMINAL)
add_custom_target(mg_rust_text_build DEPENDS ${MG_RUST_LIB})
add_library(mg_rust_text STATIC IMPORTED GLOBAL)
set_target_properties(mg_rust_text PROPERTIES IMPORTED_LOCATION ${MG_RUST_LIB}
                      INTERFACE_LINK_LIBRARIES "Threads::Threads;dl;m")
add_dependencies(mg_rust_text mg_rust_text_build)
