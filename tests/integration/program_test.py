"""The program `weir` as a person and as a script meet it: what it prints, what it refuses, where it ends."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time

import grpc
from harness import MODEL, PATIENCE, WEIR, OwnSuiteTest, SuiteTest, main, state_name, wait_for

ESCAPE = "red\x1b[31m\nline"
HELD = rb" \[embed \d+ \(does not answer\)\], 0.0 files/s, ETA \?"  # of an ingest whose embedder stands still
COMMAND_S = 200  # the longest ingests thousands of files


class ProgramTest(SuiteTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="weir-files-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def weir(self, *arguments):
        environment = {**os.environ, "WEIR_ADDRESS": self.suite.grpc_address(), "NO_COLOR": "1"}
        return subprocess.run(
            [WEIR, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=COMMAND_S, check=False, env=environment,
        )

    def wait_for_letter(self, name):
        """The gateway knows of a failure a little before the dead letter is listed."""
        wait_for(lambda: self.client.ListDeadLetters(collection_id=name).dead_letters, "the dead letter")

    def says(self, status, text, *arguments):
        """The command ends with the status and has the text in its output."""
        done = self.weir(*arguments)
        output = (done.stdout + done.stderr).decode(errors="replace")
        self.assertEqual(done.returncode, status, output)
        self.assertIn(text, output)
        return output

    def write(self, name, body):
        with open(os.path.join(os.fsencode(self.folder), os.fsencode(name)), "wb") as stream:
            stream.write(body)

    def test_every_answer_can_be_had_as_json_lines(self):
        name = self.collection()
        self.write("good.txt", b"words of a mill")
        self.write("bad.html", b"<html></html>")
        commands = [
            ["ingest", self.folder, "--wait"], ["ls"], ["get", "good.txt"], ["events", "bad.html"],
            ["explain", "bad.html"], ["chunks", "good.txt"], ["search", "mill"], ["wait"], ["wait", "good.txt"],
            ["dlq", "ls"], ["dlq", "summary"], ["dlq", "requeue", "--dry-run"], ["dlq", "discard", "--dry-run"],
            ["audit", "run"], ["pressure"], ["pressure", "--watch", "-n", "1"], ["top", "-n", "1"],
            ["retry", "bad.html"], ["rm", "good.txt"],
        ]
        commands = [[*words, "-c", name] for words in commands] + [
            ["status", "--data", self.suite.data],
            ["doctor", "--data", self.suite.data, "--report", os.path.join(self.folder, "report.txt")],
            ["collection", "ls"], ["collection", "get", name], ["model", "ls"], ["config", "check"], ["version"],
            ["call", "SystemService/GetServerInfo"], ["down", "--data", self.folder],
        ]
        for words in commands:
            with self.subTest(command=words):
                if words[:2] == ["dlq", "ls"]:
                    self.wait_for_letter(name)
                done = self.weir(*words, "-o", "json")
                lines = done.stdout.decode().splitlines()
                self.assertTrue(lines, done.stderr)
                for line in lines:
                    self.assertIsInstance(json.loads(line), dict)

    def test_odd_files_are_named_and_do_no_harm(self):
        name = self.collection()
        self.write("good.txt", b"words")
        self.write(b"no-utf-8-\xff.txt", b"words")
        self.write("nothing.txt", b"")
        with open(os.path.join(self.folder, "large.txt"), "wb") as stream:
            stream.truncate(65 << 20)
        os.symlink(".", os.path.join(self.folder, "loop"))
        os.symlink("nowhere", os.path.join(self.folder, "dangling"))
        output = self.says(4, "4 files: 1 accepted, 0 unchanged, 3 refused; 1 READY",
                           "ingest", self.folder, "-c", name, "--wait")
        self.assertIn(".txt was refused: its name is not UTF-8", output)
        self.assertIn("nothing.txt was refused: BODY_EMPTY", output)
        self.assertIn("large.txt was refused: it has more than 64 MiB", output)
        self.assertIn("dangling is left out: No such file or directory", output)
        self.assertEqual(len(self.client.ListDocuments(collection_id=name).documents), 1)
        empty = os.path.join(self.folder, "empty")
        os.mkdir(empty)
        self.says(3, f"there is no file to ingest in {empty}", "ingest", empty, "-c", name)
        self.says(3, "that matches --glob", "ingest", self.folder, "-c", name, "--glob", "*.none")

    def test_what_failed_leads_to_what_can_be_done(self):
        name = self.collection()
        self.write("bad.html", b"<html></html>")
        output = self.says(4, "bad.html FAILED: EMPTY", "ingest", self.folder, "-c", name, "--wait")
        self.assertIn(f"weir explain ID -c {name}", output)
        self.says(0, "what to do: ingest other bytes", "explain", "bad.html", "-c", name)
        self.says(1, "`weir dlq summary` groups them", "doctor", "--data", self.suite.data, "--report", "-")
        self.says(0, "after 1 attempt: EMPTY", "explain", "bad.html", "-c", name)
        self.says(3, 'no revision of document "bad.html" is READY', "chunks", "bad.html", "-c", name)
        self.says(3, 'document "bad.html" has no revision 7', "wait", "bad.html", "-c", name, "-r", "7")
        self.says(3, f'no document "nobody" in collection "{name}"', "retry", "nobody", "-c", name)

    def test_ids_of_others_do_not_reach_the_terminal_raw(self):
        name = self.collection()
        document = self.ingest(name, ESCAPE, b"<html></html>", media_type="text/html").document
        self.assertEqual(state_name(document), "FAILED")
        self.wait_for_letter(name)
        letter = json.loads(self.weir("dlq", "ls", "-c", name, "-o", "json").stdout)["deadLetterId"]
        for words in (["dlq", "ls", "-c", name], ["dlq", "get", letter], ["dlq", "summary", "-c", name],
                      ["ls", "-c", name], ["explain", ESCAPE, "-c", name], ["events", ESCAPE, "-c", name],
                      ["get", ESCAPE + "2", "-c", name], ["chunks", ESCAPE, "-c", name]):
            with self.subTest(command=words):
                done = self.weir(*words)
                self.assertNotIn(b"\x1b", done.stdout + done.stderr)
                self.assertTrue(done.stdout + done.stderr)

    def test_a_wrong_word_changes_nothing(self):
        name = self.collection()
        self.write("a.txt", b"words")
        self.says(2, "--timeout is a time", "ingest", self.folder, "-c", name, "--wait", "--timeout", "soon")
        self.assertFalse(self.client.ListDocuments(collection_id=name).documents)
        data = os.path.join(self.folder, "data")
        for detach in ([], ["--detach"]):
            self.says(2, "--timeout is a time", "up", "--data", data, "--timeout", "soon", *detach)
        self.says(2, "usage: weir up; see", "up", "now", "--data", data)
        self.assertFalse(os.path.exists(data))
        self.says(8, "would be lost with it", "backup", os.path.join(self.suite.data, "copy"),
                  "--data", self.suite.data)
        self.assertFalse(os.path.exists(os.path.join(self.suite.data, "copy")))
        self.says(2, "there is no command \"dlq burn\"", "dlq", "burn")
        self.says(0, "weir dlq requeue", "help", "dlq")

    def completed(self, *words):
        script = 'eval "$(' + WEIR + ' completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weir; ' \
                 'printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", script, "bash", *words], stdout=subprocess.PIPE, text=True, timeout=20,
                              check=True)
        return done.stdout.split()

    def test_a_shell_completes_commands_and_options(self):
        self.assertEqual(self.completed("weir", "do"), ["down", "doctor"])
        self.assertEqual(self.completed("weir", "dlq", ""), ["ls", "summary", "get", "requeue", "discard"])
        self.assertEqual(self.completed("weir", "dlq", "ls"), ["ls"])
        self.assertEqual(self.completed("weir", "dlq", "requeue", "--d"), ["--dry-run"])
        self.assertEqual(self.completed("weir", "search", "words", "--m"), ["--mode", "--min-score"])
        self.assertEqual(self.completed("weir", "down", "x", "--addr"), [])
        fish = self.says(0, "complete -c weir -n __fish_use_subcommand -a dlq\n", "completion", "fish")
        for line in fish.splitlines():
            self.assertRegex(line, r"^complete -c weir -n (\w+|'[^']*')( -[a-z] [\w-]+| -r)*( -d '([^'\\]|\\.)*')?$")
        self.assertIn("bashcompinit", self.says(0, "complete -o default", "completion", "zsh"))
        self.says(2, "give bash, zsh or fish", "completion", "tcsh")

    def begin_ingest(self, name, terminal=None, **environment):
        return subprocess.Popen(
            [WEIR, "ingest", self.folder, "-c", name, "--wait", "--address", self.suite.grpc_address()],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE if terminal is None else terminal,
            env={**os.environ, **environment},
        )

    @staticmethod
    def read_until(stream, pattern):
        """What comes from the descriptor up to the pattern, or to its end."""
        seen, until = b"", time.monotonic() + PATIENCE
        while not re.search(pattern, seen):
            if not select.select([stream], [], [], max(0, until - time.monotonic()))[0]:
                raise AssertionError(f"no {pattern} in {seen}")
            try:
                part = os.read(stream, 1 << 16)
            except OSError:  # the other side of a terminal is closed
                part = b""
            seen += part
            if not part:
                break
        return seen

    def ingest_while_the_embedder_stands_still(self, pattern, **options):
        """What `weir ingest` shows until the pattern, and its process, with the embedder at work again."""
        name = self.collection()
        for number in range(5):
            self.write(f"{number}.txt", f"words of file {number}".encode())
        terminal, side = pty.openpty() if options.pop("terminal") else (None, None)
        self.suite.signal("embedder", signal.SIGSTOP)
        try:
            begun = self.begin_ingest(name, side, **options)
            shown = self.read_until(terminal or begun.stderr.fileno(), pattern)
        finally:
            self.suite.signal("embedder", signal.SIGCONT)
            if side:
                os.close(side)
        shown += self.read_until(terminal or begun.stderr.fileno(), b"nothing more comes")
        self.assertIn(b"5 files: 5 accepted, 0 unchanged, 0 refused; 5 READY", begun.communicate(timeout=PATIENCE)[0])
        if terminal:
            os.close(terminal)
        return shown

    def test_progress_is_a_bar_on_a_terminal(self):
        held = rb"\r\x1b\[K\[ +\] 5/5 files accepted, 0 done, 0 failed, 0 chunks" + HELD
        shown = self.ingest_while_the_embedder_stands_still(held, terminal=True)
        self.assertRegex(shown, rb"\[#{24}\] 5/5 files accepted, 5 done, 0 failed, 5 chunks, [0-9.]+ files/s\r\n")

    def test_progress_is_plain_lines_when_piped_or_without_colour(self):
        held = rb"weir: 5/5 files accepted, 0 done, 0 failed, 0 chunks" + HELD + rb"\r?\n"
        for options in ({"terminal": False}, {"terminal": True, "NO_COLOR": "1"}):
            with self.subTest(options):
                shown = self.ingest_while_the_embedder_stands_still(held, **options)
                self.assertIn(b"5/5 files accepted, 5 done", shown)
                self.assertNotIn(b"\x1b", shown)

    def test_an_interrupted_ingest_goes_on_where_it_stopped(self):
        name = self.collection()
        for number in range(3000):
            self.write(f"{number}.txt", f"words of file {number}".encode() * 100)
        begun = subprocess.Popen(
            [WEIR, "ingest", self.folder, "-c", name, "--address", self.suite.grpc_address()],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: self.client.GetCollection(collection_id=name).collection.document_count > 0, "the first file")
        begun.send_signal(signal.SIGINT)
        self.assertIn(begun.wait(PATIENCE), (0, 130))
        before = self.client.GetCollection(collection_id=name).collection.document_count
        output = self.says(0, "3000 READY", "ingest", self.folder, "-c", name, "--wait")
        unchanged = int(output.split(" unchanged")[0].split()[-1])
        self.assertGreaterEqual(unchanged, before)
        self.assertEqual(self.client.GetCollection(collection_id=name).collection.document_count, 3000)


class AwayTest(OwnSuiteTest):
    def test_a_service_that_does_not_answer_is_said_to(self):
        suite = self.own_suite().up()
        client = suite.client()
        client.CreateCollection(collection={"collection_id": "c", "embedding_model": MODEL})
        pid = suite.signal("embedder", signal.SIGSTOP)
        try:
            def away():
                stages = client.GetPressure().pressure.stages
                return [stage.away for stage in stages] == [False, False, True, False]

            wait_for(away, "the pressure to say that the embedder is away")
            environment = {**os.environ, "WEIR_ADDRESS": suite.grpc_address()}
            shown = subprocess.run([WEIR, "pressure"], stdout=subprocess.PIPE, timeout=60, check=True, env=environment)
            self.assertIn(b"does not answer", shown.stdout)
            client.IngestDocument(collection_id="c", document_id="a", text="words")
            # The server's word comes a little before the client's own deadline, when neither is held up.
            wait_for(lambda: self.is_late(client), "the search to say what it waited for")
            done = subprocess.run([WEIR, "wait", "a", "-c", "c", "--timeout", "100ms"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=60, check=False, env=environment)
            self.assertEqual(done.returncode, 5)
            self.assertIn(b"weir explain a -c c", done.stderr)
            answer = wait_for(
                lambda: next((it for it in [client.ExplainDocument(collection_id="c", document_id="a")]
                              if it.document.stage == 3), None), "the stage of the document to be EMBED")
            self.assertIn("embedder does not answer", answer.summary)
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: not client.GetPressure().pressure.stages[2].away, "the embedder to be back")

    def is_late(self, client):
        with self.assertRaises(grpc.RpcError) as late:
            client.call("Search", deadline=1, collection_id="c", text="words")
        self.assertEqual(late.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        return "before the embedder answered" in late.exception.details()


if __name__ == "__main__":
    main()
