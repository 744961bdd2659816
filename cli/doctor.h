/*
 * doctor.h - what `weir doctor` sees of a suite, and the report that it writes.
 */
#ifndef WEIR_CLI_DOCTOR_H
#define WEIR_CLI_DOCTOR_H

#include "cli/suite_lock.h"
#include "weir/internal/v1/service.pb-c.h"

/* One service; a message is NULL where the service did not give it. */
typedef struct doctor_service {
    weir_service_id id;
    pid_t pid; /* 0: does not run */
    bool serving;
    char admin[128]; /* address of /metrics */
    const Weir__Internal__V1__GetStageStatusResponse *status;
    const Weir__Internal__V1__ListLinksResponse *links;
    const Weir__Internal__V1__ListDeferredResponse *deferred; /* the first page */
} doctor_service;

typedef struct doctor_look {
    const weir_suite_config *suite;
    weir_config *config;
    bool running; /* a supervisor holds the data folder */
    doctor_service services[WEIR_SERVICE_COUNT];
    const Weir__V1__Pressure *pressure;          /* NULL: the gateway did not answer */
    const Weir__V1__GetServerInfoResponse *info; /* NULL: the gateway did not answer */
} doctor_look;

/* Write everything that helps to understand a suite from afar: version, machine, settings, status,
 * links, deferred work, metrics, the ends of the logs.  Document bodies are in none of these, and
 * values of settings whose names speak of secrets are left out. */
void doctor_report_write(FILE *out, const doctor_look *look);

/* Copy text with the values of lines such as "api_key: abc" or "--set x.secret=abc" replaced. */
void doctor_redact(const char *text, size_t size, weir_buffer *out);

#endif
