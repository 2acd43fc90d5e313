/* SPDX-License-Identifier: GPL-2.0-or-later */
/* orders.h: what is wanted of a client: an order, a map of its pages. */
#ifndef KSM_ORDERS_H
#define KSM_ORDERS_H

#include <glib.h>

#include "clients/state.h"
#include "ksm-protocol.h"

/** A map of a client's pages, as KsmMsgMap tells it. */
typedef struct KsmPageMap {
    guint64 pages;
    guint32 pages_per_cell;
    guint32 cells;
    guint8 cell[];
} KsmPageMap;

/**
 * The answer, or the end of the session's connection: then @error is set.
 * @map: for ksm_orders_want_map(), valid during the call.
 */
typedef void (*KsmOrderDone)(KsmSession *session, guint32 error,
                             const char *reason, const KsmPageMap *map,
                             gpointer opaque);

/**
 * Wants the fields of @order (its serial is not looked at); they are added to
 * those that wait to be taken.  @done is called once, from the main loop.
 * Returns NULL, or a reason why it cannot be given; nobody is called then.
 */
const char *ksm_orders_give(KsmSession *session, const KsmOrder *order,
                            KsmOrderDone done, gpointer opaque);

/** Wants a map of the session's pages. */
gboolean ksm_orders_want_map(KsmSession *session, KsmOrderDone done,
                             gpointer opaque);

/** Whoever is @opaque waits no more; orders stand. */
void ksm_orders_forget(KsmSession *session, gpointer opaque);

/** The client's figures have come, and tell what it carried out. */
void ksm_orders_report(KsmSession *session);

/** The map that was wanted, checked; its cells are copied from @cells. */
void ksm_orders_take_map(KsmSession *session, const KsmMsgMap *map,
                         const guint8 *cells);

/** The connection has gone: nothing is wanted any more. */
void ksm_orders_drop(KsmSession *session);

/** Frees what @orders holds; nobody waits any more. */
void ksm_orders_clear(KsmOrders *orders);

#endif /* KSM_ORDERS_H */
