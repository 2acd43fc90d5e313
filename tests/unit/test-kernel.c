/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-kernel.c: the table of the kernel's faults, what is found in it for a
 * release, what the engine does about it, and that docs/kernels.md has the
 * same.
 */
#include <string.h>

#include <glib/gstdio.h>

#include "core/kernel-guard.h"
#include "ksm-protocol.h"
#include "sys.h"

static KsmSys table;
static const char *release;
static KsmKernelHost host;
static guint looks;

static int odd_release(char *to, size_t bytes)
{
    g_strlcpy(to, release, bytes);
    return 0;
}

static void odd_look(const char *root, KsmKernelHost *found)
{
    g_assert_cmpstr(root, ==, "");
    looks++;
    *found = host;
}

static const KsmKernelFault *find_fault(const char *id)
{
    guint i;

    for (i = 0; i < ksm_kernel_fault_count; i++) {
        if (strcmp(ksm_kernel_faults[i].id, id) == 0) {
            return &ksm_kernel_faults[i];
        }
    }
    g_error("no fault %s", id);
}

static KsmKernelVersion parse(const char *text)
{
    KsmKernelVersion version;

    g_assert_cmpint(ksm_kernel_parse(text, &version), ==, 0);
    return version;
}

static void test_releases(void)
{
    static const struct {
        const char *text;
        guint major, minor, patch;
        gboolean vendor;
    } rows[] = {
        { "6.12.37", 6, 12, 37, FALSE },
        { "6.16", 6, 16, 0, FALSE },
        { "6.16.0-rc3+", 6, 16, 0, FALSE },
        { "7.3.4-1~bpo13+1", 7, 3, 4, FALSE },
        { "6.12.43+deb13-amd64", 6, 12, 43, FALSE },
        { "6.15.4-200.fc42.x86_64", 6, 15, 4, FALSE },
        { "6.18.0-65.fc44.x86_64", 6, 18, 0, FALSE },
        { "6.15.4-arch2-1", 6, 15, 4, FALSE },
        { "6.18.0-arch1-1", 6, 18, 0, FALSE },
        { "6.18.44-fc-v669", 6, 18, 44, FALSE },
        { "6.8.0-31-generic", 6, 8, 0, TRUE },
        { "6.8.0-1029-aws", 6, 8, 0, TRUE },
        { "6.12.0-55.9.1.el10_0.x86_64", 6, 12, 0, TRUE },
        { "6.12.0-100.28.2.el10uek.x86_64", 6, 12, 0, TRUE },
        { "6.12.0-160000.5-default", 6, 12, 0, TRUE },
        { "6.8.12-10-pve", 6, 8, 12, TRUE },
        { "6.8.1-1037-realtime", 6, 8, 1, TRUE },
        { "6.12.43+deb13-rt-amd64", 6, 12, 43, FALSE },
    };
    KsmKernelVersion version;
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        version = parse(rows[i].text);
        g_test_message("%s", rows[i].text);
        g_assert_cmpuint(version.major, ==, rows[i].major);
        g_assert_cmpuint(version.minor, ==, rows[i].minor);
        g_assert_cmpuint(version.patch, ==, rows[i].patch);
        g_assert_cmpint(version.vendor, ==, rows[i].vendor);
    }
    g_assert_cmpint(ksm_kernel_parse("Linux", &version), <, 0);
    g_assert_cmpint(ksm_kernel_parse("", &version), <, 0);
    g_assert_cmpint(ksm_kernel_parse("6", &version), <, 0);
}

