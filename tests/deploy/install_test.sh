#!/usr/bin/env bash
# install_test.sh BUILD_DIR: `cmake --install` and the tarball, each run from a folder that the build does not know.
set -euo pipefail
BUILD="$(cd "$1" && pwd)"
DIR="$(mktemp -d "${TMPDIR:-/tmp}/merganser-install.XXXXXX")"
trap 'rm -rf "$DIR"' EXIT
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

cmake --install "$BUILD" --prefix "$DIR/prefix" --strip >"$DIR/log" || { tail "$DIR/log" >&2; fail "cmake --install"; }
cd "$DIR"
prefix/bin/merganser-coordinator --version | grep '^merganser-coordinator ' >/dev/null || fail "the coordinator starts"
prefix/bin/merganser generate prefix/share/merganser/examples/ja-math/math-en --prompt $'Q: 1\nA:\n' --max-new-tokens 2 \
  --device cpu >/dev/null 2>&1 || fail "an installed program runs a model"
ok "an installed program runs a model"
for file in share/man/man1/merganser{,-worker,-coordinator}.1 share/bash-completion/completions/merganser \
  share/zsh/site-functions/_merganser share/fish/vendor_completions.d/merganser.fish share/merganser/deploy/redis/redis.conf; do
  [ -s "prefix/$file" ] || fail "$file is installed"
done
ok "manual pages, completions, deployment files"

cpack --config "$BUILD/CPackConfig.cmake" -G TGZ -B "$DIR/pack" >"$DIR/log" 2>&1 || { tail "$DIR/log" >&2; fail "cpack"; }
mkdir unpacked
tar -xzf pack/merganser-*.tar.gz -C unpacked --strip-components 1
if readelf -d unpacked/bin/* unpacked/lib/libmerganser-*.so | grep -E 'R(UN)?PATH' | grep -E '(\[|:)/' >/dev/null; then
  fail "the tarball names no folder of the build machine"
fi
# Everything but the C and C++ runtimes comes from the tarball.
others="$(ldd unpacked/bin/merganser-coordinator | awk '$3 ~ /^\// && $3 !~ /unpacked/ {print $1}' |
  grep -vE '^lib(c|m|dl|rt|pthread|resolv|gcc_s|stdc\+\+)\.so' || true)"
[ -z "$others" ] || fail "the tarball lacks: $others"
ok "the tarball carries its libraries"
unpacked/bin/merganser generate unpacked/share/merganser/examples/ja-math/math-en --prompt x 2>"$DIR/log" &&
  fail "without libtorch no model runs"
grep -q libtorch "$DIR/log" || fail "and the error names it: $(cat "$DIR/log")"
ln -s "$(readlink -f prefix/lib/torch)" unpacked/lib/torch
unpacked/bin/merganser generate unpacked/share/merganser/examples/ja-math/math-en --prompt $'Q: 1\nA:\n' --max-new-tokens 2 \
  --device cpu >/dev/null 2>&1 || fail "with a link to libtorch it does"
ok "the tarball runs a model once lib/torch leads to libtorch ($(du -h pack/*.tar.gz | cut -f1))"
