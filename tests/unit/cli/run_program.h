/*
 * run_program.h - run a program to its end and keep what it wrote; for tests of the command line.
 */
#ifndef WEIR_TESTS_CLI_RUN_PROGRAM_H
#define WEIR_TESTS_CLI_RUN_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct program_result {
    int status; /* exit code; -signal */
    char out[1 << 17];
    char err[1 << 16];
} program_result;

/* argv is NULL-ended, argv[0] the path.  Fails the test when it has not ended after a minute. */
const program_result *run_program(char *const *argv);
/* The words of a command line without quoting, after `program`. */
const program_result *run_words(const char *program, const char *words);
pid_t start_program(char *const *argv, const char *log);
/* The exit code, or -signal. */
int wait_program(pid_t pid);
bool is_alive(pid_t pid);
void pause_ms(int ms);
void assert_contains(const char *text, const char *wanted);

#endif
