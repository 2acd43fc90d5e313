/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd-status.c: `guest-ksmctl status`: the host at a glance. */
#include <stdio.h>

#include "base/client.h"
#include "base/command.h"
#include "base/table.h"
#include "base/units.h"
#include "base/vms.h"
#include "domain/domain-target.h"

static void print_broker(JsonObject *reply)
{
    JsonObject *broker = ksm_reply_object(reply, "broker");
    g_autofree char *age = NULL, *own = NULL, *used = NULL, *most = NULL;
    g_autofree char *cpu = NULL;

    if (broker == NULL) {
        return;
    }
    age = ksm_units_age_of_ms(ksm_reply_int(broker, "uptime_ms"));
    own = ksm_units_mib_of_bytes(ksm_reply_int(broker, "memory_bytes"));
    used = ksm_units_mib_of_pages(ksm_reply_int(broker, "store_pages"));
    most = ksm_units_mib_of_pages(ksm_reply_int(broker, "store_pages_max"));
    cpu = ksm_units_time_of_ns(ksm_reply_int(broker, "cpu_ns"));
    printf("broker      %s, process %" G_GINT64_FORMAT ", up for %s; used %s "
           "of CPU, %s MiB of metadata\n",
           ksm_reply_string(broker, "version"), ksm_reply_int(broker, "pid"),
           age, cpu, own);
    printf("stores      %s of at most %s MiB\n", used, most);
    if (ksm_reply_int(broker, "cgroup_limit_bytes") > 0) {
        g_autofree char *limit =
            ksm_units_mib_of_bytes(ksm_reply_int(broker, "cgroup_limit_bytes"));
        g_autofree char *room =
            ksm_units_mib_of_bytes(ksm_reply_int(broker, "cgroup_room_bytes"));

        printf("cgroup      %s of %s MiB left to the broker\n", room, limit);
    }
}

static gint compare_users(gconstpointer a, gconstpointer b)
{
    gint64 x = ksm_reply_int(*(JsonObject *const *)a, "uid");
    gint64 y = ksm_reply_int(*(JsonObject *const *)b, "uid");

    return (x > y) - (x < y);
}

/* What each user has, and may have while the others keep what they have. */
static void print_users(JsonObject *reply)
{
    g_autoptr(GPtrArray) users = ksm_reply_objects(reply, "users");
    guint i;

    g_ptr_array_sort(users, compare_users);
    for (i = 0; i < users->len; i++) {
        JsonObject *user = g_ptr_array_index(users, i);
        g_autofree char *store =
            ksm_units_mib_of_pages(ksm_reply_int(user, "store_pages"));
        g_autofree char *store_max =
            ksm_units_mib_of_pages(ksm_reply_int(user, "store_pages_max"));
        g_autofree char *guest =
            ksm_units_mib_of_pages(ksm_reply_int(user, "guest_pages"));
        g_autofree char *guest_max =
            ksm_units_mib_of_pages(ksm_reply_int(user, "guest_pages_max"));

        printf("user %-6" G_GINT64_FORMAT " stores %s of at most %s MiB, guest "
               "memory %s of %s, sessions %" G_GINT64_FORMAT
               " of %" G_GINT64_FORMAT "\n",
               ksm_reply_int(user, "uid"), store, store_max, guest, guest_max,
               ksm_reply_int(user, "sessions"),
               ksm_reply_int(user, "sessions_max"));
    }
}

static void print_cpu(JsonObject *reply, JsonObject *total)
{
    JsonObject *broker = ksm_reply_object(reply, "broker");
    gint64 most = broker != NULL ? ksm_reply_int(broker, "cpu_percent_max") : 0;

    printf("cpu         %.2f %% of one CPU for scanning",
           ksm_reply_double(total, "cpu_percent"));
    if (most > 0) {
        printf(", of at most %" G_GINT64_FORMAT " %%", most);
    }
    printf("\n");
}

static void print_saved(JsonObject *total)
{
    g_autofree char *all = NULL, *saved = NULL, *sharing = NULL;
    g_autofree char *zero = NULL, *shared = NULL;

    all = ksm_units_mib_of_pages(ksm_reply_int(total, "pages_total"));
    saved = ksm_units_mib_of_pages(ksm_reply_int(total, "saved_pages"));
    sharing = ksm_units_mib_of_pages(ksm_reply_int(total, "pages_sharing"));
    shared = ksm_units_mib_of_pages(ksm_reply_int(total, "pages_shared"));
    zero = ksm_units_mib_of_pages(ksm_reply_int(total, "zero_pages"));
    printf("saved       %s MiB of the %s MiB of %" G_GINT64_FORMAT " VM%s: %s "
           "sharing %s, and %s of zeros\n",
           saved, all, ksm_reply_int(total, "vms"),
           ksm_reply_int(total, "vms") == 1 ? "" : "s", sharing, shared, zero);
}

static void print_worst_case(JsonObject *reply, JsonObject *total)
{
    JsonObject *host = ksm_reply_object(reply, "host");
    gint64 available = host != NULL ? ksm_reply_int(host, "available_bytes") :
                                      0;
    gint64 worst = ksm_reply_int(total, "worst_case_pages") * 4096;
    g_autofree char *need = ksm_units_mib_of_bytes(worst);
    g_autofree char *have = ksm_units_mib_of_bytes(available);

    printf("worst case  %s MiB more if everything were written at once; %s "
           "MiB available: %s\n",
           need, have,
           worst <= available ? "fits" :
                                "DOES NOT FIT, the host would swap or kill");
}

