/*
 * kernel.h - the inner product that every score of the indexer comes from.  Any thread.
 *
 * Debian's FAISS computes it one float at a time.  The linker's --wrap sends FAISS's calls here,
 * where the processor's AVX2 and FMA are used when it has them.  All paths of a process use one
 * kernel, so equal vectors have equal scores. WEIR_KERNEL=generic in the environment turns AVX2
 * off.
 */
#ifndef WEIR_INDEXER_KERNEL_H
#define WEIR_INDEXER_KERNEL_H

#include <stddef.h>

float indexer_inner_product(const float *x, const float *y, size_t dimension);
/* "avx2" or "generic". */
const char *indexer_kernel_name(void);

#endif
