/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hint-ring.h: the hints that wait to be fetched by one client. */
#ifndef KSM_HINT_RING_H
#define KSM_HINT_RING_H

#include <glib.h>

#define KSM_HINT_RING_MAX 65536u

/* "The content that your page was listed with is in the stable tree now." */
typedef struct KsmWaitingHint {
    guint64 key;
    guint32 page;
    guint32 tag;
} KsmWaitingHint;

typedef struct KsmHintRing {
    KsmWaitingHint *hints;      /* NULL while it never held one */
    guint32 size;               /* a power of two */
    guint32 first;
    guint32 count;
} KsmHintRing;

/** FALSE when full: the hint is not kept. */
gboolean ksm_hint_ring_push(KsmHintRing *ring, const KsmWaitingHint *hint);
gboolean ksm_hint_ring_pop(KsmHintRing *ring, KsmWaitingHint *hint);
void ksm_hint_ring_clear(KsmHintRing *ring);

#endif /* KSM_HINT_RING_H */