static void add_row(KsmTable *table, const char *name, const char *user,
                    JsonObject *sums)
{
    static const char *const fields[] = {
        "pages_total",  "pages_sharing", "pages_shared",     "zero_pages",
        "pages_broken", "saved_pages",   "worst_case_pages",
    };
    guint i;

    ksm_table_add(table, name);
    ksm_table_add(table, user);
    ksm_table_take(table, g_strdup_printf("%" G_GINT64_FORMAT,
                                          ksm_reply_int(sums, "vms")));
    for (i = 0; i < G_N_ELEMENTS(fields); i++) {
        ksm_table_take(table,
                       ksm_units_mib_of_pages(ksm_reply_int(sums, fields[i])));
    }
    ksm_table_take(table,
                   g_strdup_printf("%.2f",
                                   ksm_reply_double(sums, "cpu_percent")));
}

static gint compare_groups(gconstpointer a, gconstpointer b)
{
    JsonObject *one = *(JsonObject *const *)a, *other = *(JsonObject *const *)b;
    gint order = g_strcmp0(ksm_reply_string(one, "name"),
                           ksm_reply_string(other, "name"));
    gint64 nodes[2] = { -1, -1 };

    ksm_reply_node(one, &nodes[0]);
    ksm_reply_node(other, &nodes[1]);
    return order != 0 ? order : (nodes[0] > nodes[1]) - (nodes[0] < nodes[1]);
}

/* "web", or "web@0" where it is kept to a NUMA node. */
static char *group_title(JsonObject *group)
{
    const char *name = ksm_reply_string(group, "name");
    gint64 node;

    return ksm_reply_node(group, &node) ?
               g_strdup_printf("%s@%" G_GINT64_FORMAT, name, node) :
               g_strdup(name);
}

static void print_groups(JsonObject *reply, JsonObject *total)
{
    static const char *const headings[] = {
        "<GROUP", "UID",    "VMS",   "MEMORY", "SHARING", "SHARED",
        "ZERO",   "BROKEN", "SAVED", "WORST",  "CPU%",    NULL,
    };
    g_autoptr(GPtrArray) groups = ksm_reply_objects(reply, "groups");
    g_autoptr(KsmTable) table = ksm_table_new(headings);
    g_autofree char *text = NULL;
    guint i;

    g_ptr_array_sort(groups, compare_groups);
    for (i = 0; i < groups->len; i++) {
        JsonObject *group = g_ptr_array_index(groups, i);
        g_autofree char *uid = g_strdup_printf("%" G_GINT64_FORMAT,
                                               ksm_reply_int(group, "uid"));
        g_autofree char *title = group_title(group);

        add_row(table, title, uid, group);
    }
    add_row(table, "total", NULL, total);
    text = ksm_table_format(table);
    printf("\n%s(MiB; SHARING: guest pages mapped to SHARED ones)\n", text);
}

static void print_vm(const KsmVm *vm)
{
    g_autofree char *all =
        ksm_units_mib_of_pages(ksm_vm_sum(vm, "pages_total"));
    g_autofree char *saved =
        ksm_units_mib_of_pages(ksm_vm_sum(vm, "saved_pages"));
    g_autofree char *sharing =
        ksm_units_mib_of_pages(ksm_vm_sum(vm, "pages_sharing"));
    g_autofree char *zero =
        ksm_units_mib_of_pages(ksm_vm_sum(vm, "zero_pages"));

    g_autofree char *group = ksm_vm_group_title(vm);

    printf("%s: %s, group %s, user %" G_GINT64_FORMAT
           ", process %" G_GINT64_FORMAT "\n",
           vm->name, ksm_vm_string(vm, "state"), group, vm->uid, vm->pid);
    printf("saved       %s MiB of %s MiB: %s sharing, and %s of zeros\n", saved,
           all, sharing, zero);
    printf("cpu         %.2f %% of one CPU for scanning\n",
           ksm_vm_sum_double(vm, "cpu_percent"));
}

/* The same for one domain. */
static gboolean status_of_domain(KsmCtl *ctl, GError **errp)
{
    g_autofree char *target = NULL;
    g_autoptr(GPtrArray) vms = NULL;
    guint i;

    if (!ksm_domain_target(NULL, &target, errp)) {
        return FALSE;
    }
    if (!ksm_command_vms_of(ctl, target, &vms, errp)) {
        ksm_domain_target_explain(errp);
        return FALSE;
    }
    for (i = 0; vms != NULL && i < vms->len; i++) {
        print_vm(g_ptr_array_index(vms, i));
    }
    return TRUE;
}

static gboolean status_of_host(KsmCtl *ctl, GError **errp)
{
    g_autoptr(JsonObject) reply = ksm_client_ask(ctl->client, errp, "status",
                                                 NULL);
    JsonObject *total = reply != NULL ? ksm_reply_object(reply, "total") : NULL;

    if (reply == NULL) {
        return FALSE;
    }
    if (ctl->json || total == NULL) {
        ksm_command_print_json(reply);
        return TRUE;
    }
    print_broker(reply);
    print_users(reply);
    print_saved(total);
    print_cpu(reply, total);
    print_worst_case(reply, total);
    print_groups(reply, total);
    return TRUE;
}

static gboolean run_status(KsmCtl *ctl, char **args, GError **errp)
{
    (void)args;
    return ksm_domain_target_name != NULL ? status_of_domain(ctl, errp) :
                                            status_of_host(ctl, errp);
}

static const GOptionEntry entries[] = {
    KSM_DOMAIN_TARGET_ENTRIES { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL,
                                NULL },
};

extern const KsmCommand ksm_command_status;
const KsmCommand ksm_command_status = {
    .name = "status",
    .arguments = "",
    .summary = "The host at a glance: groups, savings, worst case",
    .entries = entries,
    .run = run_status,
};
