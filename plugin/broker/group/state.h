/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.h: the state of a group and of its members.  The other headers have the
 * functions that work on it.
 */
#ifndef KSM_GROUP_STATE_H
#define KSM_GROUP_STATE_H

#include <glib.h>

#include "group/result-ring.h"
#include "group/page-table.h"
#include "group/stable-tree.h"
#include "store/store.h"
#include "tree/fp-tree.h"

#define KSM_GROUP_MAX_MEMBERS 65535u

typedef struct KsmGroup KsmGroup;
typedef struct KsmMember KsmMember;

struct KsmGroup {
    char *label; /* for logs: uid and name */
    KsmStore *store;
    KsmFpTree *stable;   /* content -> slots, stable-tree.h */
    KsmFpTree *unstable; /* content -> listed page, unstable-tree.h */
    KsmTagKey tag_key;
    guint64 store_id;
    GPtrArray *members;  /* by id; NULL: the id is free */
    GArray *generations; /* guint8 by id */
    guint member_count;
    guint16 next_id;
    guint64 listed; /* over all members */
    guint64 bound;
    guint64 retired;            /* contents whose memory failed */
    GQueue cleaning;            /* members that are being cleaned */
    struct KsmReclaim *reclaim; /* of the store; NULL: finished, or none */

    guint64 sweep_cursor;
    gboolean sweeping;  /* a pass is under way */
    gboolean resend;    /* the next pass looks for lost results */
    gboolean resending; /* this pass looks for lost results */
    guint64 unlisted;   /* listings ended since the pass began */
    guint sweep_debt;   /* entries to visit for insertions made */

    gint64 (*clock_us)(void); /* g_get_monotonic_time, or a test's */
    gint64 now_us;            /* when the current request began */
    void (*wake)(KsmGroup *group, gpointer opaque);
    gpointer opaque; /* for wake, which announces background work */
};

/** What is taken back from a member in the background. */
typedef enum KsmCleaning {
    KSM_CLEANING_NONE = 0,
    KSM_CLEANING_LISTINGS, /* its connection has closed */
    KSM_CLEANING_ALL,      /* it can map nothing any more */
} KsmCleaning;

/** Results wait for the member; called once until they are fetched. */
typedef void (*KsmMemberHasResults)(KsmMember *member, gpointer opaque);

/** Cleaning has finished; after KSM_CLEANING_ALL: free the member. */
typedef void (*KsmMemberCleaned)(KsmMember *member, gpointer opaque);

struct KsmMember {
    KsmGroup *group;
    KsmPageTable table;
    KsmResultRing results;
    guint64 listed; /* number of words in that state */
    guint64 bound;
    guint64 publishers;
    gint64 distrust_until_us; /* it let turns to publish pass */
    guint64 published_slots;  /* published by this member, still in use */
    guint64 clean_cursor;
    KsmMemberCleaned cleaned;
    gpointer opaque;
    KsmMemberHasResults has_results; /* or NULL */
    gpointer has_results_opaque;
    GList clean_link; /* in group->cleaning */
    KsmCleaning cleaning;
    guint32 roster_at;      /* its roster entry, or KSM_ROSTER_NONE */
    guint32 claimant_at;    /* its claimant's entry (reclaim.c), or NONE */
    guint16 id;             /* index in group->members */
    guint8 generation;      /* tells successive holders of an id apart */
    gboolean results_told;  /* has_results() was called */
    gboolean results_lost;  /* the ring was full once */
    gboolean reclaiming;    /* it has not reported all its slots yet */
    guint missed_publishes; /* turns to publish that it let pass */
};

#endif /* KSM_GROUP_STATE_H */
