/*
 * plants.h - choosing the rule that is broken on purpose; in weir-sim itself there is none.
 */
#ifndef WEIR_TESTS_SIM_PLANTS_H
#define WEIR_TESTS_SIM_PLANTS_H

#include <stdbool.h>
#include <stdint.h>

/* False: there is no such plant in this program. */
bool sim_plants_choose(const char *name);
/* One line each of those that must be found: name, tab, what is wrong. */
void sim_plants_list(void);
/* The seed that runs, for the line that an assertion of the cores leads to. */
void sim_plants_seed(uint64_t seed);

#endif
