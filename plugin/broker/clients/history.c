/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * history.c: the memory saved over the last hours, in a bounded ring.
 *
 * A sample has 32 bytes: 68 KiB for six hours, for the broker and for each of
 * at most KSM_HISTORY_GROUPS groups at the same time.
 */
#include "clients/history.h"

#include <string.h>
#include <time.h>

#include "clients/totals.h"

#define FIRST_ROOM 64u

static guint32 bound(guint64 value)
{
    return (guint32)MIN(value, G_MAXUINT32);
}

/* Doubles the array while it has not reached full size, so it cannot wrap. */
static void make_room(KsmHistory *self)
{
    if (self->count == self->room && self->room < KSM_HISTORY_SAMPLES) {
        self->room = MIN(MAX(2 * self->room, FIRST_ROOM), KSM_HISTORY_SAMPLES);
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
        .saved_pages = (gint32)CLAMP(ksm_totals_saved_pages(totals), G_MININT32,
                                     G_MAXINT32),
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

static KsmSample add_samples(const KsmSample *a, const KsmSample *b)
{
    return (KsmSample) {
        .time_s = a->time_s,
        .pages_shared = bound((guint64)a->pages_shared + b->pages_shared),
        .pages_sharing = bound((guint64)a->pages_sharing + b->pages_sharing),
        .zero_pages = bound((guint64)a->zero_pages + b->zero_pages),
        .pages_broken = bound((guint64)a->pages_broken + b->pages_broken),
        .saved_pages = (gint32)CLAMP((gint64)a->saved_pages + b->saved_pages,
                                     G_MININT32, G_MAXINT32),
        .cpu_centi = bound((guint64)a->cpu_centi + b->cpu_centi),
    };
}

/* All groups are sampled at the same times, as long as they exist. */
static void add_history(KsmHistory *sum, const KsmHistory *more)
{
    KsmHistory both = { .room = sum->count + more->count };
    guint i = 0, j = 0;

    both.samples = g_new(KsmSample, both.room);
    while (i < sum->count || j < more->count) {
        const KsmSample *a = i < sum->count ? &sum->samples[i] : NULL;
        const KsmSample *b = j < more->count ? ksm_history_get(more, j) : NULL;
        gboolean same = a != NULL && b != NULL && a->time_s == b->time_s;
        gboolean first = a != NULL && (b == NULL || a->time_s <= b->time_s);

        both.samples[both.count++] = same ? add_samples(a, b) : first ? *a : *b;
        i += first;
        j += same || !first;
    }
    ksm_history_clear(sum);
    *sum = both;
}

void ksm_history_of_family(const KsmBroker *broker, const char *family,
                           KsmHistory *sum)
{
    GHashTableIter iter;
    gpointer data;

    *sum = (KsmHistory) { .samples = NULL };
    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &data)) {
        const KsmShard *shard = data;

        if (strcmp(shard->family, family) == 0) {
            add_history(sum, &shard->history);
        }
    }
}

void ksm_history_clear(KsmHistory *self)
{
    g_clear_pointer(&self->samples, g_free);
    self->room = self->count = self->next = 0;
}

gint64 ksm_history_now(void)
{
    struct timespec now = { 0 };

    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

void ksm_history_sample(KsmBroker *broker)
{
    gint64 time_s = ksm_history_now();
    GHashTableIter iter;
    gpointer data;
    guint kept = 0;

    ksm_history_add(&broker->history, &broker->totals, time_s);
    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &data)) {
        kept += ((KsmShard *)data)->history.count > 0;
    }
    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &data)) {
        KsmShard *shard = data;

        if (shard->history.count == 0 && kept++ >= KSM_HISTORY_GROUPS) {
            continue;
        }
        ksm_history_add(&shard->history, &shard->totals, time_s);
    }
}
