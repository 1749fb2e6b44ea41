#!/usr/bin/env bash
# `zig cc` drops assertions of C at every level of optimisation.
#
# It defines NDEBUG itself for -O1, -O2, -O3 and -Os, so a failed `assert` goes unnoticed in the
# programs that it makes for WebAssembly as for any other target. gcc and clang never define NDEBUG.
# `-UNDEBUG` brings the assertions back; `behaviour build` passes it.
#
# Needs Python 3 with venv, and PyPI. Fails if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install ziglang==0.17.1
zig() { venv/bin/python -m ziglang "$@"; }
printf 'zig %s\n' "$(zig version)"

cat >program.c <<'END'
#include <assert.h>
#include <stdio.h>
int main(void) {
    assert(1 == 2);
    puts("went on");
}
END

# Prints "stopped" if the assertion holds a program back that was compiled with these flags.
outcome() {
  zig cc "$@" program.c -o program
  ./program 2>/dev/null || echo stopped
}

status=0
expect() {
  local expected=$1 found
  shift
  found=$(outcome "$@" | tail -1)
  printf 'zig cc %-12s %s\n' "$*" "$found"
  [ "$found" = "$expected" ] || status=1
}
expect stopped -O0
expect "went on" -O1
expect "went on" -O2
expect "went on" -Os
expect stopped -Os -UNDEBUG
exit $status
