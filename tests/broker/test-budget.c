/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-budget.c: shares of a limit: there is always room for one user more. */
#include <math.h>

#include "budget.h"

#define LIMIT 1000000u
#define USERS 6u

static void test_alone(void)
{
    KsmBudget all = { .limit = 1000 };
    KsmBudget part = { .limit = G_MAXUINT64, .all = &all };

    g_assert_cmpuint(ksm_budget_left(&all), ==, 1000);
    g_assert_cmpuint(ksm_budget_left(&part), ==, 1000);
    ksm_budget_take(&part, 999);
    g_assert_cmpuint(ksm_budget_left(&part), ==, 1);
    g_assert_cmpuint(all.used, ==, 999);
    ksm_budget_take(&part, 11);         /* a store that is taken up */
    g_assert_cmpuint(ksm_budget_left(&part), ==, 0);
    g_assert_cmpuint(ksm_budget_left(&all), ==, 0);
    ksm_budget_give(&part, 1010);
    g_assert_cmpuint(all.used, ==, 0);
}

/* Half, then half of the rest; who came first gets no more for waiting. */
static void test_halves(void)
{
    KsmBudget all = { .limit = 1000 };
    KsmBudget a = { .limit = G_MAXUINT64, .all = &all, .percent = 50 };
    KsmBudget b = a;

    g_assert_cmpuint(ksm_budget_left(&a), ==, 500);
    ksm_budget_take(&a, 500);
    g_assert_cmpuint(ksm_budget_left(&a), ==, 0);
    g_assert_cmpuint(ksm_budget_left(&b), ==, 250);
    ksm_budget_take(&b, 250);
    g_assert_cmpuint(ksm_budget_left(&b), ==, 0);
    g_assert_cmpuint(ksm_budget_share(&a), ==, 375);
    g_assert_cmpuint(ksm_budget_left(&a), ==, 0);
    ksm_budget_give(&a, 500);
    g_assert_cmpuint(ksm_budget_left(&b), ==, 250);
    g_assert_cmpuint(ksm_budget_left(&a), ==, 375);
}

/* A process's, which is a part of a user's, which is a part of all. */
static void test_three(void)
{
    KsmBudget all = { .limit = 1000 };
    KsmBudget user = { .limit = G_MAXUINT64, .all = &all, .percent = 50 };
    KsmBudget one = { .limit = 400, .all = &user };
    KsmBudget other = one;

    ksm_budget_take(&one, 400);
    g_assert_cmpuint(ksm_budget_left(&one), ==, 0);
    g_assert_cmpuint(ksm_budget_left(&other), ==, 100);
    ksm_budget_take(&other, 100);
    g_assert_cmpuint(ksm_budget_left(&other), ==, 0);
    g_assert_cmpuint(all.used, ==, 500);
    ksm_budget_give(&one, 400);
    g_assert_cmpuint(user.used, ==, 100);
    g_assert_cmpuint(all.used, ==, 100);
}

/* A product that would not fit 64 bits. */
static void test_large(void)
{
    KsmBudget all = { .limit = G_MAXINT64 };
    KsmBudget user = { .limit = G_MAXUINT64, .all = &all, .percent = 99 };

    g_assert_cmpuint(ksm_budget_share(&user), >, G_MAXINT64 / 100 * 98);
    g_assert_cmpuint(ksm_budget_share(&user), <, G_MAXINT64);
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
        KsmBudget all = { .limit = LIMIT };
        double left = pow(1 - percents[row] / 100.0, USERS) * LIMIT;
        KsmBudget users[USERS], late;
        guint64 fewest = LIMIT, free;
        guint i;

        for (i = 0; i < USERS; i++) {
            users[i] = (KsmBudget) {
                .limit = G_MAXUINT64, .all = &all, .percent = percents[row],
            };
        }
        late = users[0];
        for (step = 0; step < 20000; step++) {
            KsmBudget *user = &users[g_test_rand_int_range(0, USERS)];

            if (g_test_rand_int_range(0, 4) == 0) {
                ksm_budget_give(user, user->used / (guint64)
                                g_test_rand_int_range(1, 10));
            } else {
                ksm_budget_take(user, ksm_budget_left(user));
            }
            free = LIMIT - all.used;
            fewest = MIN(fewest, free);
            g_assert_cmpfloat((double)free, >=, left);
            g_assert_cmpfloat((double)ksm_budget_left(&late), >=,
                              left * percents[row] / 100 - 1);
        }
        g_test_message("%u %%: at least %" G_GUINT64_FORMAT " free, the rule "
                       "says %.0f", percents[row], fewest, left);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/budget/alone", test_alone);
    g_test_add_func("/budget/halves", test_halves);
    g_test_add_func("/budget/three", test_three);
    g_test_add_func("/budget/large", test_large);
    g_test_add_func("/budget/room", test_room);
    return g_test_run();
}
