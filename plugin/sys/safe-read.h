/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* safe-read.h: guarded reads of memory that may have failed. */
#ifndef KSM_SAFE_READ_H
#define KSM_SAFE_READ_H

#include <signal.h>
#include <stdbool.h>

/*
 * Runs func(opaque) in the calling thread.  Returns false if the function was
 * aborted by a SIGBUS of the kind that the kernel sends for failed memory.
 * The function may only read, and write to memory of its caller.  It may be
 * aborted at any instruction, so it must not hold a lock or an allocation.
 * Its counters are correct after an abort only if they are volatile.  Calls do
 * not nest.
 *
 * Requires a SIGBUS handler that calls ksm_safe_read_catch(); without one, the
 * signal kills the process as usual.
 */
bool ksm_safe_read_run(void (*func)(void *opaque), void *opaque);

/* For a handler: does not return if a guarded read raised the signal. */
bool ksm_safe_read_catch(const siginfo_t *info);

/* Unblocks SIGBUS in the calling thread; if blocked, it kills the process. */
void ksm_safe_read_admit(void);

#endif /* KSM_SAFE_READ_H */
