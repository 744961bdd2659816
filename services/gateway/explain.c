/*
 * explain.c - see explain.h.
 *
 * One function for each situation, tried in order; the first that applies writes the answer.
 */
#include "services/gateway/explain.h"

#include "common/domain/dead_letter_id.h"
#include "weir/v1/system.pb-c.h"

typedef Weir__V1__ExplainDocumentResponse explain_response;
typedef Weir__V1__ExplainDocumentFinding finding;

#define STATE(name_) (WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_)
#define SITUATION(name_) (WEIR__V1__DOCUMENT_SITUATION__DOCUMENT_SITUATION_##name_)
#define STAGE(name_) (WEIR__V1__STAGE__STAGE_##name_)

enum { FINDINGS_MAX = 8, STAGE_UNKNOWN = 0 };

typedef struct explaining {
    const gateway_explain_facts *facts;
    weir_arena *arena;
    explain_response *response;
    long long revision;
} explaining;

static const char *const services[] = { "?", "gateway", "ingest", "embedder", "indexer" };
static const char *const parts[] = { "?", "taken in", "read and cut", "embedded", "indexed" };

/* ---- parts of an answer ---- */

static void
add(explaining *self, uint32_t stage, const char *reason, const char *message,
    const char *next_step)
{
    finding *made = weir_arena_alloc(self->arena, sizeof *made);

    if (self->response->n_findings == FINDINGS_MAX)
        return;
    weir__v1__explain_document_finding__init(made);
    made->stage = (Weir__V1__Stage)stage;
    made->reason = (char *)(uintptr_t)reason;
    if (reason[0] != '\0')
        made->error_class = gateway_view_class(weir_code_from_name(reason));
    made->message = (char *)(uintptr_t)message;
    made->next_step = (char *)(uintptr_t)next_step;
    self->response->findings[self->response->n_findings++] = made;
}

static void
conclude(explaining *self, Weir__V1__DocumentSituation situation, const char *summary,
    const char *next)
{
    self->response->situation = situation;
    self->response->summary = (char *)(uintptr_t)summary;
    self->response->next = (char *)(uintptr_t)next;
}

#define SAY(...) weir_arena_printf(self->arena, __VA_ARGS__)

static void
add_away(explaining *self, uint32_t stage)
{
    add(self, stage, "SERVICE_UNAVAILABLE",
        SAY("the %s does not answer; what was accepted is safe and goes on when it is back",
            services[stage]),
        SAY("see how it is with weir status, and start it"));
}

static void
conclude_away(explaining *self, uint32_t stage)
{
    add_away(self, stage);
    conclude(self, SITUATION(SERVICE_AWAY),
        SAY("Revision %lld waits to be %s: the %s does not answer.", self->revision, parts[stage],
            services[stage]),
        SAY("It goes on as soon as the %s is back.", services[stage]));
}

static void
conclude_rebuilding(explaining *self, const char *summary)
{
    add(self, STAGE(INDEX), "INDEX_REBUILDING",
        "the indexer lost its volume or has just started, and decides and shows nothing until the "
        "gateway has told it what it must know",
        "");
    conclude(self, SITUATION(INDEX_REBUILDING), summary,
        "It comes back by itself, with no client's help.");
}

/* ---- what is over ---- */

static void
explain_deleted(explaining *self)
{
    conclude(self, SITUATION(DELETED), SAY("Revision %lld is deleted.", self->revision),
        "Nothing: a delete is final.");
    add(self, STAGE(ACCEPT), "", "the document was deleted", "ingest it again to have it back");
}

static void
explain_superseded(explaining *self)
{
    const long long other = (long long)self->facts->found.document->searchable_revision;

    conclude(self, SITUATION(SUPERSEDED),
        other != 0 ? SAY("Revision %lld gave its place to another; searches find revision %lld.",
                         self->revision, other)
                   : SAY("Revision %lld gave its place to another.", self->revision),
        "Nothing: it is over.");
}

static void
explain_failed(explaining *self)
{
    const gateway_found *found = &self->facts->found;
    const failure_record *failure = found->revision->failure;
    const weir_dead_letter_id id = { .collection_no = found->collection->collection_no,
        .revision = found->number,
        .run = found->revision->epoch,
        .document_id = found->document_id };
    const uint32_t stage = failure != NULL ? failure->stage : 0;
    const uint32_t attempts = failure != NULL ? failure->attempt_count : 0;
    const char *reason = weir_code_name((weir_code)(failure != NULL ? failure->code : 0));

    self->response->dead_letter_id = weir_dead_letter_id_format(self->arena, &id);
    add(self, stage, failure != NULL ? reason : "",
        failure != NULL ? failure->message : "the failure is not known",
        found->number < found->document->newest_revision
            ? "a newer revision is there: discard the dead letter"
            : failure != NULL && failure->retryable
            ? "requeue it (weir dlq requeue) when the cause is gone, or discard it"
            : "ingest other bytes, or change the setting that refuses them and requeue it, or "
              "discard it");
    conclude(self, SITUATION(FAILED),
        SAY("Revision %lld FAILED in run %lld after %u attempt%s: %s.", self->revision,
            (long long)found->revision->epoch, attempts, attempts == 1 ? "" : "s", reason),
        "Nothing by itself: a person decides about its dead letter.");
}

