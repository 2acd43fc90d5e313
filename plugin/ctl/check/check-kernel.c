/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check-kernel.c: whether this kernel will do, and what is known of it. */
#include "check/check.h"

#include <sys/utsname.h>
#include <unistd.h>

#include "kernel.h"

#define MIN_MAJOR 6
#define MIN_MINOR 8

/* "CVE-2025-38242, 8e80af52db65"; free with g_free(). */
static char *list_faults(guint32 faults)
{
    g_autoptr(GString) list = g_string_new(NULL);
    guint i;

    for (i = 0; i < ksm_kernel_fault_count; i++) {
        if (faults & 1u << i) {
            g_string_append_printf(list, "%s%s", list->len > 0 ? ", " : "",
                                   ksm_kernel_faults[i].id);
        }
    }
    return g_string_free(g_steal_pointer(&list), FALSE);
}

static void append_class(GString *text, const char *words, guint32 faults)
{
    g_autofree char *list = list_faults(faults);

    if (faults != 0) {
        g_string_append_printf(text, "%s%s (%s)", text->len > 0 ? ", " : "",
                               words, list);
    }
}

/* Whatever condition a fault has. */
static const KsmKernelHost worst = { .swap = true, .huge_store = true };

/* What may happen, by class; free with g_free(). */
static char *describe(guint32 faults, const KsmKernelHost *host)
{
    g_autoptr(GString) text = g_string_new(NULL);
    guint32 crashing = ksm_kernel_filter(faults, KSM_FAULT_CRASHES, host);

    append_class(text,
                 host->swap ? "damaged memory, were shmem_enabled not "
                              "\"never\"" :
                              "damaged memory, were swap on",
                 ksm_kernel_filter(faults, KSM_FAULT_CORRUPTS, &worst));
    append_class(text, "a crash of the host", crashing);
    append_class(text, "a crash of the host, were swap on",
                 ksm_kernel_filter(faults, KSM_FAULT_CRASHES, &worst) &
                     ~crashing);
    append_class(text, "a guest that hangs",
                 ksm_kernel_filter(faults, KSM_FAULT_STALLS, &worst));
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/*
 * Where to go; free with g_free().  In this series, if nothing is left there
 * but what stalls.
 */
static char *remedy(const KsmKernelVersion *version, guint32 faults)
{
    guint32 here = ksm_kernel_in_series(version, faults);
    guint32 elsewhere = faults & ~here;
    guint32 stalls = ksm_kernel_filter(faults, KSM_FAULT_STALLS, &worst);
    char better[KSM_KERNEL_TEXT], later[KSM_KERNEL_TEXT];
    g_autofree char *list = list_faults(elsewhere);

    if (here == 0 || elsewhere == 0 || (elsewhere & ~stalls) != 0) {
        ksm_kernel_better(version, faults, better);
        return g_strdup(better);
    }
    ksm_kernel_better(version, here, better);
    ksm_kernel_better(version, elsewhere, later);
    return g_strdup_printf("%s (%s: to %s)", better, list, later);
}

static void add_known(KsmCheck *check, const char *release,
                      const KsmKernelVersion *version, guint32 faults)
{
    g_autofree char *all = remedy(version, faults), *what = NULL;
    g_autofree char *safe = NULL, *list = NULL, *more = NULL;
    KsmKernelHost host;
    guint32 corrupting;

    ksm_kernel_probe(check->root, &host);
    corrupting = ksm_kernel_filter(faults, KSM_FAULT_CORRUPTS, &host);
    what = describe(faults & ~corrupting, &host);
    if (corrupting == 0) {
        ksm_check_add(check, KSM_CHECK_ADVICE, "kernel",
                      "Linux %s has known faults: %s; update to %s", release,
                      what, all);
        return;
    }
    list = list_faults(corrupting);
    safe = remedy(version, corrupting);
    more = *what != '\0' ?
               g_strdup_printf("; also known: %s; update to %s for all", what,
                               all) :
               g_strdup("");
    ksm_check_add(check, KSM_CHECK_WRONG, "kernel",
                  "Linux %s may damage memory that is swapped (%s), and swap "
                  "is on: update to %s, or switch swap off%s",
                  release, list, safe, more);
}

/* Its version does not show what was fixed: no verdict would be right. */
static void add_vendor(KsmCheck *check, const char *release, guint32 faults)
{
    g_autofree char *list = list_faults(faults);
    KsmKernelHost host;

    ksm_kernel_probe(check->root, &host);
    ksm_check_add(check, KSM_CHECK_ADVICE, "kernel",
                  "Linux %s is a vendor's: what is fixed in it cannot be "
                  "determined from the version; ask the vendor for %s%s",
                  release, list,
                  host.swap ? ", and switch swap off until then" : "");
}

static void check_release(KsmCheck *check, const char *release,
                          const KsmKernelVersion *version)
{
    guint32 faults = ksm_kernel_find(version);

    if (faults == 0) {
        ksm_check_add(check, KSM_CHECK_OK, "kernel", "Linux %s", release);
    } else if (version->vendor) {
        add_vendor(check, release, faults);
    } else {
        add_known(check, release, version, faults);
    }
}

void ksm_check_kernel(KsmCheck *check)
{
    g_autofree char *release = ksm_check_read(check,
                                              "/proc/sys/kernel/osrelease");
    KsmKernelVersion version;
    struct utsname host;

    uname(&host);
    if (release == NULL || ksm_kernel_parse(release, &version) != 0) {
        ksm_check_add(check, KSM_CHECK_ADVICE, "kernel",
                      "its release cannot be read");
    } else if (version.major < MIN_MAJOR ||
               (version.major == MIN_MAJOR && version.minor < MIN_MINOR)) {
        ksm_check_add(check, KSM_CHECK_WRONG, "kernel",
                      "Linux %s is too old: run 6.12 or later (at least "
                      "6.8)",
                      release);
    } else if (g_strcmp0(host.machine, "x86_64") != 0 ||
               sysconf(_SC_PAGESIZE) != 4096) {
        ksm_check_add(check, KSM_CHECK_WRONG, "kernel",
                      "only x86_64 with pages of 4 KiB is supported");
    } else {
        check_release(check, release, &version);
    }
}
