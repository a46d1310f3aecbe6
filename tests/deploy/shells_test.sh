#!/usr/bin/env bash
# shells_test.sh BIN_DIR SHARE_DIR: the completions in the shells themselves, and the manual pages in groff.
set -euo pipefail
BIN="$(cd "$1" && pwd)" SHARE="$(cd "$2" && pwd)"
export PATH="$BIN:$PATH" MERGANSER_SERVER=127.0.0.1:1
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
expect() {  # WHAT GOT WORD...: each word is among what was offered
  local what=$1 got=" ${2//$'\n'/ } " word
  for word in "${@:3}"; do [[ $got == *" $word "* ]] || fail "$what: no '$word' in:$got"; done
  ok "$what"
}

# What bash offers for WORDS..., the last of which is being typed.
bash_offers() {
  bash --norc -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _merganser; echo "${COMPREPLY[@]}"' \
    bash "$SHARE/bash-completion/completions/merganser" "$@"
}
expect "bash completes verbs" "$(bash_offers merganser ca)" cancel candidates
expect "bash completes flags of a verb" "$(bash_offers merganser run --re)" --resume
expect "bash completes values" "$(bash_offers merganser candidates job-1 --kind s)" source search
expect "bash completes values after =" "$(bash_offers merganser jobs --format = j)" json
expect "bash completes shells" "$(bash_offers merganser completion "")" bash zsh fish
expect "bash completes verbs of a verb" "$(bash_offers merganser store "")" verify backup restore migrate
expect "bash completes their flags" "$(bash_offers merganser store restore --)" --help
[ -z "$(bash_offers merganser run --out x)" ] || fail "bash leaves files to the shell"
[ "$(bash -c 'source <(merganser completion bash); complete -p merganser')" = \
  "complete -o bashdefault -o default -F _merganser merganser" ] || fail "bash: sourced from the program itself"
ok "bash: sourced from the program itself"

if command -v fish >/dev/null; then
  fish_offers() { HOME=/nonexistent fish --no-config -c "source $SHARE/fish/vendor_completions.d/merganser.fish; complete -C '$1'" | cut -f1; }
  expect "fish completes verbs" "$(fish_offers 'merganser ca')" cancel candidates
  expect "fish completes flags of a verb" "$(fish_offers 'merganser run --re')" --resume
  expect "fish completes verbs of a verb" "$(fish_offers 'merganser store ')" verify backup restore migrate
  expect "fish completes their flags" "$(fish_offers 'merganser store verify --')" --help
  expect "fish completes values" "$(fish_offers 'merganser candidates job-1 --kind s')" source search
else
  echo "skipped: no fish"
fi

if command -v zsh >/dev/null; then
  zsh -n "$SHARE/zsh/site-functions/_merganser" || fail "zsh reads its script"
  words() { sed 's/\x1b\[[0-9;?]*[A-Za-z]/ /g' | tr -s '\r\n ' '\n'; }
  # An interactive zsh on a terminal of its own: Ctrl-D lists what could follow LINE, of which LAST comes last.
  zsh_offers() {
    SHARE="$SHARE" LINE="$1" LAST="$2" zsh -f <<'ZSH'
zmodload zsh/zpty
zpty z "zsh -f -i"
zpty -w z "PROMPT=; fpath=($SHARE/zsh/site-functions \$fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=1000; unsetopt zle_bracketed_paste; zstyle ':completion:*' list-packed no; echo REA''DY"
zpty -r z line '*READY*'
zpty -w -n z "$LINE"$'\x04'
for i in {1..600}; do
  while zpty -r -t z more; do out+=$more; done
  [[ $out != *$LAST* ]] || break
  (( i % 20 )) || zpty -w -n z $'\x04'
  sleep 0.1
done
print -r -- "$out"
zpty -d z
ZSH
  }
  expect "zsh completes verbs" "$(zsh_offers 'merganser ' workers | words)" cancel candidates run
  expect "zsh completes verbs of a verb" "$(zsh_offers 'merganser store ' verify | words)" verify backup restore migrate
  expect "zsh completes values" "$(zsh_offers 'merganser candidates job-1 --kind ' source | words)" source search
else
  echo "skipped: no zsh"
fi

# Whatever --help shows is completed and is in the manual: verbs, those below them, flags.
flags_of() { "$BIN/merganser" "$@" --help | grep -oE '^  (-[a-z],)?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u; }
# Verbs stand under headings of their own.
verbs_of() {
  "$BIN/merganser" "$@" --help |
    awk '/^[A-Z].*:$/ {heading = $0} heading !~ /^(Positionals|Options|Examples):/ && /^  [a-z]/ {print $1}'
}
PAGE="$(sed 's/\\-/-/g' "$SHARE/man/man1/merganser.1")"
FISH="$(cat "$SHARE/fish/vendor_completions.d/merganser.fish")" ZSH="$(cat "$SHARE/zsh/site-functions/_merganser")"
check_verb() {
  local flag verb section
  section="$(awk -v title=".SS $*" '$0 == title {on = 1; next} /^\.S[SH]/ {on = 0} on' <<<"$PAGE")"
  [ $# -eq 0 ] || [ -n "$section" ] || fail "the manual has no section '$*'"
  [ $# -eq 0 ] || expect "bash completes the flags of $*" "$(bash_offers merganser "$@" --)" $(flags_of "$@")
  for flag in $([ $# -eq 0 ] || flags_of "$@"); do
    grep -qF -- "\fB$flag\fR" <<<"$section" || fail "the manual's section '$*' has no $flag"
    grep -qE -- "__fish_seen_subcommand_from ${*: -1}'.* -l ${flag#--} " <<<"$FISH" || fail "fish: $* has no $flag"
    grep -qF -- "'*$flag" <<<"$ZSH" || fail "zsh: no $flag"
  done
  for verb in $(verbs_of "$@"); do check_verb "$@" "$verb"; done
}
[ "$(verbs_of | wc -l)" -gt 30 ] || fail "merganser --help shows $(verbs_of | wc -l) verbs"
check_verb

for program in merganser merganser-coordinator merganser-worker; do
  page="$SHARE/man/man1/$program.1"
  if command -v groff >/dev/null; then
    complaints="$(groff -man -ww -Tutf8 "$page" 2>&1 >/dev/null)"
    [ -z "$complaints" ] || fail "$program.1: $complaints"
    groff -man -Tutf8 -P-c "$page" | grep -- "$program" >/dev/null
    ok "groff sets $program.1"
  fi
done