static void
explain_ready(explaining *self)
{
    const gateway_explain_facts *facts = self->facts;

    if (facts->indexer_away) {
        add_away(self, STAGE(INDEX));
        conclude(self, SITUATION(SERVICE_AWAY),
            SAY("Revision %lld is READY, but the indexer does not answer.", self->revision),
            "Searches find it again as soon as the indexer is back.");
        return;
    }
    if (!facts->gate_open || facts->ready_revision != facts->found.number) {
        conclude_rebuilding(self,
            SAY("Revision %lld is READY, and the index is being rebuilt.", self->revision));
        return;
    }
    self->response->searchable = true;
    conclude(self, SITUATION(SEARCHABLE),
        SAY("Revision %lld is READY, and searches find it.", self->revision),
        "Nothing: it is where it should be.");
}

/* ---- what is under way ---- */

static void
explain_ending(explaining *self)
{
    const bool is_revoking =
        self->facts->ending_step == WEIR__INTERNAL__V1__ENDING_RECORD__STEP__STEP_REVOKING;

    if (is_revoking && self->facts->indexer_away)
        add_away(self, STAGE(INDEX));
    add(self, self->facts->progress.stage, "",
        is_revoking ? "the reconciler waits for the indexer's promise never to make this run READY"
                    : "the indexer has promised never to make this run READY",
        "");
    conclude(self, SITUATION(BEING_GIVEN_UP),
        SAY("Revision %lld failed and is being given up.", self->revision),
        is_revoking && self->facts->indexer_away
            ? "It becomes FAILED, with a dead letter, when the indexer is back."
            : "It becomes FAILED, with a dead letter, in a moment.");
}

static void
explain_deferred(explaining *self, uint32_t stage, const gateway_stage_fact *fact)
{
    const char *reason = fact->code != 0 ? weir_code_name((weir_code)fact->code) : "";

    self->response->next_time = weir_wire_time(self->arena, fact->due_ms);
    add(self, stage, reason, fact->message != NULL ? fact->message : "",
        fact->is_parked ? "end the outage: nothing is lost meanwhile, and no attempt is spent"
                        : "");
    if (fact->is_parked)
        conclude(self, SITUATION(WAITING_FOR_OUTAGE),
            SAY("Revision %lld waits to be %s: %s.", self->revision, parts[stage], reason),
            SAY("The %s looks again by itself.", services[stage]));
    else if (fact->crash_count > 0)
        conclude(self, SITUATION(WAITING_FOR_RETRY),
            SAY("Revision %lld could not be %s: the %s ended %u of %u times while it worked on it "
                "alone.",
                self->revision, parts[stage], services[stage], fact->crash_count,
                fact->crashes_max),
            fact->crash_count + 1 >= fact->crashes_max
                ? "It is tried once more, alone; if the process ends again, it becomes FAILED."
                : "It is tried again, alone.");
    else
        conclude(self, SITUATION(WAITING_FOR_RETRY),
            SAY("Revision %lld could not be %s: attempt %u of %u failed with %s.", self->revision,
                parts[stage], fact->attempt_count, fact->attempts_max, reason),
            fact->attempt_count + 1 >= fact->attempts_max
                ? "The last attempt follows; if it fails too, the revision becomes FAILED."
                : "The next attempt follows.");
}

static void
explain_backlog(explaining *self)
{
    const gateway_explain_facts *facts = self->facts;
    const unsigned long long ahead = facts->ahead;

    self->response->work_ahead_count = (int64_t)facts->ahead;
    if (facts->ingest.is_away) {
        conclude_away(self, STAGE(CHUNK));
        return;
    }
    add(self, STAGE(ACCEPT), "",
        SAY("%s%llu documents of the tenant go first; ingest takes as many as it can work on in "
            "about a second, and the tenants take turns",
            ahead >= GATEWAY_EXPLAIN_AHEAD_MAX ? "at least " : "", ahead),
        "");
    conclude(self, SITUATION(IN_BACKLOG),
        SAY("Revision %lld is accepted and waits for its turn behind %s%llu documents.",
            self->revision, ahead >= GATEWAY_EXPLAIN_AHEAD_MAX ? "at least " : "", ahead),
        "It is handed to ingest when its turn comes.");
}

