#!/bin/sh
# run.sh BUILD: the retrieval check on the Cranfield collection, which WEIR_CRANFIELD names or lies beside the checkout.
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
exec python3 -B "$here/retrieval_test.py" "$1" "${WEIR_CRANFIELD:-$(dirname "$repository")/shared/data/cranfield}"
