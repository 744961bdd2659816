#!/usr/bin/env python3
"""Apply one check to the tree:  tests/lint/run.py CHECK   (arrows, third-party, calls, functions, comments, text,
architecture, protos, format, config, reference).  Prints file:line: message and fails if there is any; 77: skipped."""

import os
import statistics
import subprocess
import sys
import tempfile

import protos
import rules
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED_FOLDERS = ("build", ".git", ".root", ".model", ".cache", "node_modules", "__pycache__", "corpus", "vectors")
TEXT_SUFFIXES = (".c", ".h", ".cc", ".py", ".md", ".proto", ".cmake", ".txt", ".yaml", ".yml", ".tpl", ".sh", ".pml",
                 "")
SKIPPED = 77


def tree(*tops, suffixes=(".c", ".h", ".cc")):
    """Paths of the files below the given folders, sorted."""
    found = []
    for top in tops:
        for folder, folders, names in os.walk(os.path.join(ROOT, top)):
            folders[:] = [f for f in folders if not f.startswith(SKIPPED_FOLDERS)]
            for name in names:
                if os.path.splitext(name)[1] in suffixes:
                    found.append(os.path.normpath(os.path.relpath(os.path.join(folder, name), ROOT)))
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), "rb") as file:
        data = file.read()
    return None if b"\0" in data else data.decode("utf-8", "replace")


def apply(check, paths):
    texts = ((path, read(path)) for path in paths)
    return [(path, line, message) for path, text in texts if text is not None for line, message in check(path, text)]


def product():
    return tree("common", "services", "cli")


def lint_text():
    paths = [path for path in tree(".", suffixes=TEXT_SUFFIXES) if not path.startswith("proto/third_party")]
    paths = [path for path in paths if os.path.basename(path) != "LICENSE"]
    return apply(rules.check_text, paths)


def lint_functions():
    paths = product() + tree("tests")
    counts = sorted(count for path in product() for _, _, count in rules.functions(read(path)))
    if counts:
        tenth = counts[len(counts) * 9 // 10]
        print(f"{len(counts)} functions: median {statistics.median(counts):.0f} lines, "
              f"90th percentile {tenth}, longest {counts[-1]}")
    return apply(rules.check_functions, paths)


def lint_format():
    paths = product() + tree("tests")
    command = ["clang-format", "--dry-run", "--Werror", "--ferror-limit=1", *paths]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    places = [line.split(": ", 1)[0] for line in shown.stderr.split("\n") if " error: " in line]
    return [(place, None, "is not laid out by .clang-format: run 'make format'") for place in places]


def lint_architecture():
    """ARCHITECTURE.md agrees with the tree."""
    there = {os.path.dirname(path) for path in tree("common", "services", "tests", suffixes=(".txt",))
             if path.count("/") == 2 and path.endswith("/CMakeLists.txt")} | {"cli", "ops", "tools"}

    def exists(path):
        return os.path.exists(os.path.join(ROOT, path))

    found = rules.check_architecture(read("ARCHITECTURE.md"), exists, there)
    return [("ARCHITECTURE.md", line, message) for line, message in found]


def lint_protos():
    found = protos.check_tree(os.path.join(ROOT, "proto"))
    return [(f"proto/{name}" if name else "proto", None, message) for name, message in found]


def program():
    path = os.environ.get("WEIR_PROGRAM", os.path.join(ROOT, "build/bin/weir"))
    if not os.path.exists(path):
        print(f"{path} is not built")
        sys.exit(SKIPPED)
    return path


def lint_config():
    """The program accepts config/weir.yaml and the configuration of the chart."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as chart:
        chart.write(yaml.safe_dump(yaml.safe_load(read("helm/weir/values.yaml"))["config"]))
        chart.flush()
        files = {"config/weir.yaml": os.path.join(ROOT, "config/weir.yaml"), "helm/weir/values.yaml": chart.name}
        checked = {
            path: subprocess.run([program(), "config", "check", "--config", file], capture_output=True, text=True)
            for path, file in files.items()
        }
    return [(path, None, done.stdout + done.stderr) for path, done in checked.items() if done.returncode != 0]


def lint_reference():
    """config/REFERENCE.md is what the program prints."""
    command = [program(), "config", "reference"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if printed == read("config/REFERENCE.md"):
        return []
    return [("config/REFERENCE.md", None, "is stale: build/bin/weir config reference >config/REFERENCE.md")]


CHECKS = {
    "arrows": lambda: apply(rules.check_arrows, product()),
    "third-party": lambda: apply(rules.check_third_party, product()),
    "calls": lambda: apply(rules.check_calls, product()),
    "functions": lint_functions,
    "architecture": lint_architecture,
    "comments": lambda: apply(rules.check_header_comment, product() + tree("tests")),
    "text": lint_text,
    "protos": lint_protos,
    "format": lint_format,
    "config": lint_config,
    "reference": lint_reference,
}


def main(name):
    problems = CHECKS[name]()
    for path, line, message in problems:
        print(f"{path}:{line}: {message}" if line else f"{path}: {message}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in CHECKS:
        sys.exit(__doc__)
    main(sys.argv[1])