static void test_has(void)
{
    static const struct {
        const char *id, *text;
        gboolean has;
    } rows[] = {
        { "CVE-2025-38242", "6.7.12", FALSE },
        { "CVE-2025-38242", "6.8.0", TRUE },
        { "CVE-2025-38242", "6.12.36", TRUE },
        { "CVE-2025-38242", "6.12.37", FALSE },
        { "CVE-2025-38242", "6.13.12", TRUE },
        { "CVE-2025-38242", "6.14.11", TRUE },
        { "CVE-2025-38242", "6.15.4", TRUE },
        { "CVE-2025-38242", "6.15.5", FALSE },
        { "CVE-2025-38242", "6.16", FALSE },
        { "CVE-2025-38242", "6.18.1", FALSE },
        { "CVE-2025-38242", "7.0", FALSE },
        { "CVE-2025-21984", "6.12.19", TRUE },
        { "CVE-2025-21984", "6.12.20", FALSE },
        { "CVE-2024-36943", "6.8.9", TRUE },
        { "CVE-2024-36943", "6.8.10", FALSE },
        { "CVE-2024-36943", "6.9", FALSE },
        { "058313515d5a", "6.11.11", FALSE },
        { "058313515d5a", "6.12.77", TRUE },
        { "058313515d5a", "6.12.78", FALSE },
        { "CVE-2025-38686", "6.16.1", TRUE },
        { "CVE-2025-38686", "6.16.2", FALSE },
        { "8e80af52db65", "6.12.95", TRUE },
        { "8e80af52db65", "6.12.96", FALSE },
        { "8e80af52db65", "7.2.0", FALSE },
        { "move-livelock", "7.3.3", TRUE },
        { "move-livelock", "7.3.4", FALSE },
        { "move-livelock", "6.12.118", FALSE },
        { "move-livelock", "6.18.44", TRUE },
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        KsmKernelVersion version = parse(rows[i].text);

        g_test_message("%s in %s", rows[i].id, rows[i].text);
        g_assert_cmpint(ksm_kernel_has(&version, find_fault(rows[i].id)), ==,
                        rows[i].has);
    }
}

static void test_better(void)
{
    static const struct {
        const char *text, *better, *corrupting;
    } rows[] = {
        { "6.8.0", "6.12.118", "6.12.37" },
        { "6.12.20", "6.12.118", "6.12.37" },
        { "6.12.117", "6.12.118", "" },
        { "6.14.11", "7.3.4", "6.15.5" },
        { "6.18.20", "7.3.4", "" },
        { "7.3.4", "", "" },
    };
    static const KsmKernelHost swap_only = { .swap = true };
    char text[KSM_KERNEL_TEXT];
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        KsmKernelVersion version = parse(rows[i].text);
        guint32 faults = ksm_kernel_find(&version);

        ksm_kernel_better(&version, faults, text);
        g_assert_cmpstr(text, ==, rows[i].better);
        ksm_kernel_better(&version,
                          ksm_kernel_filter(faults, KSM_FAULT_CORRUPTS,
                                            &swap_only),
                          text);
        g_assert_cmpstr(text, ==, rows[i].corrupting);
    }
}

/* Each version of a list can be read, and is later than `since`. */
static void check_list(const KsmKernelFault *fault)
{
    g_auto(GStrv) words = g_strsplit(fault->fixed, " ", -1);
    KsmKernelVersion since = parse(fault->since), version;
    char text[KSM_KERNEL_TEXT];
    guint i;

    g_assert_true(ksm_kernel_has(&since, fault));
    for (i = 0; words[i] != NULL; i++) {
        version = parse(words[i]);
        ksm_kernel_print(&version, text);
        g_assert_cmpstr(text, ==, words[i]);
        g_assert_false(ksm_kernel_has(&version, fault));
    }
    /* The last one is a release, so that nothing later has it. */
    g_assert_cmpuint(version.patch, ==, 0);
}

static void test_table(void)
{
    guint i, k;

    g_assert_cmpuint(ksm_kernel_fault_count, <=, 32);
    for (i = 0; i < ksm_kernel_fault_count; i++) {
        const KsmKernelFault *fault = &ksm_kernel_faults[i];

        check_list(fault);
        g_assert_true(*fault->what != '\0' && *fault->source != '\0');
        /* The engine's way out is a host without swap. */
        g_assert_true(fault->effect != KSM_FAULT_CORRUPTS ||
                      fault->condition != KSM_FAULT_ALWAYS);
        for (k = 0; k < i; k++) {
            g_assert_cmpstr(fault->id, !=, ksm_kernel_faults[k].id);
        }
    }
}

