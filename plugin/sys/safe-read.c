/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * safe-read.c: reads that end instead of ending the process.
 *
 * Who touches memory that failed (or that cannot be read back from swap) gets a
 * SIGBUS, in the very thread, at the very instruction.  A guarded read leaves
 * a place to return to in a variable of its thread; the program's handler asks
 * here first, and jumps there.  A thread has no guard but for the read itself:
 * a SIGBUS of anything else is the program's, as ever.
 *
 * What is used from the handler is async-signal-safe: the variable is in the
 * block that each thread has from its start (initial-exec), which is not
 * allocated at its first use.  A place costs about 15 ns, as the signal mask is
 * not saved in it: after a jump SIGBUS alone is let through again, so that the
 * handler is to be installed with an empty sa_mask.
 */
#include "safe-read.h"

#include <setjmp.h>
#include <stddef.h>
#include <sys/types.h>

static __thread sigjmp_buf *volatile place
    __attribute__((tls_model("initial-exec")));

void ksm_safe_read_admit(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

bool ksm_safe_read_run(void (*func)(void *opaque), void *opaque)
{
    sigjmp_buf here;

    if (sigsetjmp(here, 0)) {
        place = NULL;
        ksm_safe_read_admit();
        return false;
    }
    place = &here;
    func(opaque);
    place = NULL;
    return true;
}

/* Sent by the kernel, for what the thread itself has just done. */
static bool is_own_access(const siginfo_t *info)
{
    return info->si_code == BUS_MCEERR_AR || info->si_code == BUS_ADRERR ||
           info->si_code == BUS_OBJERR || info->si_code == SI_KERNEL;
}

bool ksm_safe_read_catch(const siginfo_t *info)
{
    if (place && is_own_access(info)) {
        siglongjmp(*place, 1);
    }
    return false;
}
