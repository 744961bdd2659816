"""The register that each document is, and the search for an order of its operations that explains what clients saw.

A document is its revisions, which of them can be found, and what its requests were answered.  Operations act on it at
one instant between invoke and answer; an unanswered one at any later instant, or never.  Between operations the
services bring revisions forward: READY, FAILED, a delete that takes effect, a new run.  A history is linearizable if
instants can be chosen so that every answer is what the register said then (Wing and Gong, with three savings: an answer
that holds already is taken at once, since it changes nothing; a revision becomes READY or FAILED only where somebody
saw it so; and what the databases hold at the end says which unanswered writes happened).
"""

import collections

from history import FOREVER

LIVE, READY, FAILED, OVER, DELETING, DELETED = "L", "R", "F", "S", "T", "D"
STEPS_MAX = 200000  # states looked at for one document; beyond it the history is called undecided
SHOWN = {
    "PENDING": LIVE, "PROCESSING": LIVE, "READY": READY, "FAILED": FAILED, "SUPERSEDED": OVER, "DELETED": DELETED
}

Revision = collections.namedtuple("Revision", "is_delete sha256 state run")
# requests: ((method, request_id), payload, revision), sorted; losses: volumes lost so far that this document felt
State = collections.namedtuple("State", "revisions found source_version requests losses")
EMPTY = State((), 0, 0, (), 0)


def replaced(revisions, number, **fields):
    return revisions[: number - 1] + (revisions[number - 1]._replace(**fields),) + revisions[number:]


def remembered(state, method, request_id, payload, revision):
    if not request_id:
        return state
    return state._replace(requests=tuple(sorted((*state.requests, ((method, request_id), payload, revision)))))


def request_of(state, method, request_id):
    """(payload, revision) or None."""
    if request_id:
        for key, payload, revision in state.requests:
            if key == (method, request_id):
                return payload, revision
    return None


# ---- what a write does: (state after, outcome, revision) ----


def ingest(state, operation, _facts):
    wanted = operation.arguments
    request_id, version = wanted.get("request_id", ""), wanted.get("source_version", 0)
    payload = repr(operation.payload)
    seen = request_of(state, "ingest", request_id)
    if seen is not None:
        return (state, "REPEATED", seen[1]) if seen[0] == payload else (state, "ALREADY_EXISTS", 0)
    if version and version <= state.source_version:
        return state, "ABORTED", 0
    if version:
        state = state._replace(source_version=version)
    newest = len(state.revisions)
    same = newest and not state.revisions[-1].is_delete and state.revisions[-1].sha256 == operation.sha256
    if same and not wanted.get("force"):
        return remembered(state, "ingest", request_id, payload, newest), "UNCHANGED", newest
    state = state._replace(revisions=(*state.revisions, Revision(False, operation.sha256, LIVE, 1)))
    return remembered(state, "ingest", request_id, payload, newest + 1), "NEW", newest + 1


def delete(state, operation, _facts):
    request_id = operation.arguments.get("request_id", "")
    payload = repr(operation.payload)
    seen = request_of(state, "delete", request_id)
    if seen is not None:
        return (state, "REPEATED", seen[1]) if seen[0] == payload else (state, "ALREADY_EXISTS", 0)
    newest = len(state.revisions)
    if newest == 0:
        return state, "NOT_FOUND", 0
    if not state.revisions[-1].is_delete:
        newest += 1
        state = state._replace(revisions=(*state.revisions, Revision(True, "", DELETING, 1)))
    return remembered(state, "delete", request_id, payload, newest), "DELETE", newest


