#!/usr/bin/env python3
"""Write test vectors of the reference tokenizer: strings, real and odd, with their token ids.

usage: make_vectors.py TOKENIZER_JSON OUT COUNT [FILE...]

Needs the package `tokenizers` (run.sh puts it into a private environment).  One vector a line: the string, a
TAB, its ids in decimal, separated by spaces.  In the string, backslash and the control characters below U+0020
are written \\xHH.  About half of the strings are lines of the FILEs; the others are made up.  The same arguments
give the same file.

With OUT `-` it prints the SHA-256 of what the reference makes of each code point, which
tests/unit/text/bert_chars_test.c holds.
"""

import hashlib
import random
import sys

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

# First and last code point of the scripts that odd strings are made of.
SCRIPTS = [
    (0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0x00, 0x20), (0x80, 0xFF), (0x100, 0x24F), (0x250, 0x2FF),
    (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x5FF), (0x600, 0x6FF), (0x700, 0x8FF),
    (0x900, 0xDFF), (0xE00, 0xFFF), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x2BFF),
    (0x3000, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xF900, 0xFAFF), (0xFB00, 0xFFFD),
    (0x10000, 0x10FFF), (0x11000, 0x12FFF), (0x16A00, 0x1D7FF), (0x1F000, 0x1FAFF), (0x20000, 0x2FA1F),
    (0xE0000, 0xE01EF), (0x10FF00, 0x10FFFF),
]
PIECES = [
    "[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "[cls]", "[ SEP ]", "##ing", "don't", "e.g.", "U.S.A.", "C++",
    "a\u0301", "\u1100\u1161\u11a8", "\u0130stanbul", "stra\u00dfe", "na\u00efve", "co\u00f6perate", "\ufb01nd",
    "\u2260", "\u037e", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u00a0", "\u3000", "\u2028", "\x85", "\x00",
    "\x0b", "\x0c", "\r\n", "\ufffd", "x" * 99, "x" * 100, "x" * 101, "\u00e9" * 100, "\u00e9" * 101,
    "\uac00" * 40, "\u4e2d\u6587", "https://example.org/a?b=c#d", "$12,345.67", "2026-01-31T12:34:56Z",
    "\U0001f469\u200d\U0001f4bb", "1e-9", "foo_bar", "\u2019s", "\u201cq\u201d",
]


def code_point(rng, script):
    code = rng.randint(*script)
    return chr(code) if not 0xD800 <= code < 0xE000 else "\ufffd"


def odd_string(rng):
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.random()
        if kind < 0.3:
            parts.append(rng.choice(PIECES))
        elif kind < 0.8:
            script = rng.choice(SCRIPTS)
            parts.append("".join(code_point(rng, script) for _ in range(rng.randint(1, 8))))
        else:
            parts.append("".join(code_point(rng, rng.choice(SCRIPTS)) for _ in range(rng.randint(1, 8))))
        if rng.random() < 0.6:
            parts.append(rng.choice([" ", " ", " ", "\t", "\n", "  "]))
    return "".join(parts)


def real_strings(paths, rng, count):
    lines = set()
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines.update(line.rstrip("\n")[:300] for line in file if line.strip())
    chosen = sorted(lines)
    rng.shuffle(chosen)
    return chosen[:count]


def escape(text):
    return "".join(f"\\x{ord(c):02x}" if ord(c) < 0x20 or c == "\\" else c for c in text)


def write_vectors(tokenizer, out, count, paths):
    rng = random.Random(20260131)
    strings = real_strings(paths, rng, count // 2)
    strings += [odd_string(rng) for _ in range(count - len(strings))]
    with open(out, "w", encoding="utf-8", newline="\n") as file:
        for text in strings:
            file.write(escape(text) + "\t" + " ".join(map(str, tokenizer.encode(text).ids)) + "\n")
    print(f"{out}: {len(strings)} strings")


def characters_sha256():
    """One line for each code point: how many words `x`, it, `y` make, and what is left of it."""
    normalizer = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    splitter = BertPreTokenizer()
    total = hashlib.sha256()
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        normal = normalizer.normalize_str("x" + chr(code) + "y")
        words = len(splitter.pre_tokenize_str(normal))
        left = normal[1:-1].strip(" ") if words > 1 else normal[1:-1]
        left = "" if left.isspace() else left
        total.update(f"{code:X} {words} {','.join(f'{ord(c):X}' for c in left)}\n".encode())
    return total.hexdigest()


def main():
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    tokenizer = Tokenizer.from_file(sys.argv[1])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if sys.argv[2] == "-":
        print(characters_sha256())
    else:
        write_vectors(tokenizer, sys.argv[2], int(sys.argv[3]), sys.argv[4:])


if __name__ == "__main__":
    main()
