#!/usr/bin/env python3
"""`promtool check metrics` on each of the five services, and the metrics every service must have.

usage: check_metrics.py BIN_FOLDER
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import ports  # noqa: E402  pylint: disable=wrong-import-position

SERVICES = ("gateway", "ingest", "embedder", "indexer", "reconciler")
EVERYWHERE = (
    "weir_build_info",
    "weir_rpc_requests_total",
    "weir_rpc_duration_seconds",
    "weir_commit_duration_seconds",
    "weir_store_bytes",
)
SKIPPED = 77


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def read_metrics(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        return response.read().decode()


def check(name, text):
    promtool = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    problems = [f"{name}: promtool: {line}" for line in promtool.stderr.splitlines() if promtool.returncode != 0]
    described = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    problems += [f"{name}: no metric {metric}" for metric in EVERYWHERE if metric not in described]
    return problems


def check_suite(weir, data):
    # Not checked: its exit status says that all serve, and on a busy machine one may be too slow to say so.
    status = json.loads(run(weir, "status", "--data", data, "-o", "json", check=False))
    services = {service["name"].removeprefix("weir-"): service for service in status["services"]}
    problems = []
    for name in SERVICES:
        text = read_metrics(services[name]["admin"].removeprefix("http://"))
        print(f"{name}: {sum(line.startswith('# TYPE ') for line in text.splitlines())} metrics")
        problems += check(name, text)
    return problems


def main(bin_folder):
    weir = os.path.join(bin_folder, "weir")
    if not os.path.exists(weir):
        print(f"{weir} is not built")
        sys.exit(SKIPPED)
    data = tempfile.mkdtemp(prefix="weir-metrics-", dir="/tmp")  # short: socket paths have 107 bytes
    try:
        run(weir, "up", "--data", data, "--port-base", str(ports.free_base()), "--detach")
        problems = check_suite(weir, data)
    finally:
        subprocess.run([weir, "down", "--data", data], check=False, capture_output=True)
        shutil.rmtree(data, ignore_errors=True)
    print("\n".join(problems))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
