/* SPDX-License-Identifier: GPL-2.0-or-later */
/* share.h: a limit, its use, and the parent limit that it is a part of. */
#ifndef KSM_SHARE_H
#define KSM_SHARE_H

#include <glib.h>

/** For an independent limit set .limit, and leave all else zero. */
typedef struct KsmShare {
    guint64 limit;
    guint64 used;
    struct KsmShare *all; /* the parent limit; NULL: none */
    guint percent;        /* the share, of what the other parts leave of
                                   the parent; 0: only .limit counts */
} KsmShare;

/** The amount that may be taken now. */
guint64 ksm_share_left(const KsmShare *share);

/** The maximum that this part may have now, including what it has. */
guint64 ksm_share_most(const KsmShare *share);

/*
 * Take from or return to this share and its parents.  Taking more than is left
 * is allowed, for what is in use already (a store that is taken over).
 */
void ksm_share_take(KsmShare *share, guint64 count);
void ksm_share_give(KsmShare *share, guint64 count);

#endif /* KSM_SHARE_H */
