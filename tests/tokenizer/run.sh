#!/bin/sh
# Compare weir's WordPiece tokenizer with the reference on 20,000 strings.
#
#   tests/tokenizer/run.sh BUILD_DIR [FILE...]
#
# The reference is the Python package `tokenizers`, in an environment of its own in .cache/; without it (no
# network, no model) the script says so and exits 77, and the 2,000 committed vectors are what is tested.
# FILEs add real text; by default it is the documentation of the base system and of weir.
# WEIR_COMMITTED=1 also writes tests/tokenizer/vectors.txt anew.
set -eu
repo=$(cd "$(dirname "$0")/../.." && pwd)
build=$1
shift
cache=$repo/.cache/tokenizers
model=$repo/.model/all-minilm-l6-v2

[ -e "$model/tokenizer.json" ] || { echo "no model in .model: nothing to compare with"; exit 77; }
if [ ! -x "$cache/bin/python" ] || ! "$cache/bin/python" -c 'import tokenizers' 2>/dev/null; then
    mkdir -p "$repo/.cache"
    python3 -m venv "$cache" && "$cache/bin/pip" --quiet --disable-pip-version-check install tokenizers ||
        { echo "the package tokenizers cannot be had here"; exit 77; }
fi
[ $# -gt 0 ] || set -- $(find "$repo/.root/trixie/usr/share/doc" "$repo/.root/trixie/usr/share/developers-reference" \
    /usr/share/doc /usr/share/developers-reference \
    -type f \( -path '*debian-policy*' -o -path '*debian-faq*' -o -path '*debian-reference*' -o -path '*developers-ref*' \) \
    \( -name '*.html' -o -name '*.txt' \) 2>/dev/null | sort) "$repo"/*.md
make_vectors() { "$cache/bin/python" "$repo/tests/tokenizer/make_vectors.py" "$model/tokenizer.json" "$@"; }
echo "characters: $(make_vectors - 0)"
make_vectors "$repo/.cache/tokenizer-vectors.txt" 20000 "$@"
[ -z "${WEIR_COMMITTED:-}" ] || make_vectors "$repo/tests/tokenizer/vectors.txt" 2000 "$@"
exec "$build/tests/tokenizer_check" "$model/vocab.txt" "$repo/.cache/tokenizer-vectors.txt"
