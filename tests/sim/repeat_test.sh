#!/bin/sh
# The same seeds in two processes give the same run: the hash over everything that happened in each of them, and the
# whole trace of one, are equal.  Another seed gives another.
#
#   repeat_test.sh WEIR-SIM
set -eu
sim=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for run in 1 2; do
    "$sim" --from 1 --seeds 300 --digest >"$folder/digest-$run"
    "$sim" --seed 22 --verbose 2>&1 | sed 's/^[0-9-]*T[0-9:.]*Z //' | grep -v 'seeds per minute' >"$folder/trace-$run"
done
cmp "$folder/digest-1" "$folder/digest-2"
cmp "$folder/trace-1" "$folder/trace-2"
"$sim" --from 2 --seeds 300 --digest >"$folder/digest-3"
if cmp -s "$folder/digest-1" "$folder/digest-3"; then
    echo "other seeds gave the same digest"
    exit 1
fi
[ "$(wc -l <"$folder/trace-1")" -gt 100 ]
cat "$folder/digest-1"
