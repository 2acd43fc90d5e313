/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-ksm.c: the kernel's own KSM, and whether our VMs are excluded from it.
 *
 * ksmd takes what a process offers by madvise(), and all of a process that was
 * started with PR_SET_MEMORY_MERGE (systemd's MemoryKSM=).  It knows no groups,
 * and a page that it has merged cannot be moved.  So what the engine has of a
 * QEMU must not be mergeable: its RAM, its mappings of the store, and where
 * pages are put in a window.
 *
 * What a process has done about KSM is in /proc/PID/ksm_stat and
 * ksm_merging_pages, a few bytes.  smaps is read only of one that merges or
 * may: reading it takes long, and holds up the process, where mappings are
 * many.
 */
#include "check/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vms.h"

#define KSM_RUN "/sys/kernel/mm/ksm/run"
#define STORE_NAME "/memfd:ksm-store:"

typedef struct Seen {
    guint looked, unknown;
} Seen;

/*
 * Whether a mapping is the engine's responsibility: of the store, tracked
 * (uw), or in a window or staged (um).  Its buffers look like other memory of
 * QEMU, some of which QEMU itself offers to ksmd (mem-merge=on).
 */
static gboolean is_ours(const char *head, const char *flags)
{
    return strstr(head, STORE_NAME) != NULL || strstr(flags, " uw") != NULL ||
           strstr(flags, " um") != NULL;
}

/* Mappings of ours that ksmd may merge; FALSE when they cannot be read. */
static gboolean count_mergeable(const char *path, guint *count)
{
    FILE *smaps = fopen(path, "re");
    g_autofree char *head = NULL;
    char *line = NULL;
    size_t size = 0;
    gboolean any = FALSE;

    while (smaps != NULL && getline(&line, &size, smaps) > 0) {
        unsigned long start, end;

        if (g_str_has_prefix(line, "VmFlags:")) {
            *count += head != NULL && strstr(line, " mg") != NULL &&
                      is_ours(head, line);
            any = TRUE;
        } else if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            g_free(head);
            head = g_strdup(line);
        }
    }
    free(line);
    if (smaps != NULL) {
        fclose(smaps);
    }
    return any;
}

/*
 * Whether ksmd has, or may have, something to do in a process.  Kernels before
 * the two fields leave that open.
 */
static gboolean may_merge(const char *merging, const char *stat)
{
    return g_strcmp0(merging, "0") != 0 || stat == NULL ||
           strstr(stat, "ksm_merge_any: no") == NULL ||
           strstr(stat, "ksm_mergeable: no") == NULL;
}

static char *read_of(const KsmCheck *check, const KsmVm *vm, const char *file)
{
    g_autofree char *path = g_strdup_printf("/proc/%" G_GINT64_FORMAT "/%s",
                                            vm->pid, file);

    return ksm_check_read(check, path);
}

static void check_vm(KsmCheck *check, const KsmVm *vm, Seen *seen)
{
    g_autofree char *merging = read_of(check, vm, "ksm_merging_pages");
    g_autofree char *stat = read_of(check, vm, "ksm_stat");
    g_autofree char *smaps = g_strdup_printf("%s/proc/%" G_GINT64_FORMAT
                                             "/smaps",
                                             check->root, vm->pid);
    guint count = 0;

    seen->looked++;
    if (may_merge(merging, stat) && !count_mergeable(smaps, &count)) {
        seen->unknown++;
    } else if (count > 0) {
        ksm_check_add(
            check, KSM_CHECK_WRONG, "kernel KSM",
            "it may merge, across groups, what '%s' (PID %" G_GINT64_FORMAT
            ") has in %u mappings: start QEMU "
            "without PR_SET_MEMORY_MERGE (systemd's MemoryKSM=), or "
            "echo 2 > " KSM_RUN,
            vm->name, vm->pid, count);
    }
}

static void check_running(KsmCheck *check, KsmClient *client)
{
    g_autoptr(GPtrArray) vms = ksm_vms_ask(client, NULL, NULL);
    guint before = check->lines->len, i;
    Seen seen = { 0 };

    for (i = 0; vms != NULL && i < vms->len; i++) {
        check_vm(check, g_ptr_array_index(vms, i), &seen);
    }
    if (check->lines->len > before) {
        return;
    }
    if (seen.unknown > 0) {
        ksm_check_add(check, KSM_CHECK_ADVICE, "kernel KSM",
                      "it also runs; whether %u of %u VMs are excluded from it "
                      "cannot be read: run this as root",
                      seen.unknown, seen.looked);
    } else {
        ksm_check_add(check, KSM_CHECK_ADVICE, "kernel KSM",
                      "it also runs, and the memory of %u VMs here is excluded "
                      "from it; only other memory benefits: if there is none, "
                      "echo 2 > " KSM_RUN,
                      seen.looked);
    }
}

void ksm_check_kernel_ksm(KsmCheck *check, KsmClient *client)
{
    g_autofree char *run = ksm_check_read(check, KSM_RUN);

    if (g_strcmp0(run, "1") == 0) {
        check_running(check, client);
    } else {
        ksm_check_add(check, KSM_CHECK_OK, "kernel KSM", "%s",
                      run != NULL ? "it does not run" : "there is none");
    }
}
