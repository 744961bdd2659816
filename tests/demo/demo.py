#!/usr/bin/env python3
"""The demonstration: ingest a real corpus, kill a service with SIGKILL in the middle, ask questions.

Environment: WEIR_BUILD (folder with bin/), WEIR_BASE (root of the Debian 13 base system, empty when native),
DOCS=DIR for your own documents, DEMO_STAY=1 to leave the suite running.  Exit 0 only if every document is READY
and every question finds something.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "tools"))
import ports  # noqa: E402  pylint: disable=wrong-import-position

BUILD = pathlib.Path(os.environ.get("WEIR_BUILD") or REPOSITORY / "build")
BASE = os.environ.get("WEIR_BASE", "")
WEIR = BUILD / "bin" / "weir"
COLLECTION = "demo"
CORPUS = {
    "debian-policy": ("usr/share/doc/debian-policy", "**/*.html"),
    "developers-reference": ("usr/share/developers-reference", "*.html"),
    "debian-faq": ("usr/share/doc/debian/FAQ", "*.en.html"),
    "debian-reference": ("usr/share/doc/debian-reference-common/docs", "*.en.html"),
}
# The whole manual once more on one page: every answer from it would come twice.
REPEATED = ("developers-reference.html",)
QUESTIONS = (
    "how do I hand a package over to somebody else",
    "where must configuration files of a program be kept",
    "what does a maintainer do about a security bug",
    "how can I see which package a file belongs to",
    "why is there no message broker between the services",
)
OWN_QUESTIONS = (
    "what is this about",
    "how does it work",
    "who is responsible",
    "what are the limits",
    "how do I start",
)


def say(text=""):
    print(text, flush=True)


def gather(folder):
    """The corpus as a folder of its own, so that document ids are short and the same everywhere."""
    count = 0
    for name, (where, pattern) in CORPUS.items():
        source = pathlib.Path(BASE or "/") / where
        for file in sorted(source.glob(pattern)):
            if file.is_symlink() or not file.is_file() or file.name in REPEATED:
                continue
            target = folder / name / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            count += 1
    if count == 0:
        sys.exit("the corpus is missing: install debian-policy developers-reference debian-faq debian-reference-en")
    for file in sorted(REPOSITORY.glob("*.md")):
        (folder / "weir").mkdir(exist_ok=True)
        shutil.copyfile(file, folder / "weir" / file.name)
    return folder


class Suite:
    def __init__(self, data, base):
        self.data, self.base = data, base

    def weir(self, *arguments, **options):
        return subprocess.run([WEIR, *arguments], check=False, text=True, **options)

    def up(self):
        started = self.weir("up", "--detach", "--data", str(self.data), "--port-base", str(self.base))
        if started.returncode != 0:
            sys.exit("the suite did not start")

    def status(self):
        answer = self.weir("status", "--data", str(self.data), "-o", "json", capture_output=True)
        return {service["name"]: service for service in json.loads(answer.stdout)["services"]}

    def call(self, method, request):
        url = f"http://127.0.0.1:{self.base + 80}/weir.v1.{method}"
        call = urllib.request.Request(url, json.dumps(request).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(call, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            sys.exit(f"{method}: {error.read().decode()}")

    def pressure(self):
        return self.call("SystemService/GetPressure", {})["pressure"]


def number(pressure, key):
    return int(pressure.get(key, 0))


def kill_in_the_middle(suite, ingest):
    """SIGKILL the embedder once work is well under way; the supervisor brings it back."""
    while ingest.poll() is None:
        pressure = suite.pressure()
        if number(pressure, "ready") >= 5:
            break
        time.sleep(0.2)
    before = suite.status()["embedder"]
    os.kill(before["pid"], signal.SIGKILL)
    killed = time.monotonic()
    say(f"\n  *** SIGKILL to weir-embedder (pid {before['pid']}) while it works")
    while True:
        now = suite.status().get("embedder", {})
        if now.get("pid") not in (None, 0, before["pid"]) and now.get("state") == "SERVING":
            break
        if time.monotonic() - killed > 60:
            sys.exit("the embedder did not come back within a minute")
        time.sleep(0.05)
    say(f"  *** the supervisor started it again: pid {now['pid']}, serving after {time.monotonic() - killed:.1f} s\n")


def bare_tokens_per_second():
    """The runtime alone with the same model, measured now by embed_bench on one core, times the cores."""
    bench = BUILD / "tests" / "embed_bench"
    if not bench.exists():
        return None
    done = subprocess.run([bench, "2", "1"], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    found = re.search(r"bare runtime.*?(\d+) tokens per CPU second", done.stdout)
    return float(found.group(1)) * os.cpu_count() if found else None


def wait_until_settled(suite):
    while True:
        answer = suite.call("CollectionService/WaitCollection", {"collectionId": COLLECTION, "timeout": "20s"})
        if answer.get("settled"):
            return answer
        say(f"  ... {number(answer, 'ready')} ready, {number(answer, 'processing') + number(answer, 'pending')} to go")


def count_tokens(suite):
    chunks = tokens = 0
    token = ""
    while True:
        page = suite.call(
            "DocumentService/ListDocuments", {"collectionId": COLLECTION, "pageSize": 1000, "pageToken": token}
        )
        for document in page.get("documents", ()):
            chunks += int(document.get("chunkCount", 0))
            tokens += int(document.get("tokenCount", 0))
        token = page.get("nextPageToken", "")
        if not token:
            return chunks, tokens


def ask(suite, questions):
    found_all = True
    for question in questions:
        request = {"collectionId": COLLECTION, "text": question, "topK": 2}
        hits = suite.call("SearchService/Search", request).get("hits", ())
        say(f"\n? {question}")
        found_all = found_all and bool(hits)
        for hit in hits:
            place = " > ".join([hit["documentId"], *hit.get("headingPath", ())])
            text = " ".join(hit.get("text", "").split())
            say(f"  {hit['score']:.3f}  {place}\n         {text[:220]}{'...' if len(text) > 220 else ''}")
        if not hits:
            say("  nothing found")
    return found_all


def table(rows):
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"  {name:<{width}}  {value}")


def next_steps(suite):
    address = f"127.0.0.1:{suite.base + 70}"
    say(f"""
