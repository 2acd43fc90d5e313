/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-cpu-grants.c: the CPU time of all scanners, in simulated time: kept to
 * the limit, shared by what each may gain, and nobody waits for ever.
 */
#include "clients/cpu-grants.h"

#define MAX_SCANNERS 200u
#define PERCENT 20u
#define SECOND_US G_USEC_PER_SEC
#define LONGEST_WAIT_US SECOND_US
#define FIRST_US 4000 /* granted at once to whoever comes */

typedef struct Scanner {
    KsmCpuAsker asker;
    guint64 pages;
    gint64 due_us; /* its next question */
    gint64 used_us;
    gint64 granted_us, longest_us; /* when it last got some; the longest gap */
    gboolean rests;
} Scanner;

typedef struct World {
    KsmCpuGrants grants;
    KsmCpuParty users[MAX_SCANNERS], processes[MAX_SCANNERS];
    Scanner scanners[MAX_SCANNERS];
    guint count;
    gint64 now_us;
} World;

/* The scanner is one of that user's process. */
static void belong(World *world, guint scanner, guint user, guint process)
{
    world->scanners[scanner].asker.user = &world->users[user];
    world->scanners[scanner].asker.process = &world->processes[process];
}

/* All of one user, each of a process of its own. */
static void set_up(World *world, guint count, guint percent)
{
    guint i;

    memset(world, 0, sizeof(*world));
    world->grants.percent = percent;
    world->count = count;
    world->now_us = 1000 * SECOND_US;
    for (i = 0; i < count; i++) {
        belong(world, i, 0, i);
    }
}

/* Works for as long as it may, then asks at the time that it was told. */
static void ask(World *world, Scanner *scanner)
{
    KsmCpuGrant grant = ksm_cpu_grants_ask(&world->grants, &scanner->asker,
                                           scanner->pages, world->now_us);

    g_assert_cmpuint(grant.wait_us, <=, LONGEST_WAIT_US);
    g_assert_true(grant.cpu_us > 0 || grant.wait_us > 0);
    if (grant.cpu_us > 0) {
        if (scanner->granted_us) {
            scanner->longest_us = MAX(scanner->longest_us,
                                      world->now_us - scanner->granted_us);
        }
        scanner->granted_us = world->now_us;
    }
    scanner->used_us += grant.cpu_us;
    scanner->due_us = world->now_us + MAX(grant.cpu_us, grant.wait_us);
}

static void run(World *world, double seconds)
{
    gint64 end_us = world->now_us + (gint64)(seconds * (double)SECOND_US);

    for (;;) {
        Scanner *next = NULL;
        guint i;

        for (i = 0; i < world->count; i++) {
            Scanner *scanner = &world->scanners[i];

            if (!scanner->rests && (!next || scanner->due_us < next->due_us)) {
                next = scanner;
            }
        }
        if (!next || next->due_us >= end_us) {
            world->now_us = end_us;
            return;
        }
        world->now_us = MAX(world->now_us, next->due_us);
        ask(world, next);
    }
}

static gint64 used_us(World *world)
{
    gint64 sum = 0;
    guint i;

    for (i = 0; i < world->count; i++) {
        sum += world->scanners[i].used_us;
        world->scanners[i].used_us = 0;
    }
    return sum;
}

/* All at once, from the first moment on. */
static void test_limit(void)
{
    static const guint counts[] = { 1, 2, 20, 200 };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(counts); i++) {
        World *world = g_new(World, 1);
        double part;

        set_up(world, counts[i], PERCENT);
        run(world, 60);
        part = (double)used_us(world) / (60 * SECOND_US * PERCENT / 100.0);
        g_test_message("%u scanners use %.3f of the limit", counts[i], part);
        g_assert_cmpfloat(part, >=, 0.95);
        g_assert_cmpfloat(part, <=,
                          1.02 + counts[i] * FIRST_US /
                                     (60 * SECOND_US * PERCENT / 100.0));
        g_free(world);
    }
}

/* What they may gain counts for a half, being there for the other. */
static void test_shares(void)
{
    World *world = g_new(World, 1);
    guint i;

    set_up(world, 10, PERCENT);
    world->scanners[0].pages = 900000;
    world->scanners[1].pages = 100000;
    run(world, 60);
    for (i = 0; i < 10; i++) {
        const double parts[] = { 0.05 + 0.45, 0.05 + 0.05, 0.05 };
        double want = parts[MIN(i, 2)] * 60 * SECOND_US * PERCENT / 100;

        g_assert_cmpfloat((double)world->scanners[i].used_us, >=, want * 0.9);
        g_assert_cmpfloat((double)world->scanners[i].used_us, <=, want * 1.1);
    }
    g_free(world);
}

static gint64 used_by(const World *world, guint first, guint count)
{
    gint64 sum = 0;
    guint i;

    for (i = first; i < first + count; i++) {
        sum += world->scanners[i].used_us;
    }
    return sum;
}

