/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * settings.c: asks a client to change settings or send a map of its pages.
 *
 * The client is woken to send STATS: settings travel in the reply, and are
 * repeated until the client reports their serial.  Settings that arrive while
 * others are pending are merged with them under a new serial.  So at most one
 * request is pending, and waiters for an older one are answered with the newer.
 */
#include "clients/settings.h"

#include <string.h>

#include "guest-ksm.h"

typedef struct Wait {
    gboolean map;
    KsmSettingsDone done;
    gpointer opaque;
} Wait;

/* Serials are never 0, and differ over all sessions. */
static guint32 next_serial(KsmSession *session)
{
    guint32 serial = ++session->broker->report_serials;

    return serial != 0 ? serial : ++session->broker->report_serials;
}

static void add_wait(KsmSettings *self, gboolean map, KsmSettingsDone done,
                     gpointer opaque)
{
    Wait wait = { map, done, opaque };

    if (self->waits == NULL) {
        self->waits = g_array_new(FALSE, FALSE, sizeof(Wait));
    }
    g_array_append_val(self->waits, wait);
}

/* Calls all waiters for that request.  A callback may add new waiters. */
static void answer(KsmSession *session, gboolean map, guint32 error,
                   const char *reason, const KsmPageMap *picture)
{
    KsmSettings *self = &session->settings;
    GArray *waits = g_steal_pointer(&self->waits);
    guint i;

    for (i = 0; waits != NULL && i < waits->len; i++) {
        Wait *wait = &g_array_index(waits, Wait, i);

        if (wait->map == map) {
            wait->done(session, error, reason, picture, wait->opaque);
        } else {
            add_wait(self, wait->map, wait->done, wait->opaque);
        }
    }
    if (waits != NULL) {
        g_array_free(waits, TRUE);
    }
}

static void merge(KsmSetting *order, const KsmSetting *more)
{
    order->fields |= more->fields;
    if (more->fields & KSM_SETTING_RUN) {
        order->run = more->run;
    }
    if (more->fields & KSM_SETTING_SCAN_CPU_PERCENT) {
        order->scan_cpu_percent = more->scan_cpu_percent;
    }
    if (more->fields & KSM_SETTING_SCAN_INTERVAL) {
        order->scan_interval_ms = more->scan_interval_ms;
    }
    if (more->fields & KSM_SETTING_MAX_MAPPINGS) {
        order->max_mappings = more->max_mappings;
    }
    if (more->fields & KSM_SETTING_KEEP_HUGE) {
        order->keep_huge = more->keep_huge;
    }
}

const char *ksm_settings_give(KsmSession *session, const KsmSetting *order,
                              KsmSettingsDone done, gpointer opaque)
{
    KsmSettings *self = &session->settings;

    if (session->served_by == NULL) {
        return "the VM is not connected to the broker at present";
    }
    if (order->fields & KSM_SETTING_KEEP_HUGE &&
        ksm_proto_group_bytes(session->version) <=
            offsetof(KsmMsgGroup, setting.keep_huge)) {
        return "the VM's library is an older version that does not support "
               "keep-huge";
    }
    merge(&self->setting, order);
    self->setting.serial = next_serial(session);
    add_wait(self, FALSE, done, opaque);
    session->broker->wake(session->served_by);
    return NULL;
}

gboolean ksm_settings_want_map(KsmSession *session, KsmSettingsDone done,
                               gpointer opaque)
{
    KsmSettings *self = &session->settings;

    if (session->served_by == NULL) {
        return FALSE;
    }
    if (self->map_serial == 0) {
        self->map_serial = next_serial(session);
    }
    add_wait(self, TRUE, done, opaque);
    session->broker->wake(session->served_by);
    return TRUE;
}

void ksm_settings_forget(KsmSession *session, gpointer opaque)
{
    GArray *waits = session->settings.waits;
    guint i = 0;

    while (waits != NULL && i < waits->len) {
        if (g_array_index(waits, Wait, i).opaque == opaque) {
            g_array_remove_index(waits, i);
        } else {
            i++;
        }
    }
}

void ksm_settings_report(KsmSession *session)
{
    KsmSettings *self = &session->settings;
    const KsmMsgStats *stats = &session->client.stats;

    if (self->setting.serial == 0 ||
        stats->setting_serial != self->setting.serial) {
        return;
    }
    memset(&self->setting, 0, sizeof(self->setting));
    answer(session, FALSE, stats->setting_error, stats->setting_reason, NULL);
}

void ksm_settings_take_map(KsmSession *session, const KsmMsgMap *map,
                           const guint8 *cells)
{
    g_autofree KsmPageMap *picture =
        g_malloc(sizeof(KsmPageMap) + map->msg.count);

    picture->pages = map->pages;
    picture->pages_per_cell = map->pages_per_cell;
    picture->cells = map->msg.count;
    memcpy(picture->cell, cells, map->msg.count);
    session->settings.map_serial = 0;
    answer(session, TRUE, 0, NULL, picture);
}

void ksm_settings_drop(KsmSession *session)
{
    static const char reason[] = "the VM's connection ended before it answered";

    memset(&session->settings.setting, 0, sizeof(session->settings.setting));
    session->settings.map_serial = 0;
    answer(session, FALSE, KSM_ERROR_FAILED, reason, NULL);
    answer(session, TRUE, KSM_ERROR_FAILED, reason, NULL);
}

void ksm_settings_clear(KsmSettings *self)
{
    g_clear_pointer(&self->waits, g_array_unref);
}
