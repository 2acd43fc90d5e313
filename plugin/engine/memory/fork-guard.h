/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fork-guard.h: no fork() while memory is being exchanged.
 *
 * A child must not inherit a store mapping: the child could outlive this
 * process, but the slots' references end with this process.  Regions are
 * MADV_DONTFORK, but a mapping created by a window gets that advice only when
 * it is registered.  Between the two, fork() waits (pthread_atfork).  vfork()
 * and posix_spawn() copy no mappings and do not wait.
 */
#ifndef KSM_FORK_GUARD_H
#define KSM_FORK_GUARD_H

/* `in_child` runs in each child of fork(); all callers must pass the same. */
void ksm_fork_guard_install(void (*in_child)(void));
void ksm_fork_guard_lock(void);
void ksm_fork_guard_unlock(void);

#endif /* KSM_FORK_GUARD_H */
