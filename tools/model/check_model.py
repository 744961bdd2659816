#!/usr/bin/env python3
"""Load a model file as weir does and see that meaning shows in its vectors; usage: check_model.py MODEL.onnx VOCAB.txt

A program of its own, because Debian's onnxruntime registers its operators twice and says so, a thousand times,
on standard error.
"""

import sys

import numpy as np
import onnxruntime

QUESTION = "how do i give a package to another person"
LIKE = "transfer of a package to a new owner"
UNLIKE = "the sea is cold today"


def main(model, vocab):
    words = {word: number for number, word in enumerate(open(vocab, encoding="utf-8").read().split("\n"))}
    rows = [[words[w] for w in f"[CLS] {text} [SEP]".split()] for text in (QUESTION, LIKE, UNLIKE)]
    width = max(map(len, rows))
    ids = np.array([row + [0] * (width - len(row)) for row in rows], np.int64)
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], np.int64)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (vectors,) = session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})
    like, unlike = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5):
        raise SystemExit(f"{model}: the vectors are not of length 1")
    if not like > unlike + 0.3:
        raise SystemExit(f"{model}: like sentences score {like:.3f}, unlike ones {unlike:.3f}")
    print(f"like sentences score {like:.2f}, unlike ones {unlike:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
