/* SPDX-License-Identifier: GPL-2.0-or-later */
/* settings.h: asks a client to change settings or send a map of its pages. */
#ifndef KSM_SETTINGS_H
#define KSM_SETTINGS_H

#include <glib.h>

#include "clients/state.h"
#include "ksm-protocol.h"

/** A map of a client's pages, from KsmMsgMap. */
typedef struct KsmPageMap {
    guint64 pages;
    guint32 pages_per_cell;
    guint32 cells;
    guint8 cell[];
} KsmPageMap;

/**
 * Called with the client's answer, or when the session's connection closes:
 * then @error is set.  @map: for ksm_settings_want_map(); only valid during the
 * call.
 */
typedef void (*KsmSettingsDone)(KsmSession *session, guint32 error,
                                const char *reason, const KsmPageMap *map,
                                gpointer opaque);

/**
 * Requests the settings in @order (its serial is ignored); they are merged with
 * those that the client has not fetched yet.  @done is called once, from the
 * main loop.  Returns NULL; or a reason why the request is not possible, and
 * @done is not called.
 */
const char *ksm_settings_give(KsmSession *session, const KsmSetting *order,
                              KsmSettingsDone done, gpointer opaque);

/** Requests a map of the session's pages. */
gboolean ksm_settings_want_map(KsmSession *session, KsmSettingsDone done,
                               gpointer opaque);

/** The waiter @opaque no longer waits; its settings stay requested. */
void ksm_settings_forget(KsmSession *session, gpointer opaque);

/** STATS arrived; they say which settings the client has applied. */
void ksm_settings_report(KsmSession *session);

/** The requested map arrived and was checked; its cells are in @cells. */
void ksm_settings_take_map(KsmSession *session, const KsmMsgMap *map,
                           const guint8 *cells);

/** The connection has closed: all requests end. */
void ksm_settings_drop(KsmSession *session);

/** Frees what @orders owns; there must be no waiter. */
void ksm_settings_clear(KsmSettings *orders);

#endif /* KSM_SETTINGS_H */
