/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-share.c: shares of a limit: there is always room for one user more. */
#include <math.h>

#include "host/share.h"

#define LIMIT 1000000u
#define USERS 6u

static void test_alone(void)
{
    KsmShare all = { .limit = 1000 };
    KsmShare part = { .limit = G_MAXUINT64, .all = &all };

    g_assert_cmpuint(ksm_share_left(&all), ==, 1000);
    g_assert_cmpuint(ksm_share_left(&part), ==, 1000);
    ksm_share_take(&part, 999);
    g_assert_cmpuint(ksm_share_left(&part), ==, 1);
    g_assert_cmpuint(all.used, ==, 999);
    ksm_share_take(&part, 11); /* a store that is taken up */
    g_assert_cmpuint(ksm_share_left(&part), ==, 0);
    g_assert_cmpuint(ksm_share_left(&all), ==, 0);
    ksm_share_give(&part, 1010);
    g_assert_cmpuint(all.used, ==, 0);
}

/* Half, then half of the rest; who came first gets no more for waiting. */
static void test_halves(void)
{
    KsmShare all = { .limit = 1000 };
    KsmShare a = { .limit = G_MAXUINT64, .all = &all, .percent = 50 };
    KsmShare b = a;

    g_assert_cmpuint(ksm_share_left(&a), ==, 500);
    ksm_share_take(&a, 500);
    g_assert_cmpuint(ksm_share_left(&a), ==, 0);
    g_assert_cmpuint(ksm_share_left(&b), ==, 250);
    ksm_share_take(&b, 250);
    g_assert_cmpuint(ksm_share_left(&b), ==, 0);
    g_assert_cmpuint(ksm_share_most(&a), ==, 375);
    g_assert_cmpuint(ksm_share_left(&a), ==, 0);
    ksm_share_give(&a, 500);
    g_assert_cmpuint(ksm_share_left(&b), ==, 250);
    g_assert_cmpuint(ksm_share_left(&a), ==, 375);
}

/* A process's, which is a part of a user's, which is a part of all. */
static void test_three(void)
{
    KsmShare all = { .limit = 1000 };
    KsmShare user = { .limit = G_MAXUINT64, .all = &all, .percent = 50 };
    KsmShare one = { .limit = 400, .all = &user };
    KsmShare other = one;

    ksm_share_take(&one, 400);
    g_assert_cmpuint(ksm_share_left(&one), ==, 0);
    g_assert_cmpuint(ksm_share_left(&other), ==, 100);
    ksm_share_take(&other, 100);
    g_assert_cmpuint(ksm_share_left(&other), ==, 0);
    g_assert_cmpuint(all.used, ==, 500);
    ksm_share_give(&one, 400);
    g_assert_cmpuint(user.used, ==, 100);
    g_assert_cmpuint(all.used, ==, 100);
}

/* A product that would not fit 64 bits. */
static void test_large(void)
{
    KsmShare all = { .limit = G_MAXINT64 };
    KsmShare user = { .limit = G_MAXUINT64, .all = &all, .percent = 99 };

    g_assert_cmpuint(ksm_share_most(&user), >, G_MAXINT64 / 100 * 98);
    g_assert_cmpuint(ksm_share_most(&user), <, G_MAXINT64);
}

/*
 * Users that take all they can and give some back, in any order: with N of
 * them, never less than (1 - p)^N of the limit is free, and a newcomer can
 * have its part of that.
 */
static void test_room(void)
{
    static const guint percents[] = { 10, 50, 90 };
    guint row, step;

    for (row = 0; row < G_N_ELEMENTS(percents); row++) {
        KsmShare all = { .limit = LIMIT };
        double left = pow(1 - percents[row] / 100.0, USERS) * LIMIT;
        KsmShare users[USERS], late;
        guint64 fewest = LIMIT, free;
        guint i;

        for (i = 0; i < USERS; i++) {
            users[i] = (KsmShare) {
                .limit = G_MAXUINT64,
                .all = &all,
                .percent = percents[row],
            };
        }
        late = users[0];
        for (step = 0; step < 20000; step++) {
            KsmShare *user = &users[g_test_rand_int_range(0, USERS)];

            if (g_test_rand_int_range(0, 4) == 0) {
                ksm_share_give(user, user->used /
                                         (guint64)g_test_rand_int_range(1, 10));
            } else {
                ksm_share_take(user, ksm_share_left(user));
            }
            free = LIMIT - all.used;
            fewest = MIN(fewest, free);
            g_assert_cmpfloat((double)free, >=, left);
            g_assert_cmpfloat((double)ksm_share_left(&late), >=,
                              left * percents[row] / 100 - 1);
        }
        g_test_message("%u %%: at least %" G_GUINT64_FORMAT " free, the rule "
                       "says %.0f",
                       percents[row], fewest, left);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/share/alone", test_alone);
    g_test_add_func("/share/halves", test_halves);
    g_test_add_func("/share/three", test_three);
    g_test_add_func("/share/large", test_large);
    g_test_add_func("/share/room", test_room);
    return g_test_run();
}
