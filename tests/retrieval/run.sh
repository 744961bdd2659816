#!/bin/sh
# run.sh TOOL: the retrieval check on the Cranfield collection, where it and the model are there; else skipped (77).
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
data=${WEIR_CRANFIELD:-$(dirname "$repository")/shared/data/cranfield}
if [ ! -f "$data/cran.all.1400.xml" ]; then
  echo "skipped: no Cranfield collection in $data (set WEIR_CRANFIELD)"
  exit 77
fi
if [ ! -f "$repository/.model/all-minilm-l6-v2/model.onnx" ]; then
  echo "skipped: the model is not here (make model)"
  exit 77
fi
exec python3 -B "$here/check.py" "$data" --tool "$1"
