/* SPDX-License-Identifier: GPL-2.0-or-later */
/* top-model.h: what `top` shows: a row for each VM, with rates, sorted. */
#ifndef KSM_CTL_TOP_MODEL_H
#define KSM_CTL_TOP_MODEL_H

#include "base/client.h"

/** Counts of pages unless named otherwise. */
typedef struct KsmTopRow {
    char *name, *group, *state;
    gint64 pid;
    gint64 total, untouched, own, shared, zero, broken, saved;
    double cpu_percent;
    double merges_rate, breaks_rate; /* pages a second */
    gint64 merges, breaks;           /* counts since its start */
} KsmTopRow;

typedef struct KsmTopColumn {
    const char *heading;
    const char *name; /* for --sort */
    char key;         /* sorts by it */
    int width;        /* negative: flush left */
    int from_columns; /* shown on terminals of at least this width */
    char *(*format)(const KsmTopRow *row); /* free with g_free() */
    gint (*compare)(const KsmTopRow *a, const KsmTopRow *b);
} KsmTopColumn;

/** In the order of the screen; ends with one without a heading. */
extern const KsmTopColumn ksm_top_columns[];

typedef struct KsmTop {
    GPtrArray *rows;    /* KsmTopRow, sorted */
    JsonObject *status; /* NULL before the first answer */
    guint sort;         /* index of a column */
    gboolean reverse;
    gint64 asked_us; /* monotonic */
    char *target;    /* whom to ask for; NULL: all */
    char *trouble;   /* why the last answer is old; or NULL */
} KsmTop;

/** @target: of which VMs; NULL: all. */
KsmTop *ksm_top_new(guint sort, const char *target);
void ksm_top_free(KsmTop *top);

/** The column of that --sort name; FALSE: there is none. */
gboolean ksm_top_find_column(const char *name, guint *column);

/** Asks the broker; on failure rows stay and `trouble` says why. */
gboolean ksm_top_ask(KsmTop *top, KsmClient *client, GError **errp);

/** Sorts again, after a change of `sort` or `reverse`. */
void ksm_top_sort(KsmTop *top);

/** Sums over all rows. */
void ksm_top_sum(const KsmTop *top, KsmTopRow *sum);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmTop, ksm_top_free)

#endif /* KSM_CTL_TOP_MODEL_H */
