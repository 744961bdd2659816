/*
 * commands.c - every command of the program `weir`: one row each, with its help.
 */
#include "cli/cli.h"

static const cli_option no_options[] = { { .name = NULL } };

#define COLLECTION { "collection", 'c', "NAME", "the collection" }
#define END { .name = NULL }

static const cli_option up_options[] = {
    { "data", 'd', "DIR", "folder of all data" },
    { "port-base", 0, "N", "ports count from here (7000)" },
    { "config", 0, "FILE", "settings (YAML)" },
    { "set", 0, "KEY=VALUE", "one setting; may be repeated" },
    { "detach", 0, NULL, "go to the background once all five are serving" },
    { "timeout", 0, "TIME", "how long to wait for that (60s)" },
    END,
};
static const cli_option down_options[] = {
    { "data", 'd', "DIR", "folder of all data" },
    { "config", 0, "FILE", "settings (YAML)" },
    { "timeout", 0, "TIME", "how long to wait for the end (45s)" },
    END,
};
static const cli_option status_options[] = {
    { "data", 'd', "DIR", "folder of all data" },
    { "config", 0, "FILE", "settings (YAML)" },
    END,
};
static const cli_option top_options[] = {
    COLLECTION,
    { "interval", 'i', "TIME", "between two looks (1s)" },
    { "count", 'n', "N", "end after so many looks (never)" },
    END,
};
static const cli_option pressure_options[] = {
    COLLECTION,
    { "watch", 'w', NULL, "go on, an answer at each interval" },
    { "interval", 'i', "TIME", "with --watch: between two answers (1s)" },
    { "count", 'n', "N", "with --watch: end after so many answers (never)" },
    END,
};
static const cli_option doctor_options[] = {
    { "data", 'd', "DIR", "folder of all data" },
    { "config", 0, "FILE", "settings (YAML)" },
    { "report", 0, "FILE", "write the report there, - for none (weir-doctor-TIME.txt)" },
    END,
};
static const cli_option backup_options[] = {
    { "data", 'd', "DIR", "folder of all data" },
    { "config", 0, "FILE", "settings (YAML)" },
    { "timeout", 0, "TIME", "longest wait for one database (1h)" },
    END,
};
static const cli_option restore_options[] = {
    { "data", 'd', "DIR", "folder of all data" },
    { "config", 0, "FILE", "settings (YAML)" },
    { "replace", 0, NULL, "set aside the databases that are there" },
    { "only-gateway", 0, NULL, "set the other databases aside; new ones heal from the gateway's" },
    { "in-place", 0, NULL, "the same with the gateway's database that is there" },
    { "verify", 0, NULL, "only check the backup" },
    END,
};
static const cli_option config_options[] = {
    { "config", 0, "FILE", "settings (YAML)" },
    { "set", 0, "KEY=VALUE", "one setting; may be repeated" },
    { "default", 0, NULL, "the defaults instead of what is in force" },
    END,
};
static const cli_option ingest_options[] = {
    COLLECTION,
    { "wait", 'w', NULL, "until every document is READY or FAILED" },
    { "timeout", 0, "TIME", "longest wait (1h)" },
    { "glob", 'g', "PATTERN", "only files whose name or path matches; may be repeated" },
    { "request-prefix", 0, "TEXT",
        "make the calls idempotent: request_id is TEXT and the document's id" },
    { "media-type", 0, "TYPE", "of all files, instead of detecting it" },
    { "force", 0, NULL, "a new revision even where nothing changed" },
    END,
};
static const cli_option search_options[] = {
    COLLECTION,
    { "top-k", 'k', "N", "hits wanted (10)" },
    { "filter", 0, "FILTER", "such as: document_id = \"a.md\"" },
    { "mode", 0, "MODE", "vector, lexical or hybrid" },
    { "min-score", 0, "X", "leave out hits below (vector mode)" },
    { "per-document", 0, "N", "at most so many hits of one document" },
    { "exact", 0, NULL, "compare with every vector" },
    { "allow-partial", 0, NULL, "answer while an index is rebuilt" },
    { "explain", 0, NULL, "show ranks and places too" },
    END,
};
static const cli_option document_options[] = {
    COLLECTION,
    { "revision", 'r', "N", "which revision (the newest)" },
    END,
};
static const cli_option wait_options[] = {
    COLLECTION,
    { "revision", 'r', "N", "which revision (the newest)" },
    { "timeout", 0, "TIME", "how long (5m)" },
    END,
};
static const cli_option ls_options[] = {
    COLLECTION,
    { "state", 's', "STATE", "only READY, FAILED, ...; may be repeated" },
    { "filter", 0, "FILTER", "AIP-160 filter" },
    { "deleted", 0, NULL, "deleted documents too" },
    { "limit", 'n', "N", "at most so many (all)" },
    END,
};
static const cli_option rm_options[] = {
    COLLECTION,
    { "allow-missing", 0, NULL, "no error for an id never seen" },
    END,
};
static const cli_option watch_options[] = {
    COLLECTION,
    { "resume", 0, "TOKEN", "go on after the event with this token" },
    END,
};
static const cli_option create_options[] = {
    { "model", 'm', "NAME", "embedding model (weir model ls)" },
    { "max-tokens", 0, "N", "largest chunk in tokens" },
    { "overlap-tokens", 0, "N", "tokens that neighbouring chunks share" },
    END,
};
static const cli_option dlq_options[] = {
    COLLECTION,
    { "filter", 0, "FILTER", "such as: reason = \"EMPTY\"" },
    { "limit", 'n', "N", "at most so many (all)" },
    END,
};
static const cli_option summary_options[] = {
    COLLECTION,
    { "filter", 0, "FILTER", "such as: stage = EMBED" },
    END,
};
static const cli_option requeue_options[] = {
    COLLECTION,
    { "filter", 0, "FILTER", "those that match, instead of ids" },
    { "limit", 'n', "N", "with -c or --filter: at most so many (all)" },
    { "dry-run", 0, NULL, "only say which" },
    { "yes", 'y', NULL, "do not ask" },
    END,
};
static const cli_option audit_run_options[] = {
    COLLECTION,
    { "dry-run", 0, NULL, "only report; repair nothing" },
    { "timeout", 0, "TIME", "longest run (10m)" },
    END,
};
static const cli_option audit_ls_options[] = {
    COLLECTION,
    { "resolved", 0, NULL, "resolved ones too" },
    { "limit", 'n', "N", "at most so many (all)" },
    END,
};
static const cli_option call_options[] = {
    { "data", 'd', "JSON",
        "the request; @FILE reads a file, - standard input; several lines for a stream ({})" },
    { "timeout", 0, "TIME", "deadline of the call (none)" },
    END,
};

