/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hwpoison.c: memory that has failed, under the broker's hands.
 *
 * A slot that fails is retired: it is found no more, so that the content, when
 * it is published again, gets another one.  It is not freed before nobody
 * refers to it; then the kernel keeps the page of memory to itself, and gives
 * the slot a new one when it is used again.  VMs that map it get the fault when
 * they touch it, and are told at once if they asked for that.
 *
 * So is the broker (PR_MCE_KILL_EARLY): SIGBUS with BUS_MCEERR_AO names an
 * address in its mapping of the store.  The handler only writes that into a
 * pipe, which the main loop reads.  Should the broker be quicker and read what
 * failed, the read ends (page-scan.c), and the slot is retired by who read it.
 * The same for memory that a client shares with the broker: that content is
 * refused.  Any other SIGBUS ends the process, as ever.
 */
#include "hwpoison.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "error.h"
#include "safe-read.h"
#include "host/fd-watch.h"

static struct {
    KsmFdWatch watch;
    int told;                   /* the pipe's end for the handler */
} failed;

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
    int error = errno;
    const void *addr = info->si_addr;

    (void)context;
    if (ksm_safe_read_catch(info)) {
        return;
    }
    if (info->si_code != BUS_MCEERR_AO ||
        write(failed.told, &addr, sizeof(addr)) < 0) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    errno = error;
}

static gboolean on_told(gint fd, GIOCondition condition, gpointer broker)
{
    const guint8 *addr;

    (void)condition;
    while (read(fd, &addr, sizeof(addr)) == sizeof(addr)) {
        ksm_broker_memory_failed(broker, addr);
    }
    return G_SOURCE_CONTINUE;
}

gboolean ksm_hwpoison_watch(KsmBroker *broker, GError **errp)
{
    struct sigaction action = { .sa_flags = SA_SIGINFO };
    int fds[2];

    action.sa_sigaction = on_sigbus;
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0 ||
        !ksm_fd_watch_set(&failed.watch, fds[0], G_IO_IN, on_told, broker)) {
        return ksm_error_set_failed(errp, "watching for memory that fails");
    }
    failed.told = fds[1];
    sigaction(SIGBUS, &action, NULL);
    /* EINVAL where the kernel does not handle such failures. */
    prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
    return TRUE;
}
