/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * budget.c: a limit, what is taken of it, and the limit that it is a part of.
 *
 * A user's part has no limit of its own, but a share p < 1 of what the other
 * users leave: with L the limit of all, h what the user has, and O what the
 * others have, it may take as long as  h <= p (L - O).  So one that is alone
 * can have p L, and nobody needs to know how many there will be.
 *
 * There is always something left for one more user: after a user took,
 *     L - O - h >= (1 - p) (L - O),
 * that is, what is free is not less than the part 1 - p of what would be free
 * without that user.  Put N users in the order in which each took last: by
 * that rule, applied to one after the other, what is free is never less than
 * (1 - p)^N L, whoever took when and in what order, and a newcomer may take
 * the part p of it.  (What is given back only adds to it.)  With p = 1/2 one
 * user leaves half, and the next may have a quarter.
 */
#include "budget.h"

guint64 ksm_budget_share(const KsmBudget *budget)
{
    const KsmBudget *all = budget->all;
    guint64 others, free;

    if (all == NULL || budget->percent == 0) {
        return budget->limit;
    }
    others = all->used - MIN(all->used, budget->used);
    free = all->limit - MIN(all->limit, others);
    return MIN(budget->limit, free / 100 * budget->percent +
               free % 100 * budget->percent / 100);
}

guint64 ksm_budget_left(const KsmBudget *budget)
{
    guint64 share = ksm_budget_share(budget);
    guint64 left = share - MIN(share, budget->used);

    return budget->all == NULL ? left
                               : MIN(left, ksm_budget_left(budget->all));
}

void ksm_budget_take(KsmBudget *budget, guint64 count)
{
    for (; budget != NULL; budget = budget->all) {
        budget->used += count;
    }
}

void ksm_budget_give(KsmBudget *budget, guint64 count)
{
    for (; budget != NULL; budget = budget->all) {
        g_assert(budget->used >= count);
        budget->used -= count;
    }
}
