/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * history.c: what was saved over the last hours, in a bounded ring.
 *
 * 32 bytes a sample: 68 KiB for six hours, for the broker and for each of at
 * most KSM_HISTORY_GROUPS groups that exist at the same time.
 */
#include "history.h"

#include "broker.h"

#define FIRST_ROOM 64u

static guint32 bound(guint64 value)
{
    return (guint32)MIN(value, G_MAXUINT32);
}

/* Twice the room while the ring is not full, so it has not wrapped yet. */
static void make_room(KsmHistory *self)
{
    if (self->count == self->room && self->room < KSM_HISTORY_SAMPLES) {
        self->room = MIN(MAX(2 * self->room, FIRST_ROOM),
                         KSM_HISTORY_SAMPLES);
        self->samples = g_renew(KsmSample, self->samples, self->room);
        self->next = self->count;
    }
}

void ksm_history_add(KsmHistory *self, const KsmTotals *totals, gint64 time_s)
{
    make_room(self);
    self->samples[self->next] = (KsmSample) {
        .time_s = time_s,
        .pages_shared = bound(totals->pages_shared),
        .pages_sharing = bound(totals->pages_sharing),
        .zero_pages = bound(totals->zero_pages),
        .pages_broken = bound(totals->pages_broken),
        .saved_pages = (gint32)CLAMP(ksm_totals_saved_pages(totals),
                                     G_MININT32, G_MAXINT32),
        .cpu_centi = bound(totals->cpu_centi),
    };
    self->next = (self->next + 1) % self->room;
    self->count = MIN(self->count + 1, self->room);
}

const KsmSample *ksm_history_get(const KsmHistory *self, guint index)
{
    guint oldest = self->count < self->room ? 0 : self->next;

    return &self->samples[(oldest + index) % self->room];
}

void ksm_history_clear(KsmHistory *self)
{
    g_clear_pointer(&self->samples, g_free);
    self->room = self->count = self->next = 0;
}

void ksm_history_sample(KsmBroker *broker)
{
    gint64 time_s = g_get_real_time() / G_USEC_PER_SEC;
    GHashTableIter iter;
    gpointer data;
    guint kept = 0;

    ksm_history_add(&broker->history, &broker->totals, time_s);
    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &data)) {
        kept += ((KsmGroupHome *)data)->history.count > 0;
    }
    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &data)) {
        KsmGroupHome *home = data;

        if (home->history.count == 0 && kept++ >= KSM_HISTORY_GROUPS) {
            continue;
        }
        ksm_history_add(&home->history, &home->totals, time_s);
    }
}
