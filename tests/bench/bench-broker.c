/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-broker.c: the broker's group code under 200 simulated VMs, which have
 * fingerprints but no memory.
 *
 * usage: bench-broker [PAGES...]: pages of each VM at each step, rising.
 * At each step every VM lists pages up to that number, in batches and taking
 * turns; then all VMs look pages up again whose contents are known (as pages
 * are that were written and became calm).  Prints one line of JSON: look-ups a
 * second of processor time at each step, and at the last one; bytes of resident
 * memory for a listed page.
 */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "group.h"

#define VMS 200u
#define AGAIN_BATCHES 1000u

typedef struct World {
    KsmStoreBudget budget;
    KsmGroup *group;
    KsmMember *members[VMS];
    guint64 pages;              /* listed by each */
    guint64 lookups;
    double cpu_s;
} World;

static guint64 mix(guint64 x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static double cpu_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static guint64 resident_bytes(void)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents("/proc/self/statm", &text, NULL, NULL)) {
        return 0;
    }
    return g_ascii_strtoull(strchr(text, ' '), NULL, 10) *
        (guint64)sysconf(_SC_PAGESIZE);
}

/* One batch of look-ups, only the broker's part of it timed. */
static void look_up(World *world, guint vm, KsmLookup *items, guint count)
{
    static KsmAnswer answers[KSM_BATCH_LOOKUPS];
    g_autoptr(GError) error = NULL;
    double start = cpu_now();
    gboolean ok = ksm_group_lookup(world->members[vm], items, count, answers,
                                   &error);

    world->cpu_s += cpu_now() - start;
    world->lookups += count;
    if (!ok) {
        g_error("look-up failed: %s", error->message);
    }
}

static void name(KsmLookup *item, guint vm, guint64 page)
{
    guint64 key = (guint64)vm << 40 | page;

    *item = (KsmLookup) {
        .fingerprint = { mix(key), mix(key + 1) }, .page = (guint32)page,
    };
}

static void list_up_to(World *world, guint64 pages)
{
    static KsmLookup items[KSM_BATCH_LOOKUPS];
    guint64 first;
    guint vm;

    for (first = world->pages; first < pages; first += KSM_BATCH_LOOKUPS) {
        guint count = (guint)MIN(pages - first, KSM_BATCH_LOOKUPS), i;

        for (vm = 0; vm < VMS; vm++) {
            for (i = 0; i < count; i++) {
                name(&items[i], vm, first + i);
            }
            look_up(world, vm, items, count);
        }
    }
    world->pages = pages;
}

static void look_up_again(World *world)
{
    static KsmLookup items[KSM_BATCH_LOOKUPS];
    guint64 random = 1;
    guint batch, i;

    for (batch = 0; batch < AGAIN_BATCHES; batch++) {
        guint vm = batch % VMS;

        for (i = 0; i < KSM_BATCH_LOOKUPS; i++) {
            name(&items[i], vm, mix(random++) % world->pages);
        }
        look_up(world, vm, items, KSM_BATCH_LOOKUPS);
    }
}

static double rate(World *world)
{
    double per_s = (double)world->lookups / world->cpu_s;

    world->lookups = 0;
    world->cpu_s = 0;
    return per_s;
}

int main(int argc, char **argv)
{
    static const char *const defaults[] = { "1000", "10000", "100000" };
    const char *const *steps = argc > 1 ? (const char *const *)argv + 1
                                        : defaults;
    int count = argc > 1 ? argc - 1 : (int)G_N_ELEMENTS(defaults), i;
    World world = { .budget = { 1024, 0 } };
    guint64 last = g_ascii_strtoull(steps[count - 1], NULL, 10), before;
    double again = 0, list = 0;
    guint vm;

    if (last < KSM_BATCH_LOOKUPS || last > G_GUINT64_CONSTANT(1) << 30) {
        fprintf(stderr, "bench-broker: pages out of range: %s\n",
                steps[count - 1]);
        return 2;
    }
    before = resident_bytes();
    world.group = ksm_group_new("bench", 1024, 1, &world.budget, NULL);
    for (vm = 0; vm < VMS; vm++) {
        world.members[vm] = ksm_member_new(world.group, last, NULL);
        g_assert_nonnull(world.members[vm]);
    }
    printf("{");
    for (i = 0; i < count; i++) {
        guint64 pages = g_ascii_strtoull(steps[i], NULL, 10);

        list_up_to(&world, pages);
        list = rate(&world);
        look_up_again(&world);
        again = rate(&world);
        printf("\"lists_per_s_%sx200\": %.0f, \"lookups_per_s_%sx200\": %.0f, ",
               steps[i], list, steps[i], again);
    }
    printf("\"lists_per_s\": %.0f, \"lookups_per_s\": %.0f, ", list, again);
    printf("\"listed_pages\": %" G_GUINT64_FORMAT ", ", world.group->listed);
    printf("\"bytes_per_listed_page\": %.2f}\n",
           (double)(resident_bytes() - before) / (double)world.group->listed);
    return 0;
}
