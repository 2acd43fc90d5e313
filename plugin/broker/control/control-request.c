/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control-request.c: handles each request on the control socket.
 *
 * A line is a JSON object with "request" and the members that this request
 * supports.  Anything else is refused, so that a misspelt option is never
 * ignored.
 */
#include "control/control-request.h"

#include <json-glib/json-glib.h>
#include <string.h>

#include "clients/history.h"
#include "clients/names.h"
#include "clients/settings.h"
#include "clients/totals.h"
#include "control/control-client.h"
#include "control/control-json.h"
#include "control/control-report.h"
#include "control/control-target.h"
#include "guest-ksm.h"

#define SETTING_TIMEOUT_MS 5000
#define HISTORY_MAX_SECONDS (KSM_HISTORY_SECONDS * KSM_HISTORY_SAMPLES)

/* The members of a request that are present. */
typedef struct Request {
    const char *name;
    const char *target; /* NULL: not given */
    const char *group;
    gint64 seconds; /* -1: not given */
    KsmSetting order;
} Request;

static gboolean read_string(JsonNode *node, const char **value)
{
    if (json_node_get_value_type(node) != G_TYPE_STRING) {
        return FALSE;
    }
    *value = json_node_get_string(node);
    return TRUE;
}

static gboolean read_number(JsonNode *node, gint64 most, gint64 *value)
{
    if (json_node_get_value_type(node) != G_TYPE_INT64) {
        return FALSE;
    }
    *value = json_node_get_int(node);
    return *value >= 0 && *value <= most;
}

/* Reads a number of a setting; the engine checks its range. */
static gboolean read_option(JsonNode *node, KsmSetting *order, guint32 field,
                            guint32 *option)
{
    gint64 value;

    if (!read_number(node, G_MAXUINT32, &value)) {
        return FALSE;
    }
    *option = (guint32)value;
    order->fields |= field;
    return TRUE;
}

static gboolean read_run(JsonNode *node, KsmSetting *order)
{
    const char *value;

    if (!read_string(node, &value)) {
        return FALSE;
    }
    if (strcmp(value, "pause") == 0) {
        order->run = KSM_RUN_PAUSE;
    } else if (strcmp(value, "run") == 0) {
        order->run = KSM_RUN_RUN;
    } else if (strcmp(value, "unmerge") == 0) {
        order->run = KSM_RUN_UNMERGE;
    } else {
        return FALSE;
    }
    order->fields |= KSM_SETTING_RUN;
    return TRUE;
}

static gboolean read_setting_member(Request *request, const char *name,
                                    JsonNode *node)
{
    KsmSetting *order = &request->order;

    if (strcmp(name, "run") == 0) {
        return read_run(node, order);
    }
    if (strcmp(name, "scan_cpu_percent") == 0) {
        return read_option(node, order, KSM_SETTING_SCAN_CPU_PERCENT,
                           &order->scan_cpu_percent);
    }
    if (strcmp(name, "scan_interval_ms") == 0) {
        return read_option(node, order, KSM_SETTING_SCAN_INTERVAL,
                           &order->scan_interval_ms);
    }
    if (strcmp(name, "max_mappings") == 0) {
        return read_option(node, order, KSM_SETTING_MAX_MAPPINGS,
                           &order->max_mappings);
    }
    if (strcmp(name, "keep_huge") == 0) {
        return read_option(node, order, KSM_SETTING_KEEP_HUGE,
                           &order->keep_huge);
    }
    return FALSE;
}

static gboolean read_member(Request *request, const char *name, JsonNode *node)
{
    gboolean set = strcmp(request->name, "set") == 0;
    gboolean history = strcmp(request->name, "history") == 0;

    if (strcmp(name, "request") == 0) {
        return TRUE;
    }
    if (strcmp(name, "target") == 0 && !history &&
        strcmp(request->name, "status") != 0) {
        return read_string(node, &request->target);
    }
    if (strcmp(name, "group") == 0 && history) {
        return read_string(node, &request->group);
    }
    if (strcmp(name, "seconds") == 0 && history) {
        return read_number(node, G_MAXINT32, &request->seconds);
    }
    return set && read_setting_member(request, name, node);
}