const cli_command cli_commands[] = {
    { "up", "", "start and supervise the five services",
        "weir up\n"
        "weir up --data /tmp/weir --port-base 8000 --detach\n"
        "weir up --set embedder.allow_hash_models=true",
        up_options, 0, 0, false, cli_up },
    { "down", "", "end what `weir up` started", "weir down --data /tmp/weir", down_options, 0, 0,
        false, cli_down },
    { "status", "", "say how the five services are; exit 0 only if all serve",
        "weir status --data /tmp/weir -o json", status_options, 0, 0, false, cli_status },
    { "doctor", "", "look for trouble and write a report to send to whoever helps",
        "weir doctor --data /tmp/weir\nweir doctor --report -", doctor_options, 0, 0, false,
        cli_doctor },

    { "backup", "DIR", "copy the databases of a suite that runs",
        "weir backup /backup/monday --data /var/lib/weir", backup_options, 1, 1, false,
        cli_backup },
    { "restore", "[DIR]", "bring a backup back; nothing may run on the data folder",
        "weir restore /backup/monday --verify\n"
        "weir restore /backup/monday --data /var/lib/weir --replace\n"
        "weir restore /backup/monday --data /var/lib/weir --replace --only-gateway",
        restore_options, 0, 1, false, cli_restore },

    { "ingest", "PATH...", "take files and folders in",
        "weir ingest docs -c handbook --wait\n"
        "weir ingest . -c notes --glob '*.md' --glob '*.txt'",
        ingest_options, 1, -1, true, cli_ingest },
    { "search", "TEXT", "find passages by meaning",
        "weir search \"how do I hand a package over\" -c handbook -k 5\n"
        "weir search \"licence\" -c handbook --filter 'document_id = \"policy/ch-docs.html\"'",
        search_options, 1, 1, true, cli_search },
    { "get", "ID", "show one document", "weir get policy/index.html -c handbook", document_options,
        1, 1, true, cli_get },
    { "ls", "", "list documents", "weir ls -c handbook --state FAILED", ls_options, 0, 0, true,
        cli_ls },
    { "rm", "ID...", "delete documents", "weir rm policy/index.html -c handbook", rm_options, 1, -1,
        true, cli_rm },
    { "retry", "ID...", "try FAILED documents again", "weir retry policy/index.html -c handbook",
        document_options, 1, -1, true, cli_retry },
    { "wait", "[ID...]", "wait for documents, or for the whole collection",
        "weir wait -c handbook --timeout 10m\n"
        "weir wait policy/index.html -c handbook",
        wait_options, 0, -1, true, cli_wait },
    { "watch", "[ID...]", "follow changes as they happen", "weir watch -c handbook", watch_options,
        0, -1, true, cli_watch },
    { "chunks", "ID", "show the pieces of a document", "weir chunks policy/index.html -c handbook",
        document_options, 1, 1, true, cli_chunks },
    { "events", "ID", "show what happened to a document",
        "weir events policy/index.html -c handbook", document_options, 1, 1, true, cli_events },
    { "explain", "ID", "say where a document is, why, and what happens next",
        "weir explain policy/index.html -c handbook", document_options, 1, 1, true,
        cli_explain_document },
    { "cat", "ID", "write the bytes of a document as they came",
        "weir cat policy/index.html -c handbook > index.html", document_options, 1, 1, true,
        cli_cat },
    { "pressure", "", "show how much work waits and where",
        "weir pressure\nweir pressure -c handbook\nweir pressure --watch -i 5s", pressure_options,
        0, 0, true, cli_pressure },
    { "top", "", "follow the pressure and the rates", "weir top\nweir top -n 1 -o json",
        top_options, 0, 0, true, cli_top },

    { "dlq ls", "", "list dead letters, the newest failure first",
        "weir dlq ls -c handbook\n"
        "weir dlq ls --filter 'stage = CHUNK AND last_failure_time >= \"2024-05-01T00:00:00Z\"'",
        dlq_options, 0, 0, true, cli_dlq_ls },
    { "dlq summary", "", "count dead letters by stage and reason", "weir dlq summary -c handbook",
        summary_options, 0, 0, true, cli_dlq_summary },
    { "dlq get", "ID", "show one dead letter with all its attempts", "weir dlq get 3.1.1.a.md",
        no_options, 1, 1, true, cli_dlq_get },
    { "dlq requeue", "[ID...]", "try dead letters again",
        "weir dlq requeue 3.1.1.a.md\n"
        "weir dlq requeue -c handbook --dry-run\n"
        "weir dlq requeue --filter 'reason = \"EMBED_FAILED\"' --limit 10 --yes",
        requeue_options, 0, -1, true, cli_dlq_requeue },
    { "dlq discard", "[ID...]", "give dead letters up for good, and what they stand for",
        "weir dlq discard 3.1.1.a.md\n"
        "weir dlq discard -c handbook --filter 'reason = \"EMPTY\"' --dry-run",
        requeue_options, 0, -1, true, cli_dlq_discard },

    { "audit run", "", "compare what the services know of each document, both ways",
        "weir audit run\nweir audit run -c handbook --dry-run", audit_run_options, 0, 0, true,
        cli_audit_run },
    { "audit ls", "", "list what audits found and is not resolved",
        "weir audit ls\nweir audit ls --resolved -o json", audit_ls_options, 0, 0, true,
        cli_audit_ls },
    { "audit resolve", "ID DECISION", "decide: advance, redrive or dismiss",
        "weir audit resolve 17 redrive\nweir audit resolve 17 dismiss", no_options, 2, 2, true,
        cli_audit_resolve },

    { "collection create", "NAME", "make a collection",
        "weir collection create handbook --model all-minilm-l6-v2", create_options, 1, 1, true,
        cli_collection_create },
    { "collection ls", "", "list collections", "weir collection ls", no_options, 0, 0, true,
        cli_collection_ls },
    { "collection get", "NAME", "show one collection", "weir collection get handbook", no_options,
        1, 1, true, cli_collection_get },
    { "model ls", "", "list embedding models", "weir model ls", no_options, 0, 0, true,
        cli_model_ls },

    { "config check", "[FILE]", "check settings", "weir config check my.yaml", config_options, 0, 1,
        false, cli_config_check },
    { "config print", "", "print all settings as they are in force",
        "weir config print --config my.yaml\nweir config print --default > weir.yaml",
        config_options, 0, 0, false, cli_config_print },
    { "config reference", "", "print what every setting means", "weir config reference", no_options,
        0, 0, false, cli_config_reference },

    { "call", "SERVICE/METHOD", "call any method with JSON",
        "weir call DocumentService/GetDocument -d '{\"collectionId\": \"handbook\", "
        "\"documentId\": \"a.md\"}'\n"
        "weir call weir.v1.SystemService/GetPressure\n"
        "weir call --address 127.0.0.1:7073 weir.internal.v1.StageService/GetStageStatus",
        call_options, 1, 1, true, cli_call_method },
    { "completion", "SHELL", "print a script by which bash, zsh or fish completes commands",
        "weir completion bash > ~/.local/share/bash-completion/completions/weir\n"
        "weir completion fish > ~/.config/fish/completions/weir.fish",
        no_options, 1, 1, false, cli_completion },
    { "version", "", "print the version", "weir version", no_options, 0, 0, false, cli_version },
    { "help", "[COMMAND]", "explain a command", "weir help ingest", no_options, 0, 2, false,
        cli_help },
    { .name = NULL },
};
