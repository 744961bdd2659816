/*
 * contract.h - what must hold between the check and unpack for any bytes whatever.
 */
#ifndef WEIR_TESTS_FUZZ_WIRE_CONTRACT_H
#define WEIR_TESTS_FUZZ_WIRE_CONTRACT_H

#include "common/base/bytes.h"

/* Aborts (weir_assert) when the bytes break the contract as any of the test messages.  True when
 * at least one took them. */
bool wire_contract_hold(weir_bytes input);

#endif
