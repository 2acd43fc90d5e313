/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kernel.h: which kernel this is, and what is known to be wrong with it.
 */
#ifndef KSM_KERNEL_H
#define KSM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KSM_KERNEL_TEXT 24u     /* holds any version, with its NUL */

typedef struct KsmKernelVersion {
    unsigned major, minor, patch;
    /*
     * A distribution's that keeps the number of an old release and mends it
     * by its own patches: the number tells nothing of those.
     */
    bool vendor;
} KsmKernelVersion;

typedef enum KsmFaultEffect {
    KSM_FAULT_CORRUPTS,         /* guest memory is at risk */
    KSM_FAULT_CRASHES,          /* the host */
    KSM_FAULT_STALLS,           /* a guest, for good or for long */
} KsmFaultEffect;

typedef enum KsmFaultCondition {
    KSM_FAULT_ALWAYS,
    KSM_FAULT_WITH_SWAP,
    KSM_FAULT_WITH_HUGE_STORE,  /* swap, and the store may have huge pages */
} KsmFaultCondition;

/*
 * Versions are texts with one blank between two: "6.12.37" is where the series
 * 6.12 was mended, "6.16" means that release and all that follow it.
 */
typedef struct KsmKernelFault {
    const char *id;             /* CVE, else commit, else a short name */
    const char *title;          /* of the commit that mends it */
    const char *what;           /* goes wrong, for us */
    KsmFaultEffect effect;
    KsmFaultCondition condition;
    const char *since;
    const char *fixed;
    const char *source;         /* of the versions; what was not found */
} KsmKernelFault;

/* kernel-faults.c; at most 32. */
extern const KsmKernelFault ksm_kernel_faults[];
extern const unsigned ksm_kernel_fault_count;

/* What a fault may depend on. */
typedef struct KsmKernelHost {
    bool swap;                  /* zram counts; zswap needs swap */
    bool huge_store;
} KsmKernelHost;

/* -EINVAL when it does not begin with two numbers. */
int ksm_kernel_parse(const char *release, KsmKernelVersion *version);

/* Below root ("" for this host); what cannot be read counts as true. */
void ksm_kernel_probe(const char *root, KsmKernelHost *host);

/* Whether release numbers say so; a vendor's kernel may have it mended. */
bool ksm_kernel_has(const KsmKernelVersion *version,
                    const KsmKernelFault *fault);

/* The faults that it has, one bit for each place in ksm_kernel_faults. */
uint32_t ksm_kernel_find(const KsmKernelVersion *version);

/* Those of them with this effect, whose condition holds on the host. */
uint32_t ksm_kernel_filter(uint32_t faults, KsmFaultEffect effect,
                           const KsmKernelHost *host);

/* Those of them that a later version of the same series has mended. */
uint32_t ksm_kernel_in_series(const KsmKernelVersion *version,
                              uint32_t faults);

/* The lowest later version that has none of these faults; "" for none. */
void ksm_kernel_better(const KsmKernelVersion *version, uint32_t faults,
                       char text[KSM_KERNEL_TEXT]);

/* "6.12.37". */
void ksm_kernel_print(const KsmKernelVersion *version,
                      char text[KSM_KERNEL_TEXT]);

#endif /* KSM_KERNEL_H */
