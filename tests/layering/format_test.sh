#!/usr/bin/env bash
# format_test.sh: every C++ file in git stands as .clang-format has it (`./dev fmt` makes it so), and comments keep within its
# column limit, which clang-format does not touch. Other versions of clang-format break lines elsewhere: they are not asked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
skip() { echo "skipped: $1"; exit 77; }
git rev-parse --is-inside-work-tree >/dev/null 2>&1 || skip "not a git checkout"
format=""
for program in clang-format-14 clang-format; do
  if "$program" --version 2>/dev/null | grep -q ' version 14\.'; then format="$program"; break; fi
done
[ -n "$format" ] || skip "no clang-format 14"
limit="$(sed -n 's/^ColumnLimit: //p' .clang-format)"
mapfile -t files < <(git ls-files '*.h' '*.cc')
code=0
printf '%s\n' "${files[@]}" | xargs -P 2 -n 100 "$format" --dry-run --Werror --ferror-limit=1 || code=1
# A line that is a comment as a whole; bytes are counted, so text that is not ASCII is let be.
if LC_ALL=C grep -nE "^ *//[ -~]{$limit,}" "${files[@]}"; then
  echo "these comments are longer than $limit columns" >&2
  code=1
fi
exit $code
