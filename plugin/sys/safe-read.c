/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * safe-read.c: reads that survive a memory failure.
 *
 * A thread that touches memory that has failed (or that cannot be read back
 * from swap) gets a SIGBUS at that very instruction.  A guarded read stores a
 * jump buffer in a thread-local variable.  The program's handler first calls
 * this file, which jumps there.  A thread is guarded only during the read
 * itself: a SIGBUS for any other reason is left to the program, as usual.
 *
 * Everything used from the handler is async-signal-safe: the variable is in
 * the static TLS block that each thread has from its start (initial-exec), so
 * it is not allocated at its first use.  Setting the jump buffer costs about
 * 15 ns, because the signal mask is not saved in it.  After a jump only SIGBUS
 * is unblocked, so the handler must be installed with an empty sa_mask.
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

/* Sent by the kernel for an access of the current thread. */
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
