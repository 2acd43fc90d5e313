/* SPDX-License-Identifier: GPL-2.0-or-later */
/* settings.h: what is wanted of a client: settings, a map of its pages. */
#ifndef KSM_SETTINGS_H
#define KSM_SETTINGS_H

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
 * @map: for ksm_settings_want_map(), valid during the call.
 */
typedef void (*KsmSettingsDone)(KsmSession *session, guint32 error,
                             const char *reason, const KsmPageMap *map,
                             gpointer opaque);

/**
 * Wants the fields of @order (its serial is not looked at); they are added to
 * those that wait to be taken.  @done is called once, from the main loop.
 * Returns NULL, or a reason why it cannot be given; nobody is called then.
 */
const char *ksm_settings_give(KsmSession *session, const KsmSetting *order,
                            KsmSettingsDone done, gpointer opaque);

/** Wants a map of the session's pages. */
gboolean ksm_settings_want_map(KsmSession *session, KsmSettingsDone done,
                             gpointer opaque);

/** Whoever is @opaque waits no more; orders stand. */
void ksm_settings_forget(KsmSession *session, gpointer opaque);

/** The client's figures have come, and tell what it carried out. */
void ksm_settings_report(KsmSession *session);

/** The map that was wanted, checked; its cells are copied from @cells. */
void ksm_settings_take_map(KsmSession *session, const KsmMsgMap *map,
                         const guint8 *cells);

/** The connection has gone: nothing is wanted any more. */
void ksm_settings_drop(KsmSession *session);

/** Frees what @orders holds; nobody waits any more. */
void ksm_settings_clear(KsmSettings *orders);

#endif /* KSM_SETTINGS_H */
