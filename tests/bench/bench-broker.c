/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-broker.c: the broker's group code under 200 simulated VMs, which have
 * fingerprints but no memory.
 *
 * usage: bench-broker [PAGES...]: pages of each VM at each step, increasing.
 * At each step every VM lists pages up to that number, in batches and taking
 * turns.  Then all VMs look up pages again whose content is known, as for pages
 * that were written and are idle again.  Prints one line of JSON, with the
 * values of each step and of the whole: lookups per second of CPU time of
 * either kind, bytes of resident memory per listed page, levels of the tree.
 */
#include <glib.h>
#include <stdio.h>

#include "bench-measure.h"
#include "group/group.h"
#include "group/lookup.h"
#include "group/member.h"
#include "page-content.h"

#define VMS 200u
#define AGAIN_BATCHES 1000u

typedef struct World {
    KsmStoreBudget budget;
    KsmGroup *group;
    KsmMember *members[VMS];
    guint64 pages; /* listed by each */
    guint64 lookups;
    guint64 cpu_ns;
    guint64 bytes_before; /* resident */
} World;

/* One batch of look-ups, only the broker's part of it timed. */
static void look_up(World *world, guint vm, KsmLookup *items, guint count)
{
    static KsmAnswer answers[KSM_BATCH_LOOKUPS];
    g_autoptr(GError) error = NULL;
    guint64 start_ns = bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    gboolean ok = ksm_group_lookup(world->members[vm], items, count, answers,
                                   &error);

    world->cpu_ns += bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start_ns;
    world->lookups += count;
    if (!ok) {
        g_error("look-up failed: %s", error->message);
    }
}

static void name(KsmLookup *item, guint vm, guint64 page)
{
    guint64 key = (guint64)vm << 40 | page;

    *item = (KsmLookup) {
        .fingerprint = { ksm_test_mix(key, 1), ksm_test_mix(key, 2) },
        .page = (guint32)page,
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
            name(&items[i], vm, ksm_test_mix(random++, 3) % world->pages);
        }
        look_up(world, vm, items, KSM_BATCH_LOOKUPS);
    }
}

/* Look-ups a second of processor time since the last call. */
static double rate(World *world)
{
    double per_s = (double)world->lookups * 1e9 / (double)world->cpu_ns;

    world->lookups = 0;
    world->cpu_ns = 0;
    return per_s;
}

/* One step; the last one prints the totals' names, the others their own. */
static void run_step(World *world, guint64 pages, gboolean last)
{
    g_autofree char *suffix =
        last ? g_strdup("") :
               g_strdup_printf("_%" G_GUINT64_FORMAT "x%u", pages, VMS);
    double lists, lookups;

    list_up_to(world, pages);
    lists = rate(world);
    look_up_again(world);
    lookups = rate(world);
    printf("\"lists_per_s%s\": %.0f, \"lookups_per_s%s\": %.0f, "
           "\"bytes_per_listed_page%s\": %.2f, \"tree_levels%s\": %u, ",
           suffix, lists, suffix, lookups, suffix,
           (double)(bench_resident_bytes() - world->bytes_before) /
               (double)world->group->listed,
           suffix, ksm_fp_tree_levels(world->group->unstable));
    fflush(stdout);
}

/* The steps asked for; FALSE when they do not rise, or are out of range. */
static gboolean parse_steps(const char *const *texts, guint count,
                            GArray *steps)
{
    guint64 before = 0;
    guint i;

    for (i = 0; i < count; i++) {
        guint64 pages;

        if (!g_ascii_string_to_unsigned(texts[i], 10, before + 1,
                                        G_GUINT64_CONSTANT(1) << 30, &pages,
                                        NULL)) {
            fprintf(stderr,
                    "bench-broker: not a rising number of pages: "
                    "%s\n",
                    texts[i]);
            return FALSE;
        }
        g_array_append_val(steps, pages);
        before = pages;
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    static const char *const defaults[] = { "1000", "10000", "100000" };
    g_autoptr(GArray) steps = g_array_new(FALSE, FALSE, sizeof(guint64));
    World world = { .budget = { .limit = 1024 } };
    guint i;

    if (!parse_steps(argc > 1 ? (const char *const *)argv + 1 : defaults,
                     argc > 1 ? (guint)argc - 1 : G_N_ELEMENTS(defaults),
                     steps)) {
        return 2;
    }
    world.bytes_before = bench_resident_bytes();
    world.group = ksm_group_new("bench", 1024, 1, &world.budget, NULL);
    for (i = 0; i < VMS; i++) {
        world.members[i] =
            ksm_member_new(world.group,
                           g_array_index(steps, guint64, steps->len - 1), NULL);
        g_assert_nonnull(world.members[i]);
    }
    printf("{");
    for (i = 0; i < steps->len; i++) {
        run_step(&world, g_array_index(steps, guint64, i), i + 1 == steps->len);
    }
    printf("\"listed_pages\": %" G_GUINT64_FORMAT "}\n", world.group->listed);
    return 0;
}
