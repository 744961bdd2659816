#!/usr/bin/env python3
"""Turn a downloaded package of a sentence encoder into the model folder that weir loads.

usage: build_model.py PACKAGE.whl OUT_DIR

Every file taken from the package is compared with the SHA-256 pinned below, so it does not matter which
package it came from.  The ONNX file is written from the weights: standard operators only (opset 17), mean
pooling and L2 norm inside, and the same bytes on each run.  The manifest is written last, and the folder gets its
name when all of it is there.  Needs Debian 13's python3-onnx and python3-onnxruntime.
"""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile

import numpy as np
from encoder_graph import build_encoder

NAME = "all-minilm-l6-v2"
MAX_TOKENS = 256  # what the model was trained for; its position table is longer
PINNED = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
NOTICE = """all-MiniLM-L6-v2, a sentence encoder of the sentence-transformers project, Apache License 2.0.
model.onnx holds its weights unchanged (32-bit floats), written in another file format.
"""


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read_pinned(package):
    """The pinned files of the package as {name: bytes}; stops at the first that is missing or different."""
    found = {}
    with zipfile.ZipFile(package) as archive:
        for name, digest in PINNED.items():
            candidates = [e for e in archive.namelist() if os.path.basename(e) == name]
            datas = [archive.read(e) for e in candidates]
            data = next((d for d in datas if sha256(d) == digest), None)
            if data is None:
                raise SystemExit(f"{package}: no {name} with SHA-256 {digest}: not used")
            found[name] = data
        found["LICENSE"] = open("/usr/share/common-licenses/Apache-2.0", "rb").read()
        for name in ("LICENSE", "NOTICE"):
            beside = [e for e in archive.namelist() if os.path.basename(e) == name and "dist-info" not in e]
            if beside:
                found[name] = archive.read(beside[0])
    return found


def read_safetensors(data):
    """{tensor name: array}: a JSON header with offsets, then the numbers."""
    (header_bytes,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + header_bytes])
    weights = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            raw = data[8 + header_bytes + begin : 8 + header_bytes + end]
            weights[name.removeprefix("bert.")] = np.frombuffer(raw, np.float32).reshape(entry["shape"])
    return weights


def write_synced(path, data):
    with open(path, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def check_vectors(folder):
    checker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_model.py")
    paths = [os.path.join(folder, name) for name in ("model.onnx", "vocab.txt")]
    checked = subprocess.run([sys.executable, checker, *paths], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        raise SystemExit(checked.stderr + checked.stdout)
    return checked.stdout.strip()


def main(package, out_dir):
    files = read_pinned(package)
    config = json.loads(files["config.json"])
    model = build_encoder(read_safetensors(files["model.safetensors"]), config)
    partial = out_dir + ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    outputs = {name: files[name] for name in ("vocab.txt", "tokenizer.json", "LICENSE")}
    outputs["NOTICE"] = NOTICE.encode() + files.get("NOTICE", b"")
    outputs["model.onnx"] = model.SerializeToString(deterministic=True)
    for name, data in outputs.items():
        write_synced(os.path.join(partial, name), data)
    scores = check_vectors(partial)
    manifest = {
        "name": NAME,
        "dimension": config["hidden_size"],
        "max_tokens": MAX_TOKENS,
        "language": "en",
        "licence": "Apache-2.0",
        "pooling": "mean",
        "normalised": True,
        "files": {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in sorted(outputs.items())},
    }
    write_synced(os.path.join(partial, "manifest.json"), json.dumps(manifest, indent=2).encode() + b"\n")
    shutil.rmtree(out_dir, ignore_errors=True)
    os.rename(partial, out_dir)
    print(f"weir: model {NAME}: {len(outputs['model.onnx'])} bytes; {scores}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2])
