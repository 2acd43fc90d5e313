/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fork-guard.c: a mutex that fork() takes, for all engines of the process.
 *
 * Its holder (a scanner, for one batch of windows and their registration, some
 * milliseconds at most) never waits for anything that a forking thread could
 * hold.
 */
#include "memory/fork-guard.h"

#include <pthread.h>

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

void ksm_fork_guard_lock(void)
{
    pthread_mutex_lock(&guard);
}

void ksm_fork_guard_unlock(void)
{
    pthread_mutex_unlock(&guard);
}

static void (*child_hook)(void);

static void reset_in_child(void)
{
    /* The child's only thread is the one that took the lock. */
    pthread_mutex_unlock(&guard);
    child_hook();
}

static void install(void)
{
    pthread_atfork(ksm_fork_guard_lock, ksm_fork_guard_unlock, reset_in_child);
}

void ksm_fork_guard_install(void (*in_child)(void))
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    __atomic_store_n(&child_hook, in_child, __ATOMIC_RELAXED);
    pthread_once(&once, install);
}