def retry(state, operation, _facts):
    wanted = operation.arguments
    request_id = wanted.get("request_id", "")
    payload = repr(operation.payload)
    seen = request_of(state, "retry", request_id)
    if seen is not None:
        return (state, "REPEATED", seen[1]) if seen[0] == payload else (state, "ALREADY_EXISTS", 0)
    newest = len(state.revisions)
    if newest == 0 or wanted.get("revision", 0) > newest:
        return state, "NOT_FOUND", 0
    last = state.revisions[-1]
    if wanted.get("revision", 0) not in (0, newest) or last.state != FAILED:
        return state, "FAILED_PRECONDITION", 0
    revisions = replaced(state.revisions, newest, state=LIVE, run=last.run + 1)
    state = state._replace(revisions=revisions)
    return remembered(state, "retry", request_id, payload, newest), "RUN", newest


def given_up(state, operation):
    """What the dead letter of an operation names: GONE, FAILED, OLDER (what newer revisions did to it is not known
    here), or SEEN, if this request was answered before."""
    wanted, newest = operation.arguments, len(state.revisions)
    if request_of(state, operation.name, wanted.get("request_id", "")) is not None:
        return "SEEN"
    number = wanted["revision"]
    if number > newest or number < tombstone_of(state):
        return "GONE"
    revision = state.revisions[number - 1]
    if number < newest and not revision.is_delete and revision.run == wanted["run"]:
        return "OLDER"
    return "FAILED" if (revision.state, revision.run) == (FAILED, wanted["run"]) else "GONE"


def tombstone_of(state):
    return max((number for number, revision in enumerate(state.revisions, 1) if revision.is_delete), default=0)


def remember_letter(state, operation):
    wanted = operation.arguments
    return remembered(
        state, operation.name, wanted.get("request_id", ""), repr(operation.payload), wanted["revision"]
    )


def requeue(state, operation, _facts):
    """A dead letter is tried again: the one way to a new run, and only of the newest revision."""
    number, stands = operation.arguments["revision"], given_up(state, operation)
    if stands != "FAILED":
        outcomes = {"SEEN": "REPEATED", "GONE": "NOT_FOUND", "OLDER": "OLDER"}
        return state, outcomes[stands], number
    run = state.revisions[number - 1].run + 1
    state = state._replace(revisions=replaced(state.revisions, number, state=LIVE, run=run))
    return remember_letter(state, operation), "RUN", number


def discard(state, operation, _facts):
    """A dead letter goes: with its document, or alone where another revision keeps the place."""
    number, stands = operation.arguments["revision"], given_up(state, operation)
    if stands in ("SEEN", "GONE"):
        return state, "REPEATED" if stands == "SEEN" else "NOT_FOUND", number
    if stands == "OLDER":
        if state.revisions[number - 1].state == FAILED:
            state = state._replace(revisions=replaced(state.revisions, number, state=OVER))
            return remember_letter(state, operation), "OLDER", number
        return state, "OLDER", number
    first = tombstone_of(state) + 1
    others = [revision for other, revision in enumerate(state.revisions, 1) if other >= first and other != number]
    if any(revision.state in (LIVE, READY, FAILED) for revision in others):
        state = state._replace(revisions=replaced(state.revisions, number, state=OVER))
        return remember_letter(state, operation), "SUPERSEDED", number
    revisions = (*replaced(state.revisions, number, state=DELETED), Revision(True, "", DELETING, 1))
    return remember_letter(state._replace(revisions=revisions), operation), "DELETED", number


LETTERS = {"requeue": requeue, "discard": discard}
WRITERS = {"ingest": ingest, "delete": delete, "retry": retry, **LETTERS}


# ---- what the services do by themselves ----


class Facts:
    """What somebody saw of a document at any time: only that needs to happen."""

    def __init__(self, losses=0):
        self.losses = losses  # volumes lost in the run
        self.ready, self.failed = set(), set()
        self.recorded = set()  # revision and run that somebody was told READY of by the gateway
        self.runs = collections.Counter()
        self.numbers = None  # sha256 -> revisions, of the databases at the end; None: not looked at
    def see(self, seen):
        number = seen["revision"]
        if seen["state"] == "READY":
            self.ready.add(number)
            self.recorded.add((number, seen["run"]))
        if seen["state"] == "FAILED":
            self.failed.add(number)
        if seen.get("searchable"):
            self.ready.add(seen["searchable"])
        self.runs[number] = max(self.runs[number], seen["run"])


