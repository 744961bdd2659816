#!/bin/sh
# Run the models of the hand-off with spin: the rules must hold in every reachable state, and each broken rule must be
# found.  One line of runs.txt is one run; README.md explains them.
#
#   tests/model/run.sh ci|long      both models; exits 1 when any run does not end as expected
#
# MODEL_JOBS   runs at a time (default 2)
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
size=${1:-ci}

# One run: model, flags, what is checked, ok or caught.  Prints one line; status 0 when it ended as expected.
if [ "$size" = one ]; then
    model=$2 flags=$3 what=$4 expected=$5
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cd "$folder"
    case $what in
    assertions) compile="-DSAFETY -DNOCLAIM" search="" ;;
    reversed) compile="-DSAFETY -DNOCLAIM -DT_REVERSE" search="" ;; # another order: finds some faults much sooner
    all) compile="-DSAFETY" search="-E" ;; # no ends that are dead by design
    *) compile="-DNFAIR=4" search="-a -f -N $what" ;;
    esac
    begun=$(date +%s)
    # shellcheck disable=SC2086
    if ! spin -a $flags "$here/$model.pml" >spin.txt 2>&1 ||
        ! gcc -O1 -w $compile -DCOLLAPSE -DMEMLIM=3000 -DVECTORSZ=2048 -o pan pan.c >gcc.txt 2>&1; then
        echo "BROKEN  $model $flags: does not compile"
        cat spin.txt gcc.txt 2>/dev/null || :
        exit 1
    fi
    # shellcheck disable=SC2086
    ./pan $search -m2000000 -n -w22 >pan.txt 2>&1 || :
    errors=$(sed -n 's/.*errors: *\([0-9]*\).*/\1/p' pan.txt | head -1)
    states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.txt | head -1)
    took=$(($(date +%s) - begun))
    if grep -q "max search depth too small\|out of memory\|Search not completed" pan.txt && [ "$expected" = ok ]; then
        errors=incomplete
    fi
    found=ok
    [ "${errors:-none}" = 0 ] || found=caught
    case ${errors:-none} in incomplete | none) found=$errors ;; esac
    if [ "$found" = "$expected" ]; then
        echo "$found  $model $flags ($what): ${states:-?} states, $took s"
        exit 0
    fi
    echo "WRONG  $model $flags ($what): expected $expected, but ${found:-nothing}"
    tail -20 pan.txt
    exit 1
fi

command -v spin >/dev/null 2>&1 || {
    echo "skipped: spin is not installed"
    exit 77
}
# xargs keeps the jobs going and answers 123 when any of them failed.
sed '/^#/d; s/ *| */|/g' "$here/runs.txt" |
    awk -F'|' -v size="$size" 'NF == 5 && (size == "long" || $1 == "ci") { printf "%s\n%s\n%s\n%s\n", $2, $3, $4, $5 }' |
    xargs -r -d '\n' -n 4 -P "${MODEL_JOBS:-2}" sh "$here/run.sh" one