static void write_below(const char *root, const char *path, const char *text)
{
    g_autofree char *whole = g_build_filename(root, path, NULL);
    g_autofree char *dir = g_path_get_dirname(whole);

    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    g_assert_true(g_file_set_contents(whole, text, -1, NULL));
}

static void look_at(const char *root, gboolean swap, gboolean huge)
{
    KsmKernelHost found;

    ksm_kernel_probe(root, &found);
    g_assert_cmpint(found.swap, ==, swap);
    g_assert_cmpint(found.huge_store, ==, huge);
}

#define SWAPS "proc/swaps"
#define HEAD "Filename\tType\tSize\tUsed\tPriority\n"
#define THP "sys/kernel/mm/transparent_hugepage/"

static void test_host(void)
{
    g_autofree char *root = g_dir_make_tmp("ksm-kernel-XXXXXX", NULL);
    g_autofree char *all = g_strdup_printf("rm -r %s", root);
    g_autofree char *swaps = g_build_filename(root, SWAPS, NULL);

    look_at(root, FALSE, FALSE);
    write_below(root, SWAPS, HEAD);
    look_at(root, FALSE, FALSE);
    write_below(root, SWAPS, HEAD "/dev/zram0 partition 8388604 0 100\n");
    look_at(root, TRUE, FALSE);
    write_below(root, THP "shmem_enabled",
                "always within_size advise [never] deny force\n");
    write_below(root, THP "hugepages-64kB/shmem_enabled",
                "always [inherit] within_size advise never\n");
    look_at(root, TRUE, FALSE);
    write_below(root, THP "hugepages-64kB/shmem_enabled",
                "[always] inherit within_size advise never\n");
    look_at(root, TRUE, TRUE);
    /* What cannot be read counts as true. */
    g_assert_cmpint(g_remove(swaps), ==, 0);
    g_assert_cmpint(g_mkdir(swaps, 0700), ==, 0);
    look_at(root, TRUE, TRUE);
    g_assert_true(g_spawn_command_line_sync(all, NULL, NULL, NULL, NULL));
}

static void set_up(KsmKernelGuard *guard, const char *text)
{
    table = ksm_sys_linux;
    table.kernel_release = odd_release;
    table.kernel_probe = odd_look;
    ksm_sys = &table;
    release = text;
    looks = 0;
    ksm_kernel_guard_init(guard);
}

static const char *reason_on(const char *text, gboolean swap, gboolean huge)
{
    const char *reason;
    KsmKernelGuard guard;

    host.swap = swap;
    host.huge_store = huge;
    set_up(&guard, text);
    reason = ksm_kernel_guard_reason(&guard);
    g_assert_true(reason == NULL || strlen(reason) < KSM_ASIDE_BYTES);
    return reason;
}

static void test_guard(void)
{
    static const char *const good[] = {
        "6.12.78", "6.12.118", "6.15.5",           "6.16.0",
        "6.18.44", "7.3.4",    "6.8.0-31-generic", "6.12.0-55.el10_0.x86_64",
        "odd",
    };
    guint i;

    g_assert_cmpstr(reason_on("6.12.36", TRUE, FALSE), ==,
                    "swap is on and Linux 6.12.36 mishandles it: "
                    "update to 6.12.37");
    g_assert_cmpstr(reason_on("6.8.9", TRUE, FALSE), ==,
                    "swap is on and Linux 6.8.9 mishandles it: "
                    "update to 6.12.37");
    g_assert_cmpstr(reason_on("6.14.11", TRUE, TRUE), ==,
                    "swap is on and Linux 6.14.11 mishandles it: "
                    "update to 6.15.5");
    g_assert_null(reason_on("6.12.36", FALSE, TRUE));
    /* A fault of the store alone: only where that can have huge pages. */
    g_assert_null(reason_on("6.12.43+deb13-amd64", TRUE, FALSE));
    g_assert_cmpstr(reason_on("6.12.43+deb13-amd64", TRUE, TRUE), ==,
                    "swap is on and Linux 6.12.43 mishandles it: "
                    "update to 6.12.78");
    for (i = 0; i < G_N_ELEMENTS(good); i++) {
        g_assert_null(reason_on(good[i], TRUE, TRUE));
        g_assert_cmpuint(looks, ==, 0);
    }
}

