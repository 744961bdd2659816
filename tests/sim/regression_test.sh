#!/bin/sh
# Seeds that failed once, beyond those that every change must pass; each bug has a unit test too.
#   regression_test.sh WEIR-SIM
seeds="
1000219 1002716 1019012 1023426
1004473 1039843
1031169 2018110 2031287 3013282
3171408
3217875 3789661
3333867 3412657 3526214 3589711
"
more_losses="
12829
"
# 1000219...: a READY of an indexer that was lost since ended the try that began for the loss
# 1004473...: the reconciler did not ask again for an ending that began in the round of the loss
# 1031169...: tries behind a READY that the gateway had not heard of took the place of its re-drive
# 3171408: the clock went back right after the round of a loss, and the re-drive waited for the time before
# 3217875, 3789661: indexer and reconciler were rolled back to one moment, which only the gateway sees, and as a loss
#   of the reconciler alone: the indexer was not seeded
# 3333867...: the world was taken for settled before the reconciler's rollback was noticed, or before its sweep
# 12829 with more losses: an indexer was put back to an earlier era, its links told it the present one before the gateway
#   looked, and it answered for what it lacked until another link stopped
failed=
for seed in $seeds; do
    "$1" --seed "$seed" || failed="$failed $seed"
done
for seed in $more_losses; do
    "$1" --losses --seed "$seed" || failed="$failed $seed (--losses)"
done
[ -z "$failed" ] || { echo "failed again:$failed"; exit 1; }
