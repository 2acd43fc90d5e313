/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * page-state.h: the states of a guest page, one byte each.
 *
 *   bits 0-2  KsmPageState
 *   bit 3     KSM_PAGE_ORPHANED: shared or broken in the store of a broker that
 *             has exited; no reference to the slot is held anywhere
 *             KSM_PAGE_SPARED_HUGE: excluded: a duplicate that is left unshared
 *             to keep its huge page, until that page changes
 *   bits 4-6  back-off level: how often the page was written soon after it had
 *             been shared, given back as zero or listed
 *   bit 7     KSM_PAGE_HWPOISON: its memory failed, and it is left alone
 *             (hwpoison.c): shared, broken or excluded
 *
 * A second byte, `wait`, counts in rounds.  For private and excluded pages it
 * is the number of rounds that must still pass without a write before the page
 * is processed.  For other pages it is the low byte of the round in which the
 * state began.
 */
#ifndef KSM_PAGE_STATE_H
#define KSM_PAGE_STATE_H

#include <glib.h>

typedef enum KsmPageState {
    KSM_PAGE_UNTOUCHED = 0, /* anonymous, not seen present yet */
    KSM_PAGE_PRIVATE = 1,   /* anonymous; recently written */
    KSM_PAGE_CANDIDATE = 2, /* anonymous; listed in the unstable tree */
    KSM_PAGE_ZERO = 3,      /* anonymous, given back to the zero page */
    KSM_PAGE_SHARED = 4,    /* private mapping of a slot */
    KSM_PAGE_BROKEN = 5,    /* private copy inside a store mapping */
    KSM_PAGE_EXCLUDED = 6,  /* left alone until its back-off ends */
    KSM_PAGE_STATES = 7,
} KsmPageState;

#define KSM_PAGE_STATE_MASK 0x07u
#define KSM_PAGE_ORPHANED 0x08u
#define KSM_PAGE_SPARED_HUGE 0x08u
#define KSM_PAGE_LEVEL_SHIFT 4
#define KSM_PAGE_LEVEL_MASK 0x70u
#define KSM_PAGE_MAX_LEVEL 6u
#define KSM_PAGE_HWPOISON 0x80u

static inline KsmPageState ksm_page_state(guint8 word)
{
    return (KsmPageState)(word & KSM_PAGE_STATE_MASK);
}

static inline guint ksm_page_level(guint8 word)
{
    return (word & KSM_PAGE_LEVEL_MASK) >> KSM_PAGE_LEVEL_SHIFT;
}

/* Whether the page is in a store mapping (its slot is beneath it). */
static inline gboolean ksm_page_in_store(guint8 word)
{
    KsmPageState state = ksm_page_state(word);

    return state == KSM_PAGE_SHARED || state == KSM_PAGE_BROKEN;
}

/* Whether a page in this state is not the guest's own anonymous memory. */
static inline gboolean ksm_page_state_is_away(KsmPageState state)
{
    return state == KSM_PAGE_UNTOUCHED || state == KSM_PAGE_ZERO ||
           state == KSM_PAGE_SHARED || state == KSM_PAGE_BROKEN;
}

static inline gboolean ksm_page_is_spared(guint8 word)
{
    return ksm_page_state(word) == KSM_PAGE_EXCLUDED &&
           (word & KSM_PAGE_SPARED_HUGE);
}

#endif /* KSM_PAGE_STATE_H */
