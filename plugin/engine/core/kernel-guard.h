/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kernel-guard.h: no moving of pages on a kernel that may damage them. */
#ifndef KSM_KERNEL_GUARD_H
#define KSM_KERNEL_GUARD_H

#include <glib.h>

#include "kernel.h"

typedef struct KsmKernelGuard {
    KsmKernelVersion version;
    guint32 faults;             /* that corrupt, whatever the condition */
    guint64 probed_ns;          /* at the host, last */
    const char *reason;         /* found then; lives for ever */
} KsmKernelGuard;

/** Finds out which kernel this is. */
void ksm_kernel_guard_init(KsmKernelGuard *guard);

/**
 * Why pages must not be moved now, or NULL: text that lives for ever and fits
 * KSM_ASIDE_BYTES.  Looks at the host ten times a second at most, and never on
 * a good kernel.  Scanner thread.
 */
const char *ksm_kernel_guard_reason(KsmKernelGuard *guard);

/** Says at length, by a warning, what is wrong for @name, if something is. */
void ksm_kernel_guard_warn(KsmKernelGuard *guard, const char *name);

#endif /* KSM_KERNEL_GUARD_H */