static void
explain_in_stage(explaining *self, uint32_t stage, const gateway_stage_fact *fact)
{
    const gateway_explain_facts *facts = self->facts;

    if (fact != NULL && fact->behind_revision != 0)
        add(self, stage, "",
            SAY("it waits behind revision %lld of the same document, which is put off",
                (long long)fact->behind_revision),
            "");
    if (stage == STAGE(INDEX))
        add(self, stage, "",
            SAY("%u of %u chunks are at the indexer", facts->staged_count,
                facts->staged_chunks != 0 ? facts->staged_chunks : facts->progress.chunk_count),
            "");
    else if (fact != NULL && fact->queued > 0)
        add(self, stage, "",
            SAY("the %s holds %llu row%s not yet done", services[stage],
                (unsigned long long)fact->queued, fact->queued == 1 ? "" : "s"),
            "");
    conclude(self, SITUATION(IN_STAGE),
        SAY("Revision %lld is being %s.", self->revision, parts[stage]),
        stage == STAGE(INDEX) ? "It becomes READY when all its chunks are there."
                              : SAY("Then it is %s.", parts[stage + 1]));
}

static void
explain_processing(explaining *self)
{
    const gateway_explain_facts *facts = self->facts;
    const uint32_t known = facts->progress.stage;
    const uint32_t stage = known > STAGE(ACCEPT) ? known
        : facts->staged_count > 0                ? STAGE(EMBED)
                                                 : STAGE(CHUNK);
    const gateway_stage_fact *fact = stage == STAGE(CHUNK) ? &facts->ingest
        : stage == STAGE(EMBED)                            ? &facts->embedder
                                                           : NULL;
    const bool is_away = fact != NULL ? fact->is_away : facts->indexer_away;

    if (is_away) {
        conclude_away(self, stage);
    } else if (stage == STAGE(INDEX) && !facts->gate_open) {
        conclude_rebuilding(self,
            SAY("Revision %lld waits for the index, which is being rebuilt.", self->revision));
    } else if (stage == STAGE(EMBED) &&
        facts->breaker == WEIR__V1__BREAKER_STATE__BREAKER_STATE_OPEN) {
        add(self, stage, "MODEL_UNAVAILABLE", SAY("the model %s is not there", facts->model),
            "put the model's folder where model_dir says (make model fetches it); weir model ls "
            "says what is missing");
        conclude(self, SITUATION(WAITING_FOR_OUTAGE),
            SAY("Revision %lld waits to be embedded: MODEL_UNAVAILABLE.", self->revision),
            "The embedder looks again by itself.");
    } else {
        explain_in_stage(self, stage, fact);
    }
}

static void
explain_under_way(explaining *self)
{
    const gateway_explain_facts *facts = self->facts;

    if (facts->ready_revision == facts->found.number) { /* the gateway is about to hear of it */
        explain_ready(self);
        return;
    }
    if (facts->ending_step != 0)
        explain_ending(self);
    else if (facts->embedder.has_deferred)
        explain_deferred(self, STAGE(EMBED), &facts->embedder);
    else if (facts->ingest.has_deferred)
        explain_deferred(self, STAGE(CHUNK), &facts->ingest);
    else if (facts->found.revision->state == STATE(PENDING))
        explain_backlog(self);
    else
        explain_processing(self);
    if (facts->reconciler_away)
        add(self, STAGE_UNKNOWN, "SERVICE_UNAVAILABLE",
            "the reconciler does not answer, so the journal is not known", "see weir status");
}

void
gateway_explain(const gateway_explain_facts *facts, weir_arena *arena, explain_response *response)
{
    explaining *self = &(explaining){ .facts = facts,
        .arena = arena,
        .response = response,
        .revision = (long long)facts->found.number };
    const int64_t shown = facts->found.document->searchable_revision;

    response->document = gateway_found_view(arena, &facts->found);
    if (!response->document->terminal && facts->progress.stage != 0)
        response->document->stage = (Weir__V1__Stage)facts->progress.stage;
    response->findings = weir_arena_alloc(arena, FINDINGS_MAX * sizeof response->findings[0]);
    switch (facts->found.revision->state) {
    case STATE(DELETED):
        explain_deleted(self);
        break;
    case STATE(SUPERSEDED):
        explain_superseded(self);
        break;
    case STATE(FAILED):
        explain_failed(self);
        break;
    case STATE(READY):
        explain_ready(self);
        break;
    default:
        explain_under_way(self);
    }
    if (shown != 0 && shown != facts->found.number)
        add(self, STAGE_UNKNOWN, "", SAY("searches find revision %lld meanwhile", (long long)shown),
            "");
}