/* Having many scanners brings a process nothing, and many processes a user. */
static void test_parties(void)
{
    const gint64 all_us = 60 * SECOND_US * PERCENT / 100;
    World *world = g_new(World, 1);
    guint i;

    /* User 0 has a process of 50; user 1 a process of 1 and one of 9. */
    set_up(world, 60, PERCENT);
    for (i = 0; i < 60; i++) {
        belong(world, i, i >= 50, (i >= 50) + (i >= 51));
    }
    run(world, 60);
    g_assert_cmpint(used_by(world, 0, 50), >=, all_us * 45 / 100);
    g_assert_cmpint(used_by(world, 0, 50), <=, all_us * 55 / 100);
    g_assert_cmpint(used_by(world, 50, 1), >=, all_us * 22 / 100);
    g_assert_cmpint(used_by(world, 51, 9), >=, all_us * 22 / 100);
    for (i = 0; i < 60; i++) {
        ksm_cpu_grants_forget(&world->grants, &world->scanners[i].asker);
    }
    g_assert_cmpuint(world->grants.users + world->users[0].asking +
                         world->users[1].asking + world->processes[0].asking,
                     ==, 0);
    g_free(world);
}

/* A claim beyond all measure takes no more than half from the others. */
static void test_claims(void)
{
    World *world = g_new(World, 1);
    guint i;

    set_up(world, 100, PERCENT);
    for (i = 0; i < 100; i++) {
        world->scanners[i].pages = i ? 1000 : (guint64)1 << 40;
    }
    run(world, 60);
    for (i = 1; i < 100; i++) {
        g_assert_cmpint(world->scanners[i].used_us, >=,
                        60 * SECOND_US * PERCENT / 100 / 100 * 45 / 100);
        g_assert_cmpint(world->scanners[i].longest_us, <=,
                        LONGEST_WAIT_US + SECOND_US / 10);
    }
    g_free(world);
}

/* Who has nothing to do leaves its part to the others, and comes back. */
static void test_come_and_go(void)
{
    World *world = g_new(World, 1);
    guint i;

    set_up(world, 20, PERCENT);
    run(world, 10);
    g_assert_cmpuint(ksm_cpu_grants_count(&world->grants, world->now_us), ==,
                     20);
    for (i = 1; i < 20; i++) {
        world->scanners[i].rests = TRUE;
    }
    run(world, 2);
    g_assert_cmpuint(ksm_cpu_grants_count(&world->grants, world->now_us), ==,
                     1);
    used_us(world);
    run(world, 10);
    g_assert_cmpint(used_us(world), >=,
                    10 * SECOND_US * PERCENT / 100 * 95 / 100);
    /* At once, and then the limit holds again. */
    for (i = 1; i < 20; i++) {
        world->scanners[i].rests = FALSE;
        world->scanners[i].due_us = world->now_us;
    }
    run(world, 0.001);
    for (i = 1; i < 20; i++) {
        g_assert_cmpint(world->scanners[i].used_us, >, 0);
    }
    used_us(world);
    run(world, 10);
    g_assert_cmpint(used_us(world), <=,
                    10 * SECOND_US * PERCENT / 100 * 105 / 100);
    g_free(world);
}

static void test_no_limit(void)
{
    World *world = g_new(World, 1);
    KsmCpuGrant grant;

    set_up(world, 1, 0);
    grant = ksm_cpu_grants_ask(&world->grants, &world->scanners[0].asker, 1,
                               world->now_us);
    g_assert_cmpuint(grant.cpu_us, ==, G_MAXUINT32);
    g_assert_cmpuint(grant.wait_us, ==, 0);
    g_free(world);
}

/* Clients that end do not count any more, whenever they last asked. */
static void test_forgotten(void)
{
    World *world = g_new(World, 1);
    guint i;

    set_up(world, 20, PERCENT);
    run(world, 5);
    for (i = 0; i < 20; i += 2) {
        ksm_cpu_grants_forget(&world->grants, &world->scanners[i].asker);
        ksm_cpu_grants_forget(&world->grants, &world->scanners[i].asker);
        world->scanners[i].rests = TRUE;
    }
    g_assert_cmpuint(ksm_cpu_grants_count(&world->grants, world->now_us), ==,
                     10);
    g_assert_cmpuint(world->grants.pages, ==, 0);
    run(world, 5);
    g_free(world);
}

static void test_default(void)
{
    guint percent = ksm_cpu_grants_default_percent();

    g_assert_cmpuint(percent % 20, ==, 0);
    g_assert_cmpuint(percent, >=, 20);
    g_assert_cmpuint(percent, <=, 20 * (g_get_num_processors() + 3) / 4);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-grants/limit", test_limit);
    g_test_add_func("/cpu-grants/shares", test_shares);
    g_test_add_func("/cpu-grants/parties", test_parties);
    g_test_add_func("/cpu-grants/claims", test_claims);
    g_test_add_func("/cpu-grants/come-and-go", test_come_and_go);
    g_test_add_func("/cpu-grants/no-limit", test_no_limit);
    g_test_add_func("/cpu-grants/forgotten", test_forgotten);
    g_test_add_func("/cpu-grants/default", test_default);
    return g_test_run();
}
