/* SPDX-License-Identifier: GPL-2.0-or-later */
/* share.h: a limit, what is taken of it, and the limit that it is a part of. */
#ifndef KSM_SHARE_H
#define KSM_SHARE_H

#include <glib.h>

/** Zero all but .limit for a limit of its own. */
typedef struct KsmShare {
    guint64 limit;
    guint64 used;
    struct KsmShare *all;       /* what this is a part of; NULL: of nothing */
    guint percent;              /* the share, of what the other parts leave of
                                   that; 0: only .limit counts here */
} KsmShare;

/** What may be taken now. */
guint64 ksm_share_left(const KsmShare *share);

/** What this part alone may have now; what it has is in it. */
guint64 ksm_share_most(const KsmShare *share);

/* Of all that it is a part of, too.  More than is left may be taken, by who
 * has it already (a store that is taken up). */
void ksm_share_take(KsmShare *share, guint64 count);
void ksm_share_give(KsmShare *share, guint64 count);

#endif /* KSM_SHARE_H */
