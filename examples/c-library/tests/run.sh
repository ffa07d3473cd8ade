#!/bin/sh
# run.sh PEBBLE PROGRAM: runs a program and compares its output, errors and exit status with PROGRAM's .out file.
# With UPDATE=1 it writes that file instead.
set -eu
pebble=$1 program=$2
want=${program%.pb}.out
got=$("$pebble" "$program" 2>&1) && status=0 || status=$?
got="$got
exit $status"
if [ "${UPDATE:-}" = 1 ]; then
  printf '%s\n' "$got" > "$want"
elif [ "$got" != "$(cat "$want")" ]; then
  printf '%s\n' "$got" | diff -u "$want" - >&2 || true
  exit 1
fi