def forward(state, facts):
    """The states one step of the services further on."""
    tombstone = max((n for n, r in enumerate(state.revisions, 1) if r.state == DELETED and r.is_delete), default=0)
    for number, revision in enumerate(state.revisions, 1):
        if revision.is_delete:
            if revision.state == DELETING:
                yield confirm(state, number)
            continue
        if revision.state == LIVE:
            if number in facts.ready and number > state.found and number > tombstone:
                yield make_ready(state, number)
            elif number in facts.ready and number == state.found:  # driven again after a loss
                yield state._replace(revisions=replaced(state.revisions, number, state=READY))
            if number in facts.failed:
                yield state._replace(revisions=replaced(state.revisions, number, state=FAILED))
        if revision.state in (LIVE, READY) and revision.run < facts.runs[number]:
            if revision.state == LIVE:
                yield state._replace(revisions=replaced(state.revisions, number, run=revision.run + 1))
                if state.losses < facts.losses and number > max(state.found, tombstone):
                    yield from lose(make_ready(state, number), number, facts)  # READY, and lost before anybody saw it
            elif state.losses < facts.losses:
                yield from lose(state, number, facts)


def make_ready(state, number):
    lower = tuple(
        revision._replace(state=OVER) if revision.state in (LIVE, FAILED, READY) else revision
        for revision in state.revisions[: number - 1]
    )
    revisions = lower + state.revisions[number - 1 :]
    return state._replace(revisions=replaced(revisions, number, state=READY), found=number)


def confirm(state, number):
    """A tombstone takes effect, and every lower one with it."""
    lower = tuple(
        revision._replace(state=DELETED) if revision.is_delete or revision.state in (LIVE, FAILED, READY) else revision
        for revision in state.revisions[: number - 1]
    )
    revisions = lower + state.revisions[number - 1 :]
    found = 0 if state.found < number else state.found
    return state._replace(revisions=replaced(revisions, number, state=DELETED), found=found)


def lose(state, number, facts):
    """The indexer's volume was lost: the revision is driven again, and searches that answer still find it.  But a READY
    that the gateway had not heard of is lost for good, and the revision before it serves again."""
    recorded = (number, state.revisions[number - 1].run) in facts.recorded
    run = state.revisions[number - 1].run + 1
    lost = state._replace(revisions=replaced(state.revisions, number, state=LIVE, run=run), losses=state.losses + 1)
    yield lost
    if recorded:
        return
    before = max((n for n, r in enumerate(state.revisions[: number - 1], 1) if r.state == OVER), default=0)
    yield lost._replace(
        found=before, revisions=replaced(lost.revisions, before, state=READY) if before else lost.revisions
    )


def later(state, facts, holds):
    """The nearest states that the services can reach by themselves in which `holds` is true."""
    seen, queue = {state}, collections.deque([state])
    while queue:
        state = queue.popleft()
        if holds(state):
            yield state
            continue  # what goes further can do so later
        for following in forward(state, facts):
            if following not in seen:
                seen.add(following)
                queue.append(following)


# ---- operations as steps ----


class Step:
    """Something that must (or, `optional`, may) happen between two instants."""

    def __init__(self, operation, holds=None, write=None, expected=None, optional=False):
        self.operation, self.holds, self.write, self.expected = operation, holds, write, expected
        self.invoked, self.ended = operation.invoked, FOREVER if optional else operation.ended
        self.optional = optional

    def after(self, state, facts):
        """The states that the step may leave."""
        if self.write is None:
            yield from later(state, facts, self.holds)
            return
        if self.expected is None:
            result = self.write(state, self.operation, facts)
            if result[0] != state and allowed(result, facts):
                yield result[0]
            elif self.operation.name == "retry":
                for reached in later(state, facts, lambda s: s.revisions and s.revisions[-1].state == FAILED):
                    yield self.write(reached, self.operation, facts)[0]
            elif self.operation.name in LETTERS:
                for reached in later(state, facts, lambda s: self.write(s, self.operation, facts)[0] != s):
                    yield self.write(reached, self.operation, facts)[0]
            return
        for reached in later(state, facts, lambda s: self.expected(self.write(s, self.operation, facts))):
            result = self.write(reached, self.operation, facts)
            if allowed(result, facts):
                yield result[0]


