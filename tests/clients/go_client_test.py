"""The Go client (go/): generated from proto/ with protoc-gen-go, built offline, run on a suite.

usage: go_client_test.py BUILD_FOLDER REPOSITORY

Needs Debian's golang-go, golang-google-grpc-dev, protoc-gen-go-1-5 and protoc-gen-go-grpc; exit 77 (skipped) without.
"""

import glob
import os
import shutil
import subprocess
import sys
import time

REPOSITORY = os.path.abspath(sys.argv.pop(2))
sys.path.insert(0, os.path.join(REPOSITORY, "tests", "integration"))
import harness  # noqa: E402  pylint: disable=wrong-import-position

PACKAGES = "/usr/share/gocode"
PROTOS = ("collection", "dead_letter", "document", "error", "search", "system")


def missing():
    if not shutil.which("go"):
        return "no go"
    if not os.path.isdir(f"{PACKAGES}/src/google.golang.org/grpc/reflection/grpc_reflection_v1"):
        return "no golang-google-grpc-dev"
    for program in ("protoc", "protoc-gen-go", "protoc-gen-go-grpc"):
        if not shutil.which(program):
            return f"no {program}"
    return None


def generate(folder):
    """weir.dev/weir/v1 and the client as GOPATH packages in folder."""
    source = os.path.join(folder, "src")
    shutil.rmtree(source, ignore_errors=True)
    os.makedirs(source)
    files = [f"weir/v1/{name}.proto" for name in PROTOS]
    subprocess.run(
        ["protoc", "-Iproto", "-Iproto/third_party", f"--go_out={source}", f"--go-grpc_out={source}", *files],
        cwd=REPOSITORY, check=True, timeout=60,
    )
    client = os.path.join(source, "client")
    os.makedirs(client)
    for path in glob.glob(os.path.join(REPOSITORY, "tests", "clients", "go", "*.go")):
        shutil.copy(path, client)


def build(folder):
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": f"{folder}:{PACKAGES}",
        "GOCACHE": os.path.join(folder, "cache"),
        "GOFLAGS": "-buildvcs=false",
        "CGO_ENABLED": "0",
    }
    program = os.path.join(folder, "client")
    subprocess.run(["go", "build", "-o", program, "client"], env=environment, check=True, timeout=800)
    return program


def main():
    lacking = missing()
    if lacking:
        print(f"skipped: {lacking}")
        return 77
    folder = os.path.join(harness.BUILD, "tests", "go")
    os.makedirs(folder, exist_ok=True)
    began = time.monotonic()
    generate(folder)
    program = build(folder)
    print(f"built in {time.monotonic() - began:.0f} s", flush=True)
    suite = harness.Suite()
    try:
        suite.up()
        addresses = [suite.grpc_address(service) for service in harness.SERVICES]
        done = subprocess.run([program, harness.MODEL, *addresses], timeout=300, check=False)
        if done.returncode != 0:
            suite.print_logs()
        return done.returncode
    finally:
        suite.close()


if __name__ == "__main__":
    sys.exit(main())
