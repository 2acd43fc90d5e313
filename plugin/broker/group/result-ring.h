/* SPDX-License-Identifier: GPL-2.0-or-later */
/* result-ring.h: the results that wait to be fetched by one client. */
#ifndef KSM_RESULT_RING_H
#define KSM_RESULT_RING_H

#include <glib.h>

#define KSM_RESULT_RING_MAX 65536u

/* "The content that your page was listed with is in the stable tree now." */
typedef struct KsmWaitingResult {
    guint64 key;
    guint32 page;
    guint32 tag;
} KsmWaitingResult;

typedef struct KsmResultRing {
    KsmWaitingResult *results;      /* NULL while it never held one */
    guint32 size;               /* a power of two */
    guint32 first;
    guint32 count;
} KsmResultRing;

/** FALSE when full: the result is not kept. */
gboolean ksm_result_ring_push(KsmResultRing *ring, const KsmWaitingResult *result);
gboolean ksm_result_ring_pop(KsmResultRing *ring, KsmWaitingResult *result);
void ksm_result_ring_clear(KsmResultRing *ring);

#endif /* KSM_RESULT_RING_H */
