/* SPDX-License-Identifier: GPL-2.0-or-later */
/* swap.h: a swap file for the time of a test. */
#ifndef TEST_SWAP_H
#define TEST_SWAP_H

#include <glib.h>

typedef struct KsmTestSwap KsmTestSwap;

/**
 * A new file in use for swapping, or NULL where that is not permitted, or the
 * temporary directory cannot hold one.  Ends with this process, however that
 * ends.
 */
KsmTestSwap *ksm_test_swap_on(guint mib);

/** Back to how it was; NULL is fine. */
void ksm_test_swap_off(KsmTestSwap *swap);

#endif /* TEST_SWAP_H */
