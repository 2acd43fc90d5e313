/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * staging.c: pages on their way from a client into the store.
 *
 * A page is copied exactly once out of the memory that its client can write,
 * into a page here.  All decisions are based on that copy, and that copy is
 * written to the slot.  So whatever the client does in the meantime, no slot
 * can be filed under a fingerprint that is not its own.
 *
 * Slots are filled by write(2), many contiguous ones at once.  Writing through
 * a mapping would cost a page fault for each (about 4 us), in which the kernel
 * clears a page that is then overwritten.
 */
#include "group/staging.h"

#include <sys/uio.h>

guint8 *ksm_staging_next(KsmStaging *staging)
{
    g_assert(staging->contents < KSM_STAGING_CONTENTS);
    return staging->pages[staging->contents];
}

gboolean ksm_staging_has_room(const KsmStaging *staging, guint32 head,
                              guint8 order)
{
    return staging->contents == 0 ||
           (staging->contents < KSM_STAGING_CONTENTS &&
            staging->slots + (1u << order) <= KSM_STAGING_SLOTS &&
            head == staging->heads[0] + staging->slots);
}

void ksm_staging_add(KsmStaging *staging, guint32 head, guint8 order)
{
    g_assert(ksm_staging_has_room(staging, head, order));
    staging->heads[staging->contents] = head;
    staging->orders[staging->contents++] = order;
    staging->slots += 1u << order;
}

const guint8 *ksm_staging_find(const KsmStaging *staging, guint32 head)
{
    guint i;

    for (i = 0; i < staging->contents; i++) {
        if (staging->heads[i] == head) {
            return staging->pages[i];
        }
    }
    return NULL;
}

guint32 ksm_staging_write(KsmStaging *staging, KsmStore *store, guint32 *first,
                          guint32 *wanted)
{
    struct iovec parts[KSM_STAGING_SLOTS];
    guint32 slot = 0;
    guint i, copy;

    for (i = 0; i < staging->contents; i++) {
        for (copy = 0; copy < 1u << staging->orders[i]; copy++) {
            parts[slot++] = (struct iovec) {
                staging->pages[i],
                KSM_STORE_PAGE_BYTES,
            };
        }
    }
    *first = staging->heads[0];
    *wanted = staging->slots;
    staging->contents = 0;
    staging->slots = 0;
    return slot > 0 ? ksm_store_write(store, *first, parts, slot) : 0;
}
