/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * result-ring.c: deferred results that one client has not fetched yet.
 *
 * Grows as needed up to KSM_RESULT_RING_MAX (1 MiB): a client that never
 * fetches its results cannot make the broker keep more.  A result that found
 * no room is not lost forever, see ksm_group_sweep().
 */
#include "group/result-ring.h"

#include "host/headroom.h"

static void ring_grow(KsmResultRing *ring)
{
    guint32 size = ring->size > 0 ? ring->size * 2 : 256;
    KsmWaitingResult *results = g_new(KsmWaitingResult, size);
    guint32 i;

    for (i = 0; i < ring->count; i++) {
        results[i] = ring->results[(ring->first + i) & (ring->size - 1)];
    }
    g_free(ring->results);
    ring->results = results;
    ring->size = size;
    ring->first = 0;
}

gboolean ksm_result_ring_push(KsmResultRing *ring,
                              const KsmWaitingResult *result)
{
    if (ring->count == ring->size) {
        if (ring->size >= KSM_RESULT_RING_MAX ||
            (ring->size > 0 && !ksm_headroom_left())) {
            return FALSE;
        }
        ring_grow(ring);
    }
    ring->results[(ring->first + ring->count++) & (ring->size - 1)] = *result;
    return TRUE;
}

gboolean ksm_result_ring_pop(KsmResultRing *ring, KsmWaitingResult *result)
{
    if (ring->count == 0) {
        return FALSE;
    }
    *result = ring->results[ring->first];
    ring->first = (ring->first + 1) & (ring->size - 1);
    if (--ring->count == 0) {
        ksm_result_ring_clear(ring);
    }
    return TRUE;
}

void ksm_result_ring_clear(KsmResultRing *ring)
{
    g_free(ring->results);
    *ring = (KsmResultRing) { NULL, 0, 0, 0 };
}
