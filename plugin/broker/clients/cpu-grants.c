/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu-grants.c: limits the CPU time of all scanners together.
 *
 * A scanner that has used what it was granted asks again, and says how many
 * pages it has yet to look at: that is what it may gain.  Everybody who has
 * asked in the last CONFIRM_US counts.  Half of the limit is shared equally:
 * among users, each one's among his processes, and each one's among its clients.
 * The other half is shared in proportion to the pages.  So the VM with most to
 * gain gets most, none waits for ever, and a user gets no more for having many
 * VMs, nor a VM for having many memory backends.  A grant is for GRANT_US, less
 * where that would take longer than a second to earn, and the next one is
 * due when this one is earned at the client's rate: the rates of all make up
 * the limit, whoever comes and goes.
 *
 * A VM that is idle asks once in a minute, and gets its grant at once: it has
 * long been earned.
 *
 * The scanners are threads of others' processes, so this is a rule for those
 * that keep to it, as libraries of version 7 on do.  What a client can do wrong:
 * claim all pages that it has, which are limited for its user, and get its part
 * of the second half for them; or use more than it was granted, which is on the
 * account of its own process, as is everything else that it runs.
 *
 * What a client can learn: how much the scanners of all groups want now, from
 * the time that it is told to wait.  That time is rounded up to WAIT_STEP_US, so
 * it is learnt roughly and seldom; docs/security.md has it.
 */
#include "clients/cpu-grants.h"

#include <sched.h>
#include <unistd.h>

#define GRANT_US 4000.0
#define MAX_PERIOD_US 1e6
/* Somebody who has not asked for longer than any wait has no need. */
#define CONFIRM_US 1300000
#define PERCENT_PER_4 20u
#define WAIT_STEP_US 10000

guint ksm_cpu_grants_default_percent(void)
{
    cpu_set_t set;
    long cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ?
                    CPU_COUNT(&set) :
                    sysconf(_SC_NPROCESSORS_ONLN);

    return (guint)(MAX(cpus, 1) + 3) / 4 * PERCENT_PER_4;
}

void ksm_cpu_grants_forget(KsmCpuGrants *self, KsmCpuAsker *asker)
{
    if (asker->counts) {
        g_queue_unlink(&self->asking, &asker->link);
        self->pages -= asker->pages;
        asker->counts = FALSE;
        if (--asker->process->asking == 0 && --asker->user->asking == 0) {
            self->users--;
        }
    }
}

static void forget_content(KsmCpuGrants *self, gint64 now_us)
{
    KsmCpuAsker *first;

    while ((first = g_queue_peek_head(&self->asking)) != NULL &&
           now_us - first->asked_us > CONFIRM_US) {
        ksm_cpu_grants_forget(self, first);
    }
}

static void note(KsmCpuGrants *self, KsmCpuAsker *asker, guint64 pages,
                 gint64 now_us)
{
    ksm_cpu_grants_forget(self, asker);
    forget_content(self, now_us);
    asker->pages = pages;
    asker->asked_us = now_us;
    asker->counts = TRUE;
    asker->link.data = asker;
    g_queue_push_tail_link(&self->asking, &asker->link);
    self->pages += asker->pages;
    if (asker->process->asking++ == 0 && asker->user->asking++ == 0) {
        self->users++;
    }
}

/* Microseconds of CPU time for each microsecond. */
static double rate_of(const KsmCpuGrants *self, const KsmCpuAsker *asker)
{
    double part = 1.0 / self->users / asker->user->asking /
                  asker->process->asking;

    if (self->pages > 0) {
        part = (part + (double)asker->pages / (double)self->pages) / 2;
    }
    return part * self->percent / 100;
}

static gint64 in_steps(gint64 wait_us)
{
    return (wait_us + WAIT_STEP_US - 1) / WAIT_STEP_US * WAIT_STEP_US;
}

KsmCpuGrant ksm_cpu_grants_ask(KsmCpuGrants *self, KsmCpuAsker *asker,
                               guint64 pages, gint64 now_us)
{
    double rate, grant_us;
    gint64 period_us;

    if (self->percent == 0) {
        return (KsmCpuGrant) { .cpu_us = G_MAXUINT32 };
    }
    note(self, asker, pages, now_us);
    rate = rate_of(self, asker);
    grant_us = MIN(GRANT_US, rate * MAX_PERIOD_US);
    period_us = in_steps((gint64)(grant_us / rate));
    grant_us = (double)period_us * rate;
    if (now_us >= asker->next_us) {
        asker->next_us = now_us + period_us;
        return (KsmCpuGrant) {
            .cpu_us = (guint32)grant_us,
            .wait_us = (guint32)period_us,
        };
    }
    /* Its rate may have grown since. */
    asker->next_us = MIN(asker->next_us, now_us + period_us);
    return (KsmCpuGrant) {
        .wait_us = (guint32)in_steps(asker->next_us - now_us),
    };
}

guint ksm_cpu_grants_count(KsmCpuGrants *self, gint64 now_us)
{
    forget_content(self, now_us);
    return self->asking.length;
}