def allowed(result, facts):
    """A new revision must be the one that the databases hold."""
    state, outcome, number = result
    if facts.numbers is None or outcome not in ("NEW", "DELETE"):
        return True
    revision = state.revisions[number - 1]
    return number in facts.numbers.get("" if revision.is_delete else revision.sha256, ())


def shows(seen):
    """A Get's answer, as a condition on the register."""

    def holds(state):
        if len(state.revisions) != seen["revision"]:
            return False
        revision = state.revisions[-1]
        if SHOWN[seen["state"]] != revision.state:
            return False
        if revision.is_delete:
            return True
        if seen["sha256"] and seen["sha256"] != revision.sha256:
            return False
        if revision.run != seen["run"]:
            return False
        return seen["searchable"] == state.found or (state.losses > 0 and seen["searchable"] == 0)

    return holds


def stands(seen):
    """A wait's answer: how one revision stands, which need not be the newest any more.

    Its end is what the gateway has heard of, so a READY that is still on its way to it may be missing.
    """
    shown = SHOWN[seen["state"]]
    possible = (shown, READY) if shown == LIVE else (shown,)

    def holds(state):
        if len(state.revisions) < seen["revision"]:
            return False
        revision = state.revisions[seen["revision"] - 1]
        return revision.state in possible and (revision.is_delete or revision.run == seen["run"])

    return holds


def ok_steps(operation):
    result = operation.result
    if operation.name == "ingest":
        wanted = {"CREATED": "NEW", "REPLACED": "NEW"}.get(result["outcome"], result["outcome"])
        yield Step(operation, write=ingest, expected=lambda r: r[1:] == (wanted, result["revision"]))
    elif operation.name == "delete":
        yield Step(
            operation, write=delete,
            expected=lambda r: r[1] in ("DELETE", "REPEATED") and r[2] == result["revision"],
        )
        number = result["revision"]
        yield Step(
            operation,
            holds=lambda s: len(s.revisions) >= number and s.revisions[number - 1][::2] == (True, DELETED),
        )
    elif operation.name == "retry":
        yield Step(
            operation, write=retry,
            expected=lambda r: r[1] in ("RUN", "REPEATED") and r[2] == result["revision"]
            and r[0].revisions[r[2] - 1].run <= result["run"],
        )
    elif operation.name == "requeue":
        yield Step(
            operation, write=requeue,
            expected=lambda r: r[1] == "REPEATED" or r[1] == "RUN" and r[0].revisions[r[2] - 1].run == result["run"],
        )
    elif operation.name == "discard":
        yield Step(operation, write=discard, expected=lambda r: r[1] in ("REPEATED", "OLDER", result["state"]))
    elif operation.name == "get":
        yield Step(operation, holds=shows(result))
    elif operation.name == "wait":
        yield Step(operation, holds=stands(result))
    elif operation.name == "search" and result["complete"]:
        revisions = {hit["revision"] for hit in result["hits"]}
        found = max(revisions, default=0)
        yield Step(operation, holds=lambda s: s.found == found)


def fail_steps(operation):
    """A refusal that says something of the document is an answer too."""
    if operation.name in ("get", "wait") and operation.reason == "DOCUMENT_NOT_FOUND":
        yield Step(operation, holds=lambda s: not s.revisions)
    write = WRITERS.get(operation.name)
    telling = ("ABORTED", "ALREADY_EXISTS", "FAILED_PRECONDITION", "NOT_FOUND")
    if write is not None and operation.code in telling and operation.reason != "COLLECTION_NOT_FOUND":
        yield Step(operation, write=write, expected=lambda r: r[1] in (operation.code, "OLDER"))


