/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * safe-read.h: reads of memory that may have failed.
 */
#ifndef KSM_SAFE_READ_H
#define KSM_SAFE_READ_H

#include <signal.h>
#include <stdbool.h>

/*
 * Runs func(opaque); false when it was ended by a SIGBUS, as the kernel sends
 * for memory that failed.  The function only reads, and writes to memory of its
 * caller: it may end at any instruction, and must then own nothing (no lock, no
 * allocation).  What it has counted is right if it is volatile.  Does not nest.
 *
 * Needs a handler of SIGBUS that calls ksm_safe_read_catch(); without one the
 * process ends as it would have.
 */
bool ksm_safe_read_run(void (*func)(void *opaque), void *opaque);

/* From a handler: does not return if the signal is of a guarded read. */
bool ksm_safe_read_catch(const siginfo_t *info);

/* Lets SIGBUS through to the calling thread: else the kernel ends all. */
void ksm_safe_read_admit(void);

#endif /* KSM_SAFE_READ_H */
