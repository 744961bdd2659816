"""One process of clients that work on a suite and record what they see.

usage: workload.py BUILD_FOLDER PLAN.json      (see chaos/storm.py, which writes the plan)

Each line on standard input is a number from 0 to 1: the share of the work that may begin; the end of the input means
all of it.  So whoever breaks things decides how the breaking and the work meet.  The last line of the output is a JSON
object with counts.
"""

import json
import os
import random
import sys
import threading

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402  pylint: disable=wrong-import-position
from recorder import Journal, Recorder  # noqa: E402  pylint: disable=wrong-import-position

# What a document goes through; "bad" has no text, so its revision must fail; "look" waits for the end of the newest.
FATES = (
    [("text",)] * 50
    + [("text", "text")] * 10
    + [("text", "look", "text")] * 6
    + [("text", "delete")] * 8
    + [("text", "look", "delete")] * 5
    + [("text", "look", "delete", "text")] * 5
    + [("text", "same")] * 3
    + [("text", "older")] * 3
    + [("bad",)] * 2
    + [("bad", "look", "retry")] * 2
    + [("bad", "look", "retry", "text")] * 1
    + [("text", "look", "bad")] * 1
    + [("bad", "look", "requeue")] * 2
    + [("bad", "look", "discard")] * 2
    + [("text", "look", "bad", "look", "discard")] * 2
    + [("bad", "look", "discard", "text")] * 1
    + [("stream",)] * 3
    + [("text", "stream")] * 1
)
POISONED = [("text",)] * 84 + [("text", "text")] * 15 + [("bad",)]  # one in a hundred can never be READY


def text_of(document, step, long):
    words = f"Document {document} in its step {step} has the mark{document}x{step}."
    if not long:
        return words
    parts = ([f"{words} Part {part} tells of thing{part}, place{part} and time{part}."] * 6 for part in range(5))
    return "\n\n".join(" ".join(part) for part in parts)


class Pace:
    """How much of the work may begin."""

    def __init__(self):
        self.share = 0.0
        self.changed = threading.Condition()

    def follow(self, stream):
        for line in stream:
            self.open(float(line))
        self.open(1.0)

    def open(self, share):
        with self.changed:
            self.share = max(self.share, share)
            self.changed.notify_all()

    def wait(self, share):
        with self.changed:
            while self.share < 1.0 and self.share <= share:
                self.changed.wait()