def steps_of(operations, finds, facts):
    """finds: (operation, revision) of searches without a filter that had the document among their hits."""
    steps = [Step(operation, holds=lambda s, n=revision: s.found == n) for operation, revision in finds]
    for operation in operations:
        if operation.kind == "ok":
            steps += ok_steps(operation)
        elif operation.kind == "fail":
            steps += fail_steps(operation)
        elif operation.name in WRITERS and may_have_happened(operation, facts):
            steps.append(Step(operation, write=WRITERS[operation.name], optional=True))
    return sorted(steps, key=lambda step: step.invoked)


def may_have_happened(operation, facts):
    """An unanswered write; where the databases were looked at, a trace of it must be there."""
    if facts.numbers is None or operation.name in ("retry", *LETTERS):
        return True
    return ("" if operation.name == "delete" else operation.sha256) in facts.numbers


def facts_of(operations, finds, losses):
    facts = Facts(losses)
    for operation in operations:
        if operation.kind != "ok":
            continue
        if operation.name == "search":
            facts.ready.update(hit["revision"] for hit in operation.result["hits"])
        else:
            facts.see(operation.result)
        if operation.name in ("retry", *LETTERS):
            facts.failed.add(operation.result["revision"])
    facts.ready.update(revision for _, revision in finds)
    return facts


# ---- the search ----


class Search:
    def __init__(self, steps, facts):
        self.steps, self.facts = steps, facts
        self.required = 0
        for index, step in enumerate(steps):
            if not step.optional:
                self.required |= 1 << index
        self.seen = set()
        self.deepest = (-1, EMPTY, 0)

    def candidates(self, done, start):
        """Steps that may come next: begun before any other that is not done has ended."""
        latest = FOREVER
        found = []
        for index in range(start, len(self.steps)):
            step = self.steps[index]
            if step.invoked > latest:
                break
            if done >> index & 1:
                continue
            found.append(index)
            latest = min(latest, step.ended)
        return [index for index in found if self.steps[index].invoked <= latest]

    def settle(self, done, state, start):
        """Take every answer that holds already."""
        moved = True
        while moved:
            moved = False
            while done >> start & 1:
                start += 1
            choices = self.candidates(done, start)
            for index in choices:
                step = self.steps[index]
                if step.write is None and step.holds(state):
                    done |= 1 << index
                    moved = True
        return done, start, choices

    def run(self):
        """True: an order was found; False: there is none; None: too many to tell."""
        stack = [(0, EMPTY, 0)]
        while stack:
            done, state, start = stack.pop()
            done, start, choices = self.settle(done, state, start)
            if done & self.required == self.required:
                return True
            if (done, state) in self.seen:
                continue
            self.seen.add((done, state))
            if len(self.seen) > STEPS_MAX:
                return None
            depth = (done & self.required).bit_count()
            if depth > self.deepest[0]:
                self.deepest = (depth, state, done)
            following = []
            for index in sorted(choices, key=lambda i: (self.steps[i].optional, self.steps[i].ended)):
                for after in self.steps[index].after(state, self.facts):
                    following.append((done | 1 << index, after, start))
            stack.extend(reversed(following))
        return False

    def explain(self):
        """Where the longest explanation got stuck."""
        _, state, done = self.deepest
        left = [step.operation for index, step in enumerate(self.steps) if not done >> index & 1]
        before = [step.operation for index, step in enumerate(self.steps) if done >> index & 1]
        lines = [f"no order explains it; the longest one leaves {describe(state)} and cannot go on to any of"]
        lines += [f"      {operation}" for operation in left[:6]]
        lines += ["    after"]
        lines += [f"      {operation}" for operation in before[-8:]]
        return "\n".join(lines)


def describe(state):
    revisions = ", ".join(
        f"{number}:{'delete ' if r.is_delete else ''}{r.state}{r.run}" for number, r in enumerate(state.revisions, 1)
    )
    return f"revisions [{revisions}], found {state.found}"