/* Swap that comes and goes is seen, but not asked for at every turn. */
static void test_guard_looks_again(void)
{
    const KsmKernelHost with_swap = { .swap = true };
    KsmKernelGuard guard;
    gint64 end;

    memset(&host, 0, sizeof(host));
    set_up(&guard, "6.12.20");
    g_assert_null(ksm_kernel_guard_reason(&guard));
    g_assert_null(ksm_kernel_guard_reason(&guard));
    g_assert_cmpuint(looks, ==, 1);
    host = with_swap;
    end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    while (!ksm_kernel_guard_reason(&guard)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(5000);
    }
    g_assert_cmpuint(looks, ==, 2);
    memset(&host, 0, sizeof(host));
    while (ksm_kernel_guard_reason(&guard)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(5000);
    }
}

static void test_guard_warns(void)
{
    KsmKernelGuard guard;

    host.swap = TRUE;
    host.huge_store = FALSE;
    set_up(&guard, "6.12.20");
    g_test_expect_message(
        NULL, G_LOG_LEVEL_WARNING,
        "Linux 6.12.20 may damage memory that is swapped "
        "(CVE-2025-38242): 'vm' does not share memory *update "
        "to "
        "6.12.37, or switch swap off");
    ksm_kernel_guard_warn(&guard, "vm");
    g_test_assert_expected_messages();
    host.swap = FALSE;
    ksm_kernel_guard_warn(&guard, "vm");
    set_up(&guard, "6.12.118");
    host.swap = TRUE;
    ksm_kernel_guard_warn(&guard, "vm");
}

/* A row of docs/kernels.md. */
static char *make_row(const KsmKernelFault *fault)
{
    static const char *const effects[] = { "corrupts", "crashes", "stalls" };
    static const char *const conditions[] = {
        "always",
        "with swap",
        "with swap and `shmem_enabled` not `never`",
    };
    g_auto(GStrv) words = g_strsplit(fault->fixed, " ", -1);
    g_autofree char *fixed = g_strjoinv(", ", words);

    return g_strdup_printf("| %s | %s: %s | %s, %s | %s | %s | %s |\n",
                           fault->id, fault->title, fault->what,
                           effects[fault->effect], conditions[fault->condition],
                           fault->since, fixed, fault->source);
}

static guint count_lines(const char *text, const char *prefix)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint count = 0, i;

    for (i = 0; lines[i] != NULL; i++) {
        count += g_str_has_prefix(lines[i], prefix);
    }
    return count;
}

static void test_docs(void)
{
    g_autofree char *text = NULL;
    guint i;

    g_assert_true(g_file_get_contents(KSM_SOURCE_ROOT "/docs/kernels.md", &text,
                                      NULL, NULL));
    for (i = 0; i < ksm_kernel_fault_count; i++) {
        g_autofree char *row = make_row(&ksm_kernel_faults[i]);

        if (strstr(text, row) == NULL) {
            g_test_message("docs/kernels.md lacks this row:\n%s", row);
            g_test_fail();
        }
    }
    /* A head and a rule above them, and no row of old. */
    g_assert_cmpuint(count_lines(text, "| "), ==, ksm_kernel_fault_count + 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kernel/releases", test_releases);
    g_test_add_func("/kernel/has", test_has);
    g_test_add_func("/kernel/better", test_better);
    g_test_add_func("/kernel/table", test_table);
    g_test_add_func("/kernel/host", test_host);
    g_test_add_func("/kernel/guard", test_guard);
    g_test_add_func("/kernel/guard-looks-again", test_guard_looks_again);
    g_test_add_func("/kernel/guard-warns", test_guard_warns);
    g_test_add_func("/kernel/docs", test_docs);
    return g_test_run();
}
