/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine.c: the broker gives up what it does not need before it serves.
 *
 * Theory of operation.  Clients can send what they like; should one of them
 * ever get code of its own to run here, that finds
 *   bounding set    no capability that a program could be given
 *   user            (--user) a user id of its own, and no further groups
 *   capabilities    none, also when root started it
 *   new privileges  none by executing a program
 *   landlock        no file but what all may read in /proc, nothing to be made
 *                   or changed;
 *                   sockets of ours may be taken away; no TCP, no signals to
 *                   others
 *   system calls    those of confine-calls.list; another one kills the process
 * All of it holds for the rest of the process's life.  It is taken in this
 * order because each step needs what a later one takes away.
 *
 * Sockets, lock files, the descriptor limit and signals are set up before. A
 * kernel without landlock or seccomp costs that step, with a warning; anything
 * else that fails ends the broker, as it would not be what it claims to be.
 * Losing it loses no guest's memory.
 *
 * One thread at first: none of this reaches threads that are there already.
 * Others (fd-reaper.c) are started before the last step: they inherit the ones
 * before it, and the filter is laid on all that are there.
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

static gboolean start_threads(const KsmConfinement *confinement,
                              GError **errp)
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
            ksm_log(KSM_LOG_WARNING, "not confined (%s): built with a "
                    "sanitizer, which needs more", steps[i].name);
        } else if (!steps[i].take(confinement, errp)) {
            g_prefix_error(errp, "confinement (%s): ", steps[i].name);
            return FALSE;
        }
    }
    return TRUE;
}
