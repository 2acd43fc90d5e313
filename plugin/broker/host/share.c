/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * share.c: a limit, its use, and the parent limit that it is a part of.
 *
 * A user's part has no limit of its own, but a share p < 1 of what the other
 * users leave: if L is the limit of all, h what the user has, and O what the
 * others have, the user may take as long as  h <= p (L - O).  So a single user
 * can have p L, and the number of users need not be known in advance.
 *
 * There is always something left for one more user: after a user has taken,
 *     L - O - h >= (1 - p) (L - O),
 * that is, the free amount is at least the part 1 - p of what would be free
 * without that user.  Sort N users by the time when each took last.  Applying
 * the rule to one after the other shows that the free amount is never less than
 * (1 - p)^N L, in whatever order they took, and a new user may take the part p
 * of it.  (Anything that is returned only adds to it.)  With p = 1/2 one user
 * leaves half, and the next may have a quarter.
 */
#include "host/share.h"

guint64 ksm_share_most(const KsmShare *share)
{
    const KsmShare *all = share->all;
    guint64 others, free;

    if (all == NULL || share->percent == 0) {
        return share->limit;
    }
    others = all->used - MIN(all->used, share->used);
    free = all->limit - MIN(all->limit, others);
    return MIN(share->limit,
               free / 100 * share->percent + free % 100 * share->percent / 100);
}

guint64 ksm_share_left(const KsmShare *share)
{
    guint64 most = ksm_share_most(share);
    guint64 left = most - MIN(most, share->used);

    return share->all == NULL ? left : MIN(left, ksm_share_left(share->all));
}

void ksm_share_take(KsmShare *share, guint64 count)
{
    for (; share != NULL; share = share->all) {
        share->used += count;
    }
}

void ksm_share_give(KsmShare *share, guint64 count)
{
    for (; share != NULL; share = share->all) {
        g_assert(share->used >= count);
        share->used -= count;
    }
}
