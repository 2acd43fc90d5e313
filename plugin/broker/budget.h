/* SPDX-License-Identifier: GPL-2.0-or-later */
/* budget.h: a limit, what is taken of it, and the limit that it is a part of. */
#ifndef KSM_BUDGET_H
#define KSM_BUDGET_H

#include <glib.h>

/** Zero all but .limit for a budget of its own. */
typedef struct KsmBudget {
    guint64 limit;
    guint64 used;
    struct KsmBudget *all;      /* what this is a part of; NULL: of nothing */
    guint percent;              /* the share, of what the other parts leave of
                                   that; 0: only .limit counts here */
} KsmBudget;

/** What may be taken now. */
guint64 ksm_budget_left(const KsmBudget *budget);

/** What this part alone may have now; what it has is in it. */
guint64 ksm_budget_share(const KsmBudget *budget);

/* Of all that it is a part of, too.  More than is left may be taken, by who
 * has it already (a store that is taken up). */
void ksm_budget_take(KsmBudget *budget, guint64 count);
void ksm_budget_give(KsmBudget *budget, guint64 count);

#endif /* KSM_BUDGET_H */
