/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hwpoison.c: handles memory failures in the broker's mappings.
 *
 * A slot whose memory fails is retired: it can no longer be found, so that the
 * content gets another slot when it is published again.  It is only freed when
 * no page refers to it; then the kernel keeps the failed page of memory, and
 * allocates a new one when the slot is used again.  VMs that map the slot get
 * the fault when they access it, or at once if they asked for that.
 *
 * The broker asks for that (PR_MCE_KILL_EARLY): SIGBUS with BUS_MCEERR_AO has
 * an address in its mapping of the store.  The handler only writes that
 * address to a pipe, which the main loop reads.  If the broker reads failed
 * memory before that, the read fails (page-scan.c), and the caller retires the
 * slot.  The same applies to memory that a client shares with the broker: that
 * page is refused.  Any other SIGBUS kills the process, as usual.
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
    int told; /* the write end, for the handler */
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
        return ksm_error_set_failed(errp, "watching for memory failures");
    }
    failed.told = fds[1];
    sigaction(SIGBUS, &action, NULL);
    /* EINVAL where the kernel does not handle such failures. */
    prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
    return TRUE;
}
