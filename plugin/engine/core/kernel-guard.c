/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kernel-guard.c: no moving of pages on a kernel that may corrupt them.
 *
 * All known faults of that kind (kernel-faults.c) require swap.  It would not
 * be enough to skip pages that are swapped out now: the kernel can swap a page
 * out or in between the check and the move; a page in the swap cache is
 * present; and a page that was present when moved may be swapped out when a
 * window puts it back, and that move cannot be skipped.  So the engine stands
 * aside as long as the host has swap, and checks again at each safe point, at
 * most ten times a second.  Newly added swap is empty at first.
 *
 * Shared pages stay shared: they are no longer anonymous memory, and no window
 * moves them.  The program starts and runs as without sharing.
 *
 * A vendor kernel's number does not tell which fixes it has, so it is allowed:
 * `guest-ksmctl check` says what to ask the vendor.
 */
#include "core/kernel-guard.h"

#include <string.h>

#include "ksm-protocol.h"
#include "sys.h"

#define KSM_KERNEL_PROBE_NS 100000000u
#define KSM_RELEASE_BYTES 128u

/* A host that meets every condition. */
static const KsmKernelHost worst_host = { .swap = true, .huge_store = true };

void ksm_kernel_guard_init(KsmKernelGuard *guard)
{
    char release[KSM_RELEASE_BYTES];

    memset(guard, 0, sizeof(*guard));
    if (!ksm_sys->kernel_release(release, sizeof(release)) &&
        !ksm_kernel_parse(release, &guard->version) && !guard->version.vendor) {
        guard->faults = ksm_kernel_filter(ksm_kernel_find(&guard->version),
                                          KSM_FAULT_CORRUPTS, &worst_host);
    }
}

/* The corrupting faults that can occur with the host's current setup. */
static guint32 find_met(const KsmKernelGuard *guard)
{
    KsmKernelHost host;

    ksm_sys->kernel_probe("", &host);
    return ksm_kernel_filter(guard->faults, KSM_FAULT_CORRUPTS, &host);
}

static const char *make_reason(const KsmKernelGuard *guard, guint32 met)
{
    char now[KSM_KERNEL_TEXT], better[KSM_KERNEL_TEXT];
    char text[KSM_ASIDE_BYTES];

    ksm_kernel_print(&guard->version, now);
    ksm_kernel_better(&guard->version, met, better);
    g_snprintf(text, sizeof(text),
               "swap is on and Linux %s mishandles it: "
               "update to %s",
               now, better);
    return g_intern_string(text);
}

const char *ksm_kernel_guard_reason(KsmKernelGuard *guard)
{
    guint64 now;
    guint32 met;

    if (!guard->faults) {
        return NULL;
    }
    now = ksm_sys_now_ns();
    if (!guard->probed_ns || now - guard->probed_ns >= KSM_KERNEL_PROBE_NS) {
        met = find_met(guard);
        guard->reason = met ? make_reason(guard, met) : NULL;
        guard->probed_ns = now;
    }
    return guard->reason;
}

void ksm_kernel_guard_warn(KsmKernelGuard *guard, const char *name)
{
    guint32 met = guard->faults ? find_met(guard) : 0;
    g_autoptr(GString) ids = g_string_new(NULL);
    char now[KSM_KERNEL_TEXT], better[KSM_KERNEL_TEXT];
    guint i;

    if (!met) {
        return;
    }
    for (i = 0; i < ksm_kernel_fault_count; i++) {
        if (met & 1u << i) {
            g_string_append_printf(ids, "%s%s", ids->len ? ", " : "",
                                   ksm_kernel_faults[i].id);
        }
    }
    ksm_kernel_print(&guard->version, now);
    ksm_kernel_better(&guard->version, met, better);
    g_warning("Linux %s may damage memory that is swapped (%s): '%s' does "
              "not share memory while swap is on; update to %s, or switch "
              "swap off",
              now, ids->str, name, better);
}
