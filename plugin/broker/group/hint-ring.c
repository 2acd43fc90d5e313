/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hint-ring.c: the hints that wait to be fetched by one client.
 *
 * Grows with need up to KSM_HINT_RING_MAX (1 MiB): a client that never
 * fetches its hints cannot make the broker keep more.  A hint that found no
 * room is not lost for good, see ksm_group_sweep().
 */
#include "group/hint-ring.h"

#include "host/headroom.h"

static void ring_grow(KsmHintRing *ring)
{
    guint32 size = ring->size > 0 ? ring->size * 2 : 256;
    KsmWaitingHint *hints = g_new(KsmWaitingHint, size);
    guint32 i;

    for (i = 0; i < ring->count; i++) {
        hints[i] = ring->hints[(ring->first + i) & (ring->size - 1)];
    }
    g_free(ring->hints);
    ring->hints = hints;
    ring->size = size;
    ring->first = 0;
}

gboolean ksm_hint_ring_push(KsmHintRing *ring, const KsmWaitingHint *hint)
{
    if (ring->count == ring->size) {
        if (ring->size >= KSM_HINT_RING_MAX ||
            (ring->size > 0 && !ksm_headroom_left())) {
            return FALSE;
        }
        ring_grow(ring);
    }
    ring->hints[(ring->first + ring->count++) & (ring->size - 1)] = *hint;
    return TRUE;
}

gboolean ksm_hint_ring_pop(KsmHintRing *ring, KsmWaitingHint *hint)
{
    if (ring->count == 0) {
        return FALSE;
    }
    *hint = ring->hints[ring->first];
    ring->first = (ring->first + 1) & (ring->size - 1);
    if (--ring->count == 0) {
        ksm_hint_ring_clear(ring);
    }
    return TRUE;
}

void ksm_hint_ring_clear(KsmHintRing *ring)
{
    g_free(ring->hints);
    *ring = (KsmHintRing) { NULL, 0, 0, 0 };
}