/* Reads the members; strings belong to @root.  FALSE: an error was sent. */
static gboolean read_request(KsmControlClient *client, JsonObject *root,
                             Request *request)
{
    JsonObjectIter iter;
    const char *name;
    JsonNode *node;

    node = json_object_get_member(root, "request");
    if (node == NULL || !read_string(node, &request->name)) {
        ksm_control_fail(client, "bad-request",
                         "the string member \"request\" is missing");
        return FALSE;
    }
    json_object_iter_init(&iter, root);
    while (json_object_iter_next(&iter, &name, &node)) {
        if (!read_member(request, name, node)) {
            ksm_control_fail(client, "bad-request",
                             "%.32s: member \"%.32s\" is unknown or has an "
                             "invalid value",
                             request->name, name);
            return FALSE;
        }
    }
    return TRUE;
}

/* The sessions that @target names; NULL: an error was sent. */
static GPtrArray *find_target(KsmControlClient *client, const char *target)
{
    g_autoptr(GError) error = NULL;
    const char *code = "failed";
    GPtrArray *found = ksm_control_target(client->control->broker, target,
                                          &code, &error);

    if (found == NULL) {
        ksm_control_fail(client, code, "%s", error->message);
    }
    return found;
}

static void do_status(KsmControlClient *client, const Request *request)
{
    KsmBroker *broker = client->control->broker;
    KsmJson json;

    (void)request;
    ksm_totals_update(broker);
    ksm_control_begin(&json);
    ksm_control_report_status(broker, &json);
    ksm_control_send(client, &json);
}

static void do_sessions(KsmControlClient *client, const Request *request)
{
    g_autoptr(GPtrArray) found = find_target(client, request->target);
    KsmJson json;

    if (found != NULL) {
        ksm_totals_update(client->control->broker);
        ksm_control_begin(&json);
        ksm_control_report_sessions(found, &json);
        ksm_control_send(client, &json);
    }
}

static void do_history(KsmControlClient *client, const Request *request)
{
    KsmBroker *broker = client->control->broker;
    KsmHistory sum = { .samples = NULL };
    KsmSession *session;
    g_autoptr(GPtrArray) found = NULL;
    g_autofree char *target = NULL;
    KsmJson json;

    if (request->group != NULL) {
        target = g_strconcat("group:", request->group, NULL);
        found = find_target(client, target);
        if (found == NULL) {
            return;
        }
        session = g_ptr_array_index(found, 0);
        ksm_history_of_family(broker, session->shard->family, &sum);
    }
    ksm_control_begin(&json);
    ksm_control_report_history(request->group != NULL ? &sum : &broker->history,
                               request->seconds < 0 ? HISTORY_MAX_SECONDS :
                                                      request->seconds,
                               &json);
    ksm_history_clear(&sum);
    ksm_control_send(client, &json);
}

static void finish_set(KsmControlClient *client)
{
    KsmJson json;
    guint i;

    ksm_control_begin(&json);
    ksm_json_open(&json, "results", '[');
    for (i = 0; client->items != NULL && i < client->items->len; i++) {
        const KsmControlItem *item = &g_array_index(client->items,
                                                    KsmControlItem, i);

        ksm_json_open(&json, NULL, '{');
        ksm_json_string(&json, "name", item->name);
        ksm_json_string(&json, "group", ksm_names_group(item->group));
        ksm_json_uint(&json, "uid", item->uid);
        ksm_json_uint(&json, "pid", (guint64)item->pid);
        ksm_json_string(&json, "result",
                        item->session != NULL ? "pending" :
                        item->failed          ? "failed" :
                                                "done");
        ksm_json_string(&json, "error", item->error);
        ksm_json_close(&json, '}');
    }
    ksm_json_close(&json, ']');
    ksm_control_send(client, &json);
}

static void on_setting_done(KsmSession *session, guint32 error,
                            const char *reason, const KsmPageMap *map,
                            gpointer opaque)
{
    (void)map;
    ksm_control_answered(opaque, session, error == 0 ? NULL : reason);
}

