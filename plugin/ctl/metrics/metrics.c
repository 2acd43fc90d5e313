/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metrics.c: metrics of the broker, the host and the groups. */
#include "metrics/metrics.h"

#include "metrics/metric-writer.h"
#include "map/page-kind.h"

#define PAGE_BYTES 4096.0

/* A family with one sample for each object that has the field. */
typedef struct Family {
    const char *name, *type, *unit, *field;
    double scale;
    const char *help;
} Family;

static const Family broker_families[] = {
    { "guest_ksm_broker_uptime_seconds", "gauge", "seconds", "uptime_ms", 1e-3,
      "Time since the broker's start." },
    { "guest_ksm_broker_cpu_seconds", "counter", "seconds", "cpu_ns", 1e-9,
      "CPU time of the broker." },
    { "guest_ksm_broker_memory_bytes", "gauge", "bytes", "memory_bytes", 1,
      "The broker's own memory: trees, tables and metadata." },
    { "guest_ksm_store_bytes", "gauge", "bytes", "store_pages", PAGE_BYTES,
      "Memory in the stores of all groups." },
    { "guest_ksm_store_limit_bytes", "gauge", "bytes", "store_pages_max",
      PAGE_BYTES, "Maximum memory of all stores." },
    { "guest_ksm_sessions_limit", "gauge", NULL, "sessions_max", 1,
      "Maximum number of memory backends." },
};

static const Family host_families[] = {
    { "guest_ksm_host_memory_bytes", "gauge", "bytes", "memory_bytes", 1,
      "The host's memory (MemTotal)." },
    { "guest_ksm_host_available_bytes", "gauge", "bytes", "available_bytes", 1,
      "The host's memory available now (MemAvailable)." },
};

static const Family total_families[] = {
    { "guest_ksm_worst_case_bytes", "gauge", "bytes", "worst_case_pages",
      PAGE_BYTES,
      "Additional memory needed if all shared pages were "
      "written at once, over all groups." },
};

static const Family group_families[] = {
    { "guest_ksm_group_vms", "gauge", NULL, "vms", 1, "VMs of the group." },
    { "guest_ksm_group_saved_bytes", "gauge", "bytes", "saved_pages",
      PAGE_BYTES, "Memory saved: shared and zero pages, less the store." },
    { "guest_ksm_group_store_bytes", "gauge", "bytes", "pages_shared",
      PAGE_BYTES, "Memory in the group's store." },
    { "guest_ksm_group_worst_case_bytes", "gauge", "bytes", "worst_case_pages",
      PAGE_BYTES,
      "Additional memory needed if all "
      "shared pages were written at once." },
    { "guest_ksm_group_broker_memory_bytes", "gauge", "bytes",
      "broker_memory_bytes", 1, "The broker's metadata of the group." },
};

static const Family user_families[] = {
    { "guest_ksm_user_store_bytes", "gauge", "bytes", "store_pages", PAGE_BYTES,
      "Memory in the stores of the user's groups." },
    { "guest_ksm_user_store_limit_bytes", "gauge", "bytes", "store_pages_max",
      PAGE_BYTES, "Maximum that the user may have now." },
    { "guest_ksm_user_sessions", "gauge", NULL, "sessions", 1,
      "Memory backends of the user." },
    { "guest_ksm_user_sessions_limit", "gauge", NULL, "sessions_max", 1,
      "Maximum number that the user may have now." },
    { "guest_ksm_user_guest_bytes", "gauge", "bytes", "guest_pages", PAGE_BYTES,
      "Guest memory of the user's backends." },
    { "guest_ksm_user_guest_limit_bytes", "gauge", "bytes", "guest_pages_max",
      PAGE_BYTES, "Maximum that the user may have now." },
};

static char *group_labels(JsonObject *group)
{
    GString *labels = g_string_new(NULL);
    gint64 node;

    ksm_metrics_add_label(labels, "group", ksm_reply_string(group, "name"));
    ksm_metrics_add_number(labels, "uid", ksm_reply_int(group, "uid"));
    if (ksm_reply_node(group, &node)) {
        ksm_metrics_add_number(labels, "node", node);
    }
    return g_string_free(labels, FALSE);
}

static char *user_labels(JsonObject *user)
{
    GString *labels = g_string_new(NULL);

    ksm_metrics_add_number(labels, "uid", ksm_reply_int(user, "uid"));
    return g_string_free(labels, FALSE);
}