Go on with:
  {WEIR} search "how do I close a bug" -c {COLLECTION} --address {address}
  {WEIR} status --data {suite.data}
  grpcurl -plaintext {address} list
  curl -s http://127.0.0.1:{suite.base + 80}/weir.v1.SearchService/Search -H 'Content-Type: application/json' \\
    -d '{{"collectionId":"{COLLECTION}","text":"how do I close a bug","topK":3}}'""")


def run(suite, docs, questions):
    model = suite.call("SystemService/GetServerInfo", {}).get("defaultEmbeddingModel", "?")
    say(f"model {model}; documents from {docs}\n")
    bare = bare_tokens_per_second() if model == "all-minilm-l6-v2" else None
    begun = time.monotonic()
    ingest = subprocess.Popen(
        [WEIR, "ingest", str(docs), "-c", COLLECTION, "--wait", "--address", f"127.0.0.1:{suite.base + 70}"]
    )
    kill_in_the_middle(suite, ingest)
    code = ingest.wait()
    settled = wait_until_settled(suite)
    seconds = time.monotonic() - begun
    chunks, tokens = count_tokens(suite)
    ready, failed = number(settled, "ready"), number(settled, "failed")
    total = ready + failed + number(settled, "superseded") + number(settled, "deleted")
    rate = tokens / seconds
    rows = [("documents accepted", total), ("READY", ready), ("FAILED", failed), ("chunks", chunks),
            ("seconds", f"{seconds:.1f}"), ("tokens per second", f"{rate:.0f}")]
    if bare:
        rows.append((f"the bare runtime on {os.cpu_count()} cores", f"{bare:.0f}  (ratio {rate / bare:.2f})"))
    say()
    table(rows)
    answered = ask(suite, questions)
    next_steps(suite)
    if code != 0 or failed > 0 or ready == 0:
        say(f"\nnot every document is READY (weir ingest ended with {code})")
    return code == 0 and failed == 0 and ready > 0 and answered


def main():
    work = BUILD / "demo"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    own = os.environ.get("DOCS")
    docs = pathlib.Path(own).resolve() if own else gather(work / "corpus")
    suite = Suite(work / "data", ports.free_base(7000))
    suite.up()
    good = False
    try:
        good = run(suite, docs, OWN_QUESTIONS if own else QUESTIONS)
    finally:
        if os.environ.get("DEMO_STAY"):
            say(f"\nThe suite stays up; stop it with: {WEIR} down --data {suite.data}")
        else:
            suite.weir("down", "--data", str(suite.data))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
