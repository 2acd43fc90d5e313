/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * totals.c: statistics of sessions, summed per group and over all groups.
 *
 * Computed on request by one walk over the sessions (some microseconds for
 * fifty), so that requests of VMs pay nothing for it.
 */
#include "clients/totals.h"

#include <string.h>

#include "group/group.h"
#include "store/store.h"

void ksm_totals_visit(KsmBroker *broker, KsmSessionVisit visit, gpointer opaque)
{
    GHashTableIter iter;
    gpointer process;

    g_hash_table_iter_init(&iter, broker->processes);
    while (g_hash_table_iter_next(&iter, NULL, &process)) {
        GList *link;

        for (link = ((KsmProcess *)process)->sessions.head; link != NULL;
             link = link->next) {
            visit(link->data, opaque);
        }
    }
}

static void add(KsmTotals *totals, const KsmClientStats *client)
{
    const KsmMsgStats *stats = &client->stats;

    totals->sessions++;
#define ADD(name, kind, unit) totals->name += stats->name;
    KSM_STATS_STATES(ADD)
#undef ADD
    totals->metadata_bytes += stats->metadata_bytes;
    totals->cpu_ns += stats->cpu_ns;
    totals->cpu_centi += client->cpu_centi;
}

/* Whether it is the first session of its process in its group. */
static gboolean is_first_in_group(const KsmSession *session)
{
    GList *link = session->process->sessions.head;

    while (((KsmSession *)link->data)->shard != session->shard) {
        link = link->next;
    }
    return link->data == session;
}

static void add_session(KsmSession *session, gpointer opaque)
{
    KsmBroker *broker = opaque;

    broker->totals.vms += session->process->sessions.head->data == session;
    session->shard->totals.vms += is_first_in_group(session);
    add(&broker->totals, &session->client);
    add(&session->shard->totals, &session->client);
}

void ksm_totals_update(KsmBroker *broker)
{
    GHashTableIter iter;
    gpointer shard;

    memset(&broker->totals, 0, sizeof(broker->totals));
    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &shard)) {
        KsmTotals *totals = &((KsmShard *)shard)->totals;

        memset(totals, 0, sizeof(*totals));
        totals->pages_shared =
            ksm_store_used(((KsmShard *)shard)->group->store);
        broker->totals.pages_shared += totals->pages_shared;
    }
    ksm_totals_visit(broker, add_session, broker);
}

gint64 ksm_totals_saved_pages(const KsmTotals *totals)
{
    return (gint64)(totals->pages_sharing + totals->zero_pages) -
           (gint64)totals->pages_shared;
}

gint64 ksm_totals_session_saved_pages(const KsmSession *session)
{
    const KsmTotals *group = &session->shard->totals;
    const KsmMsgStats *own = &session->client.stats;
    guint64 users = group->pages_sharing + group->pages_broken;
    double part = users > 0 ? (double)(own->pages_sharing + own->pages_broken) /
                                  (double)users :
                              0;

    return (gint64)(own->pages_sharing + own->zero_pages) -
           (gint64)(part * (double)group->pages_shared + 0.5);
}

guint64 ksm_broker_memory_bytes(const KsmBroker *broker)
{
    GHashTableIter iter;
    gpointer shard;
    guint64 bytes = sizeof(KsmBroker);

    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &shard)) {
        bytes += ksm_group_bytes(((KsmShard *)shard)->group);
    }
    return bytes + broker->sessions * sizeof(KsmSession);
}