/* @labels_of: what distinguishes the objects; NULL: there is only one. */
static void add_families(KsmMetrics *metrics, const Family *families,
                         gsize count, GPtrArray *objects,
                         char *(*labels_of)(JsonObject *object))
{
    gsize i;
    guint j;

    for (i = 0; i < count; i++) {
        const Family *family = &families[i];
        gboolean counter = g_str_equal(family->type, "counter");

        ksm_metrics_family(metrics, family->name, family->type, family->unit,
                           family->help);
        for (j = 0; j < objects->len; j++) {
            JsonObject *object = g_ptr_array_index(objects, j);
            g_autofree char *labels = labels_of != NULL ? labels_of(object) :
                                                          NULL;

            ksm_metrics_sample(metrics, counter ? "_total" : "", labels,
                               family->scale *
                                   (double)ksm_reply_int(object,
                                                         family->field));
        }
    }
}

static void add_families_of(KsmMetrics *metrics, const Family *families,
                            gsize count, JsonObject *object)
{
    g_autoptr(GPtrArray) objects = g_ptr_array_new();

    if (object != NULL) {
        g_ptr_array_add(objects, object);
        add_families(metrics, families, count, objects, NULL);
    }
}

void ksm_metrics_add_memory(KsmMetrics *metrics, JsonObject *object,
                            const char *labels)
{
    guint i;

    for (i = 0; i < KSM_KIND_NO_MEMORY; i++) {
        const KsmPageKind *kind = &ksm_page_kinds[i];
        g_autoptr(GString) all = g_string_new(labels);

        ksm_metrics_add_label(all, "state", kind->name);
        ksm_metrics_sample(metrics, "", all->str,
                           PAGE_BYTES *
                               (double)ksm_reply_int(object, kind->field));
    }
}

static void add_groups(KsmMetrics *metrics, JsonObject *status)
{
    g_autoptr(GPtrArray) groups = ksm_reply_objects(status, "groups");
    guint i;

    add_families(metrics, group_families, G_N_ELEMENTS(group_families), groups,
                 group_labels);
    ksm_metrics_family(metrics, "guest_ksm_group_memory_bytes", "gauge",
                       "bytes", "Guest memory by state.");
    for (i = 0; i < groups->len; i++) {
        JsonObject *group = g_ptr_array_index(groups, i);
        g_autofree char *labels = group_labels(group);

        ksm_metrics_add_memory(metrics, group, labels);
    }
}

static void add_users(KsmMetrics *metrics, JsonObject *status)
{
    g_autoptr(GPtrArray) users = ksm_reply_objects(status, "users");

    add_families(metrics, user_families, G_N_ELEMENTS(user_families), users,
                 user_labels);
}

static void add_broker(KsmMetrics *metrics, JsonObject *status)
{
    JsonObject *broker = ksm_reply_object(status, "broker");
    const char *version = broker != NULL ? ksm_reply_string(broker, "version") :
                                           NULL;
    g_autoptr(GString) labels = g_string_new(NULL);

    ksm_metrics_add_label(labels, "version", version);
    ksm_metrics_family(metrics, "guest_ksm_broker", "info", NULL,
                       "The broker that listens.");
    ksm_metrics_sample(metrics, "_info", labels->str, 1);
    add_families_of(metrics, broker_families, G_N_ELEMENTS(broker_families),
                    broker);
    add_families_of(metrics, host_families, G_N_ELEMENTS(host_families),
                    ksm_reply_object(status, "host"));
    add_families_of(metrics, total_families, G_N_ELEMENTS(total_families),
                    ksm_reply_object(status, "total"));
}

static void add_up(KsmMetrics *metrics, gboolean up)
{
    ksm_metrics_family(metrics, "guest_ksm_up", "gauge", NULL,
                       "1 while the broker answers.");
    ksm_metrics_sample(metrics, "", NULL, up);
}

char *ksm_metrics_ask(KsmClient *client, GError **errp)
{
    g_autoptr(JsonObject) status = ksm_client_ask(client, errp, "status", NULL);
    g_autoptr(JsonObject) sessions =
        status != NULL ? ksm_client_ask(client, errp, "sessions", NULL) : NULL;
    KsmMetrics metrics = { 0 };

    if (sessions == NULL) {
        return NULL;
    }
    metrics.text = g_string_new(NULL);
    add_up(&metrics, TRUE);
    add_broker(&metrics, status);
    add_groups(&metrics, status);
    add_users(&metrics, status);
    ksm_metrics_add_sessions(&metrics, sessions);
    ksm_metrics_end(&metrics);
    return g_string_free(metrics.text, FALSE);
}

char *ksm_metrics_without_broker(void)
{
    KsmMetrics metrics = { .text = g_string_new(NULL) };

    add_up(&metrics, FALSE);
    ksm_metrics_end(&metrics);
    return g_string_free(metrics.text, FALSE);
}
