"""Make the data folder of one release: what upgrade_test.py opens with every later one.

    make_data.py BUILD_FOLDER_OF_THE_RELEASE OUT.tar.xz

Documents in every state, work under way in every service, request ids, a dead letter; then a SIGKILL of all, so that
the logs of the databases hold what an orderly end would have written into tables.  told.json has what clients know.
Run it once for each raised schema, with the last build before it, and commit what it writes (at most 200 KiB).
"""

import json
import os
import signal
import sys
import tarfile

import harness
from harness import MODEL, SERVICES, Suite, outcome_name, process_is_gone, state_name, wait_for

OUT = os.path.abspath(sys.argv.pop(1))
BYTES_MAX = 200 << 10


def text_of(name, revision):
    return f"The document {name} in revision {revision} came before the upgrade."


def document(client, told, name, revision=1, wait=20, text=None, **fields):
    """One ingest; what the client was told."""
    text = text_of(name, revision) if text is None else text
    answer = client.IngestDocument(
        collection_id="notes", document_id=name, text=text, request_id=f"{name}-{revision}", wait=wait, **fields
    )
    told["documents"][name] = {
        "state": state_name(answer.document), "revision": answer.document.revision, "text": text,
        "sha256": answer.document.content_sha256, "outcome": outcome_name(answer),
    }


def fill(suite, told):
    client = suite.client()
    client.CreateCollection(collection={"collection_id": "notes", "embedding_model": MODEL})
    for number in range(12):
        document(client, told, f"ready-{number}")
    document(client, told, "replaced")
    document(client, told, "replaced", 2)
    document(client, told, "large", text=text_of("large", 1) * 1500)
    document(client, told, "failed", text=" \n")
    for name in ("deleted", "again"):
        document(client, told, name)
        client.DeleteDocument(collection_id="notes", document_id=name, request_id=f"{name}-delete")
    told["documents"]["deleted"].update(state="DELETED", revision=2)
    document(client, told, "again", 3)
    document(client, told, "failed-then-ready", text=" \n")
    document(client, told, "failed-then-ready", 2)
    watch = client.WatchDocuments(collection_id="notes", document_ids=["ready-0"], deadline=20)
    told["resume_token"] = next(iter(watch)).resume_token
    watch.cancel()


def leave_work(suite, told):
    """Documents that are under way when everything is killed: accepted, chunked and not embedded."""
    client = suite.client()
    suite.signal("embedder", signal.SIGSTOP)
    for number in range(4):
        document(client, told, f"under-way-{number}", wait=0)
    document(client, told, "replaced", 3, wait=0)
    suite.signal("ingest", signal.SIGSTOP)
    for number in range(4, 8):
        document(client, told, f"under-way-{number}", wait=0)
    for entry in told["documents"].values():
        if entry["state"] in ("PENDING", "PROCESSING"):
            entry["state"] = "READY"  # what must become of it


def kill(suite):
    pids = [service["pid"] for service in suite.status().values()]
    suite.foreground.kill()  # the services end with it
    wait_for(lambda: all(process_is_gone(pid) for pid in pids), "the end of all services")


def pack(data, told):
    path = os.path.join(data, "told.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump(told, out, indent=1, sort_keys=True)
    with tarfile.open(OUT, "w:xz", preset=9) as archive:
        archive.add(path, "told.json")
        for service in SERVICES:
            for name in sorted(os.listdir(os.path.join(data, service, "db"))):
                if not name.startswith("LOG"):
                    archive.add(os.path.join(data, service, "db", name), f"{service}/db/{name}")
    size = os.path.getsize(OUT)
    print(f"{OUT}: {size} bytes, {len(told['documents'])} documents")
    if size > BYTES_MAX:
        sys.exit(f"more than {BYTES_MAX} bytes")


def main():
    suite = Suite(["store.ballast_bytes=0"])
    told = {"documents": {}}
    try:
        suite.up_foreground()
        fill(suite, told)
        leave_work(suite, told)
        kill(suite)
        pack(suite.data, told)
    finally:
        suite.close()


if __name__ == "__main__":
    main()
