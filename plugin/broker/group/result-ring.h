/* SPDX-License-Identifier: GPL-2.0-or-later */
/* result-ring.h: deferred results that one client has not fetched yet. */
#ifndef KSM_RESULT_RING_H
#define KSM_RESULT_RING_H

#include <glib.h>

#define KSM_RESULT_RING_MAX 65536u

/* Tells a client that the content of its listed page is in the stable tree. */
typedef struct KsmWaitingResult {
    guint64 key;
    guint32 page;
    guint32 tag;
} KsmWaitingResult;

typedef struct KsmResultRing {
    KsmWaitingResult *results; /* NULL until the first push */
    guint32 size;              /* a power of two */
    guint32 first;
    guint32 count;
} KsmResultRing;

/** FALSE if the ring is full; then the result is dropped. */
gboolean ksm_result_ring_push(KsmResultRing *ring,
                              const KsmWaitingResult *result);
gboolean ksm_result_ring_pop(KsmResultRing *ring, KsmWaitingResult *result);
void ksm_result_ring_clear(KsmResultRing *ring);

#endif /* KSM_RESULT_RING_H */