class Worker:
    """What one process does; the plan is a dict (see storm.py)."""

    def __init__(self, plan):
        self.plan = plan
        self.fates = POISONED if plan["poisoned"] else FATES
        self.journal = Journal(plan["history"])
        self.pace = Pace()
        self.over = threading.Event()
        self.recorders = []
        self.problems = []

    def recorder(self, kind, number):
        made = Recorder(
            self.journal, f"{self.plan['name']}-{kind}{number}", self.plan["address"], self.plan["collection"]
        )
        self.recorders.append(made)
        return made

    def guarded(self, job, *arguments):
        try:
            job(*arguments)
        except Exception as error:  # pylint: disable=broad-except
            self.problems.append(repr(error))

    def run(self):
        writers = self.threads("w", self.plan["writers"], self.write)
        hot = self.threads("h", self.plan["hot_writers"], self.write_hot)
        readers = self.threads("r", self.plan["readers"], self.read)
        for thread in writers + hot + readers:
            thread.start()
        self.pace.follow(sys.stdin)
        for thread in writers + hot:
            thread.join()
        self.over.set()
        for thread in readers:
            thread.join()
        counts = {"ok": 0, "fail": 0, "info": 0}
        for recorder in self.recorders:
            for name, number in recorder.counts.items():
                counts[name] += number
            recorder.close()
        self.journal.close()
        print(json.dumps({"counts": counts, "problems": self.problems}), flush=True)

    def threads(self, kind, count, job):
        return [
            threading.Thread(target=self.guarded, args=(job, self.recorder(kind, number), number), daemon=True)
            for number in range(count)
        ]

    def seeded(self, *what):
        return random.Random(f"{self.plan['seed']}/{self.plan['name']}/{what}")

    # ---- documents of one writer each, under request ids, until they are answered ----

    def write(self, recorder, number):
        mine = range(self.plan["first"] + number, self.plan["first"] + self.plan["documents"], self.plan["writers"])
        generator = self.seeded("writer", number)
        for position, index in enumerate(mine):
            self.pace.wait(position / len(mine))
            self.bring_through(recorder, f"d{index:06}", index % 10 == 0, generator.choice(self.fates))

    def bring_through(self, recorder, document, is_long, fate):
        for step, what in enumerate(fate):
            request_id = f"{document}-{step}"
            text = text_of(document, step, is_long)
            if what == "stream":
                self.send_stream(recorder, document, step, is_long)
            elif what in ("requeue", "discard"):
                for letter in recorder.letters(document)[:1]:
                    recorder.until_answered(getattr(recorder, what), letter, request_id=request_id)
            elif what == "look":
                self.wait_for_end(recorder, document)
            elif what == "delete":
                recorder.until_answered(recorder.delete, document, request_id=request_id)
            elif what == "retry":
                recorder.until_answered(recorder.retry, document, request_id=request_id)
            elif what == "same":
                recorder.until_answered(recorder.ingest, document, text_of(document, 0, is_long), request_id=request_id)
            elif what == "older":
                recorder.until_answered(recorder.ingest, document, text, request_id=request_id, source_version=1)
            else:
                recorder.until_answered(
                    recorder.ingest, document, " \n" if what == "bad" else text, request_id=request_id,
                    source_version=9 if fate[-1] == "older" else 0, force=True,
                )

    @staticmethod
    def send_stream(recorder, document, step, is_long):
        """Three revisions in one stream; what was not answered is asked for again, alone and under its request_id."""
        texts = [text_of(document, f"{step}x{number}", is_long) for number in range(3)]
        items = [(document, text, f"{document}-{step}-{number}") for number, text in enumerate(texts)]
        recorder.ingest_all(items)
        for _, text, request_id in items:
            recorder.until_answered(recorder.ingest, document, text, request_id=request_id, force=True)

    def wait_for_end(self, recorder, document):
        """Not for long: where services are stopped, the next step meets a document that is under way."""
        for _ in range(20):
            answer = recorder.get(document, deadline=2)
            if not isinstance(answer, grpc.RpcError) and answer.document.terminal:
                return
            self.over.wait(0.05)

    # ---- a few documents that all writers of all processes fight for, with and without request ids ----

    def write_hot(self, recorder, number):
        generator = self.seeded("hot", number)
        steps = self.plan["hot_steps"]
        for step in range(steps):
            self.pace.wait(step / steps)
            document = f"hot{generator.randrange(self.plan['hot_documents']):03}"
            mark = f"{self.plan['name']}-{number}-{step}"
            self.one_hot(recorder, generator, document, mark, step)

    def one_hot(self, recorder, generator, document, mark, step):
        words = f"Hot {document} was written as mark{mark.replace('-', 'x')}."
        request_id = f"hot-{mark}" if generator.random() < 0.5 else ""
        what = generator.random()
        if what < 0.5:
            recorder.ingest(document, words, request_id=request_id, force=True)
            if request_id and generator.random() < 0.3:
                recorder.ingest(document, words, request_id=request_id, force=True)
        elif what < 0.6:
            recorder.ingest(document, words, source_version=step + 1)
        elif what < 0.65:
            recorder.ingest(document, " \n", request_id=request_id, force=True)
        elif what < 0.72:
            recorder.retry(document, request_id=request_id)
        elif what < 0.78:
            for letter in recorder.letters(document)[:1]:
                (recorder.requeue if what < 0.75 else recorder.discard)(letter, request_id=request_id)
        elif what < 0.9:
            recorder.delete(document, request_id=request_id)
        elif request_id:
            recorder.ingest(document, words, request_id=request_id, force=True)
            recorder.ingest(document, words + " Changed.", request_id=request_id, force=True)

    # ---- readers ----

    def read(self, recorder, number):
        generator = self.seeded("reader", number)
        token, after = "", ""
        while not self.over.is_set():
            begun = max(1, round(self.plan["documents"] * min(1.0, self.pace.share)))
            index = self.plan["first"] + generator.randrange(begun)
            document, is_long = f"d{index:06}", index % 10 == 0
            if generator.random() < 0.3:
                document, is_long = f"hot{generator.randrange(self.plan['hot_documents']):03}", False
            what = generator.random()
            if what < 0.25:
                recorder.get(document)
            elif what < 0.32:
                recorder.wait(document)
            elif what < 0.35:
                recorder.watch([document, "hot000", "hot001"])
            elif what < 0.8:
                recorder.search(document, text_of(document, 0, False))
            elif what < 0.9:
                recorder.find(text_of(document, 0, is_long)[:400])
            else:
                token, after = self.page(recorder, token, after)

    @staticmethod
    def page(recorder, token, after):
        answer = recorder.list(token, after)
        if isinstance(answer, grpc.RpcError) or not answer.next_page_token:
            return "", ""
        return answer.next_page_token, answer.documents[-1].document_id


def main():
    with open(sys.argv[1], encoding="utf-8") as stream:
        plan = json.load(stream)
    Worker(plan).run()


if __name__ == "__main__":
    main()
