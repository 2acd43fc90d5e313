/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine.c: drops privileges that the broker does not need while serving.
 *
 * Theory of operation.  Clients can send anything.  If one of them ever gets
 * code of its own to run here, that code has
 *   bounding set    no capability that a program could gain
 *   user            (--user) a separate user id, and no supplementary groups
 *   capabilities    none, even if root started it
 *   new privileges  none by executing a program
 *   landlock        read access to public files in /proc only; it cannot create
 *                   or change files, only remove our sockets; no TCP, no
 *                   signals to other processes
 *   system calls    those of confine-calls.list; any other kills the process
 * All of this lasts for the life of the process.  The order matters, because
 * each step needs something that a later one removes.
 *
 * Sockets, lock files, the descriptor limit and signals are set up before.  If
 * the kernel has no landlock or seccomp, that step is skipped with a warning.
 * Any other failure ends the broker, because it would not be as confined as it
 * claims.  Losing the broker loses no guest's memory.
 *
 * There must be only one thread at first, because existing threads would not be
 * affected.  Others (fd-reaper.c) are started before the last step: they
 * inherit the earlier steps, and the filter applies to all existing threads.
 */
#include "confine/confine.h"

#include <errno.h>
#include <sys/prctl.h>

#include "error.h"
#include "host/log.h"

static gboolean no_new_privileges(const KsmConfinement *confinement,
                                  GError **errp)
{
    (void)confinement;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ||
           ksm_error_set_failed(errp, "PR_SET_NO_NEW_PRIVS");
}

static gboolean start_threads(const KsmConfinement *confinement, GError **errp)
{
    return confinement->start_threads == NULL ||
           confinement->start_threads(errp);
}

gboolean ksm_confine(const KsmConfinement *confinement, GError **errp)
{
    static const struct {
        const char *name;
        KsmConfineStep *take;
        gboolean not_sanitized;
    } steps[] = {
        { "bounding set", ksm_confine_bounding, FALSE },
        { "user", ksm_confine_user, FALSE },
        { "capabilities", ksm_confine_capabilities, FALSE },
        { "new privileges", no_new_privileges, FALSE },
        { "landlock", ksm_confine_landlock, TRUE },
        { "threads", start_threads, FALSE },
        { "system calls", ksm_confine_calls, TRUE },
    };
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (KSM_SANITIZED && steps[i].not_sanitized) {
            ksm_log(KSM_LOG_WARNING,
                    "not confined (%s): built with a "
                    "sanitizer, which needs more",
                    steps[i].name);
        } else if (!steps[i].take(confinement, errp)) {
            g_prefix_error(errp, "confinement (%s): ", steps[i].name);
            return FALSE;
        }
    }
    return TRUE;
}
