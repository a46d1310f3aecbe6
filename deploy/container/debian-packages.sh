#!/usr/bin/env bash
# debian-packages.sh PREFIX: the Debian packages that own the shared libraries which the programs in PREFIX (`cmake --install`)
# load, one a line. Runs where they were built.
set -euo pipefail
PREFIX="${1:?debian-packages.sh PREFIX}"
ldd "$PREFIX"/bin/* "$PREFIX/lib/libmerganser-local.so" | awk '$3 ~ /^\/(usr\/)?lib/ {print $3}' | sort -u | while read -r library; do
  # dpkg knows a library of a merged /usr by the path of its package, with or without /usr.
  real="$(realpath "$library")"
  { dpkg-query -S "$real" || dpkg-query -S "${real#/usr}"; } 2>/dev/null ||
    { echo "error: no package owns $library" >&2; exit 1; }
done | cut -d: -f1 | sort -u
