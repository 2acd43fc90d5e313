/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd-vm.c: `guest-ksmctl vm NAME`: all that is known about one VM. */
#include <stdio.h>

#include "base/client.h"
#include "base/command.h"
#include "base/units.h"
#include "base/vms.h"

static void print_pages(JsonObject *session)
{
    static const struct {
        const char *field;
        const char *meaning;
    } rows[] = {
        { "pages_total", "guest memory" },
        { "pages_untouched", "never touched" },
        { "pages_volatile", "private, written recently" },
        { "pages_unshared", "unique so far" },
        { "pages_sharing", "shared" },
        { "zero_pages", "zeros, given back" },
        { "pages_broken", "shared once, written since" },
        { "pages_excluded", "left alone for now" },
        { "pages_hwpoison", "of all these: the host's memory has failed" },
        { "saved_pages", "saved" },
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        gint64 pages = ksm_reply_int(session, rows[i].field);
        g_autofree char *mib = ksm_units_mib_of_pages(pages);

        if (pages == 0 && g_str_equal(rows[i].field, "pages_hwpoison")) {
            continue;
        }
        printf("    %-17s %10" G_GINT64_FORMAT "  %9s MiB  %s\n", rows[i].field,
               pages, mib, rows[i].meaning);
    }
}

static void print_counts(JsonObject *session)
{
    static const char *const fields[] = {
        "full_scans",       "merges",          "zero_merges",
        "breaks",           "given_back",      "rollbacks",
        "refused_pinned",   "refused_dma",     "refused_budget",
        "refused_torn",     "refused_broker",  "refused_error",
        "fingerprints",     "lookups",         "publishes",
        "deferred_results", "broker_requests", "broker_losses",
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(fields); i++) {
        printf("    %-17s %10" G_GINT64_FORMAT "%s", fields[i],
               ksm_reply_int(session, fields[i]), i % 2 ? "\n" : "   ");
    }
}

/* The upper bound of the bucket below which @part of the windows lie, in us. */
static guint64 window_below_us(JsonObject *session, double part)
{
    JsonArray *buckets =
        json_object_has_member(session, "window_us_histogram") ?
            json_object_get_array_member(session, "window_us_histogram") :
            NULL;
    double sum = 0, all = 0;
    guint i, count = buckets != NULL ? json_array_get_length(buckets) : 0;

    for (i = 0; i < count; i++) {
        all += (double)json_array_get_int_element(buckets, i);
    }
    for (i = 0; i < count; i++) {
        sum += (double)json_array_get_int_element(buckets, i);
        if (all > 0 && sum >= all * part) {
            return G_GUINT64_CONSTANT(2) << i;
        }
    }
    return 0;
}

static void print_windows(JsonObject *session)
{
    gint64 windows = ksm_reply_int(session, "windows");
    g_autofree char *longest =
        ksm_units_time_of_ns(ksm_reply_int(session, "window_ns_max"));
    g_autofree char *mean = ksm_units_time_of_ns(
        windows > 0 ? ksm_reply_int(session, "window_ns_total") / windows : 0);

    printf("    windows   %" G_GINT64_FORMAT
           ", mean %s, 99 %% below %" G_GUINT64_FORMAT " us, longest %s\n",
           windows, mean, window_below_us(session, 0.99), longest);
}

static void print_state(JsonObject *session)
{
    const char *aside = ksm_reply_string(session, "stand_aside");
    const char *degraded = ksm_reply_string(session, "degraded");
    gint64 last_seen_ms = ksm_reply_int(session, "last_seen_ms"), node;

    printf("    state     %s%s%s%s%s (run mode %s)\n",
           ksm_reply_string(session, "state"), aside != NULL ? ": " : "",
           aside != NULL ? aside : "", degraded != NULL ? ", short of: " : "",
           degraded != NULL ? degraded : "", ksm_reply_string(session, "run"));
    if (last_seen_ms < 0) {
        printf("    last seen never\n");
    } else {
        printf("    last seen %.1f s ago\n", (double)last_seen_ms / 1000);
    }
    if (ksm_reply_node(session, &node)) {
        printf("    node      %" G_GINT64_FORMAT ": it shares only on this "
               "node\n",
               node);
    }
}

static void print_pace(JsonObject *session)
{
    g_autofree char *round =
        ksm_units_time_of_ns(ksm_reply_int(session, "round_ns"));
    g_autofree char *cpu =
        ksm_units_time_of_ns(ksm_reply_int(session, "cpu_ns"));
    g_autofree char *profit =
        ksm_units_mib_of_bytes(ksm_reply_int(session, "general_profit_bytes"));

    printf(
        "    cpu       %.2f %% now, %s in all; scan-cpu-percent %" G_GINT64_FORMAT
        "\n",
        ksm_reply_double(session, "cpu_percent"), cpu,
        ksm_reply_int(session, "scan_cpu_percent"));
    printf("    rounds    every %" G_GINT64_FORMAT
           " ms (scan-interval %" G_GINT64_FORMAT "), the last took %s\n",
           ksm_reply_int(session, "interval_ms"),
           ksm_reply_int(session, "scan_interval_ms"), round);
    printf("    mappings  %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT
           " allowed, %" G_GINT64_FORMAT " of them shared runs\n",
           ksm_reply_int(session, "mappings"),
           ksm_reply_int(session, "max_mappings"),
           ksm_reply_int(session, "runs"));
    printf("    profit    %s MiB (general_profit)\n", profit);
}

static void print_huge(JsonObject *session)
{
    gint64 keep = ksm_reply_int(session, "keep_huge");
    g_autofree char *parked =
        ksm_units_mib_of_pages(ksm_reply_int(session, "pages_parked"));
    g_autofree char *kept =
        ksm_units_mib_of_pages(ksm_reply_int(session, "pages_kept_huge"));

    if (keep > 0) {
        printf("    huge      keep-huge %" G_GINT64_FORMAT ": %s MiB of "
               "duplicates left unshared, %s MiB written all\n"
               "              the time and left alone, %" G_GINT64_FORMAT
               " times made huge again\n",
               keep, kept, parked, ksm_reply_int(session, "collapses"));
    }
}

static void print_vm(const KsmVm *vm)
{
    g_autofree char *group = ksm_vm_group_title(vm);
    guint i;

    printf("%s: group %s, user %" G_GINT64_FORMAT ", process %" G_GINT64_FORMAT
           "\n",
           vm->name, group, vm->uid, vm->pid);
    for (i = 0; i < vm->sessions->len; i++) {
        JsonObject *session = g_ptr_array_index(vm->sessions, i);

        printf("  %s\n", ksm_reply_string(session, "name"));
        print_state(session);
        print_pace(session);
        print_windows(session);
        print_huge(session);
        print_pages(session);
        print_counts(session);
    }
}

static gboolean run_vm(KsmCtl *ctl, char **args, GError **errp)
{
    g_autofree char *target = ksm_vm_target(args[0]);
    g_autoptr(GPtrArray) vms = NULL;
    guint i;

    if (!ksm_command_vms_of(ctl, target, &vms, errp)) {
        return FALSE;
    }
    for (i = 0; vms != NULL && i < vms->len; i++) {
        print_vm(g_ptr_array_index(vms, i));
    }
    return TRUE;
}

extern const KsmCommand ksm_command_vm;
const KsmCommand ksm_command_vm = {
    .name = "vm",
    .arguments = "VM",
    .summary = "All that is known about one VM",
    .details = "VM: its name (QEMU's -name), a memory backend's as in "
               "NAME/ram0, or pid:NUMBER.",
    .least = 1,
    .most = 1,
    .run = run_vm,
};