static void do_set(KsmControlClient *client, const Request *request)
{
    g_autoptr(GPtrArray) found = NULL;
    guint i;

    if (request->order.fields == 0 || request->target == NULL) {
        ksm_control_fail(client, "bad-request",
                         "set: needs a target, and "
                         "something to change");
        return;
    }
    found = find_target(client, request->target);
    for (i = 0; found != NULL && i < found->len; i++) {
        KsmSession *session = g_ptr_array_index(found, i);
        const char *refusal;

        ksm_control_add_item(client, session);
        refusal = ksm_settings_give(session, &request->order, on_setting_done,
                                    client);
        if (refusal != NULL) {
            ksm_control_answered(client, session, refusal);
        }
    }
    if (found != NULL) {
        ksm_control_wait(client, SETTING_TIMEOUT_MS, finish_set);
    }
}

static void finish_map(KsmControlClient *client)
{
    const KsmControlItem *item = &g_array_index(client->items, KsmControlItem,
                                                0);

    ksm_control_fail(client, item->failed ? "failed" : "timeout", "%s: %s",
                     item->name,
                     item->failed ? item->error :
                                    "the VM did not send its map in time");
}

static void on_map_done(KsmSession *session, guint32 error, const char *reason,
                        const KsmPageMap *map, gpointer opaque)
{
    KsmControlClient *client = opaque;
    g_autofree char *cells = NULL;
    KsmJson json;

    if (error != 0) {
        ksm_control_answered(client, session, reason);
        return;
    }
    g_array_index(client->items, KsmControlItem, 0).session = NULL;
    cells = g_base64_encode(map->cell, map->cells);
    ksm_control_begin(&json);
    ksm_json_string(&json, "name", session->name);
    ksm_json_uint(&json, "pages", map->pages);
    ksm_json_uint(&json, "pages_per_cell", map->pages_per_cell);
    ksm_json_uint(&json, "count", map->cells);
    ksm_json_string(&json, "cells", cells);
    ksm_control_send(client, &json);
}

static void do_map(KsmControlClient *client, const Request *request)
{
    g_autoptr(GPtrArray) found = NULL;
    KsmSession *session;

    if (request->target == NULL) {
        ksm_control_fail(client, "bad-request", "map: needs a target");
        return;
    }
    found = find_target(client, request->target);
    if (found == NULL) {
        return;
    }
    session = g_ptr_array_index(found, 0);
    if (found->len != 1) {
        ksm_control_fail(client, "ambiguous",
                         "'%s' has %u memory backends: "
                         "name one of them, as in %s",
                         request->target, found->len, session->name);
        return;
    }
    ksm_control_add_item(client, session);
    if (!ksm_settings_want_map(session, on_map_done, client)) {
        ksm_control_answered(client, session,
                             "the VM is not connected to "
                             "the broker at present");
    }
    ksm_control_wait(client, SETTING_TIMEOUT_MS, finish_map);
}

static void dispatch(KsmControlClient *client, JsonObject *root)
{
    static const struct {
        const char *name;
        void (*carry_out)(KsmControlClient *client, const Request *request);
    } requests[] = {
        { "status", do_status }, { "sessions", do_sessions }, { "set", do_set },
        { "map", do_map },       { "history", do_history },
    };
    Request request = { .seconds = -1 };
    guint i;

    if (!read_request(client, root, &request)) {
        return;
    }
    for (i = 0; i < G_N_ELEMENTS(requests); i++) {
        if (strcmp(request.name, requests[i].name) == 0) {
            requests[i].carry_out(client, &request);
            return;
        }
    }
    ksm_control_fail(client, "unknown-request",
                     "'%.32s' is none of status, sessions, set, map, history",
                     request.name);
}

void ksm_control_request(KsmControlClient *client, const char *line,
                         gsize bytes)
{
    g_autoptr(JsonParser) parser = json_parser_new_immutable();
    JsonNode *root = NULL;

    /* The reply may free the client: do not use it afterwards. */
    if (g_utf8_validate(line, (gssize)bytes, NULL) &&
        json_parser_load_from_data(parser, line, (gssize)bytes, NULL)) {
        root = json_parser_get_root(parser);
    }
    if (root == NULL || !JSON_NODE_HOLDS_OBJECT(root)) {
        ksm_control_fail(client, "bad-request",
                         "a request must be one JSON "
                         "object on one line");
        return;
    }
    dispatch(client, json_node_get_object(root));
}
