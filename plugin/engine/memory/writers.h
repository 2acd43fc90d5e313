/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * writers.h: what may write to guest pages without using a page table, and
 * whether a page may be exchanged.
 */
#ifndef KSM_WRITERS_H
#define KSM_WRITERS_H

#include <glib.h>

/* The program's callbacks, as in KsmOptions; each may be NULL. */
typedef struct KsmWriters {
    gboolean (*dma_in_flight)(const void *addr, gsize bytes, void *opaque);
    const char *(*stand_aside)(void *opaque);
    void *opaque;
} KsmWriters;

/* The ways to replace a guest's page. */
typedef enum KsmExchange {
    KSM_EXCHANGE_SHARE,     /* anonymous page -> slot, in a window */
    KSM_EXCHANGE_ZERO,      /* anonymous page -> hole, in a window */
    KSM_EXCHANGE_GIVE_BACK, /* slot -> anonymous copy */
    KSM_EXCHANGE_COPY,      /* copy in a store mapping -> new copy */
} KsmExchange;

/* The program's reason to leave all memory alone, or NULL. */
const char *ksm_writers_reason(const KsmWriters *writers);

/*
 * Whether `count` pages at `addr` may be exchanged in this way, as far as the
 * kernel does not ensure it.  The scanner calls it after threads have been
 * blocked from the pages: in a window, or with the pages write-protected.
 * Does not block.
 */
gboolean ksm_writers_allow(const KsmWriters *writers, KsmExchange way,
                           const guint8 *addr, guint32 count);

/* Whether KSM_EXCHANGE_COPY is possible at all: needs `dma_in_flight`. */
gboolean ksm_writers_known(const KsmWriters *writers);

#endif /* KSM_WRITERS_H */
