/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu-grants.h: limits the CPU time of all scanners together.
 *
 * Single-threaded; times are those of g_get_monotonic_time().
 */
#ifndef KSM_CPU_GRANTS_H
#define KSM_CPU_GRANTS_H

#include <glib.h>

/** A user, or a process of one, with clients that ask; zeroed at first. */
typedef struct KsmCpuParty {
    guint asking; /* processes of the user, or clients of the process */
} KsmCpuParty;

/** A client that asks from time to time; zeroed at first but for its parties. */
typedef struct KsmCpuAsker {
    KsmCpuParty *user, *process; /* which it belongs to */
    GList link;                  /* in KsmCpuGrants.asking, while it counts */
    guint64 pages;               /* as it said: what it has yet to look at */
    gint64 asked_us;             /* when */
    gint64 next_us;              /* when it may have more */
    gboolean counts;
} KsmCpuAsker;

typedef struct KsmCpuGrants {
    guint percent; /* of one CPU; 0: no limit */
    GQueue asking; /* KsmCpuAsker, in the order of asked_us */
    guint users;   /* of those */
    guint64 pages; /* of those */
} KsmCpuGrants;

typedef struct KsmCpuGrant {
    guint32 cpu_us;  /* CPU time that it may use */
    guint32 wait_us; /* until it may ask again */
} KsmCpuGrant;

/** The default: 20 for every four processors that the broker may use. */
guint ksm_cpu_grants_default_percent(void);

/**
 * @pages: how many pages the client has yet to look at, as it says, of those
 * that it has.
 */
KsmCpuGrant ksm_cpu_grants_ask(KsmCpuGrants *self, KsmCpuAsker *asker,
                               guint64 pages, gint64 now_us);

/** The client is gone: to be called before the asker is freed. */
void ksm_cpu_grants_forget(KsmCpuGrants *self, KsmCpuAsker *asker);

/** How many clients share the limit now. */
guint ksm_cpu_grants_count(KsmCpuGrants *self, gint64 now_us);

#endif /* KSM_CPU_GRANTS_H */
