/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kernel-guard.h: do not move pages on a kernel that may corrupt them. */
#ifndef KSM_KERNEL_GUARD_H
#define KSM_KERNEL_GUARD_H

#include <glib.h>

#include "kernel.h"

typedef struct KsmKernelGuard {
    KsmKernelVersion version;
    guint32 faults;     /* that corrupt, ignoring conditions */
    guint64 probed_ns;  /* time of the last probe of the host */
    const char *reason; /* its result; never freed */
} KsmKernelGuard;

/** Determines the version of the running kernel. */
void ksm_kernel_guard_init(KsmKernelGuard *guard);

/**
 * Returns why pages must not be moved now, or NULL: text that is never freed
 * and fits KSM_ASIDE_BYTES.  Probes the host at most ten times a second, and
 * never on a kernel without faults.  Scanner thread.
 */
const char *ksm_kernel_guard_reason(KsmKernelGuard *guard);

/** Logs a warning with the details for @name if there is a fault. */
void ksm_kernel_guard_warn(KsmKernelGuard *guard, const char *name);

#endif /* KSM_KERNEL_GUARD_H */
