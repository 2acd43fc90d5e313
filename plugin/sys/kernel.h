/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kernel.h: the version of the running kernel and its known faults. */
#ifndef KSM_KERNEL_H
#define KSM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KSM_KERNEL_TEXT 24u /* holds any version, with its NUL */

typedef struct KsmKernelVersion {
    unsigned major, minor, patch;
    /*
     * A distribution kernel that keeps an old release number and backports
     * fixes: the number does not tell which fixes it has.
     */
    bool vendor;
} KsmKernelVersion;

typedef enum KsmFaultEffect {
    KSM_FAULT_CORRUPTS, /* guest memory is at risk */
    KSM_FAULT_CRASHES,  /* the host */
    KSM_FAULT_STALLS,   /* a guest hangs, forever or for long */
} KsmFaultEffect;

typedef enum KsmFaultCondition {
    KSM_FAULT_ALWAYS,
    KSM_FAULT_WITH_SWAP,
    KSM_FAULT_WITH_HUGE_STORE, /* swap, and the store may use huge pages */
} KsmFaultCondition;

/*
 * Versions are texts separated by one space: "6.12.37" is where the series
 * 6.12 was fixed; "6.16" means that release and all later ones.
 */
typedef struct KsmKernelFault {
    const char *id;    /* CVE, or commit, or a short name */
    const char *title; /* of the commit that fixes it */
    const char *what;  /* effect on this project */
    KsmFaultEffect effect;
    KsmFaultCondition condition;
    const char *since;
    const char *fixed;
    const char *source; /* of the versions; what was not found */
} KsmKernelFault;

/* Defined in kernel-faults.c; at most 32 rows. */
extern const KsmKernelFault ksm_kernel_faults[];
extern const unsigned ksm_kernel_fault_count;

/* Properties of the host that a fault may depend on. */
typedef struct KsmKernelHost {
    bool swap; /* includes zram; zswap needs swap */
    bool huge_store;
} KsmKernelHost;

/* 0, or -EINVAL if release does not begin with two numbers. */
int ksm_kernel_parse(const char *release, KsmKernelVersion *version);

/* Reads files below root ("" for this host); unreadable ones count as true. */
void ksm_kernel_probe(const char *root, KsmKernelHost *host);

/* By release number only; a vendor's kernel may have the fix. */
bool ksm_kernel_has(const KsmKernelVersion *version,
                    const KsmKernelFault *fault);

/* The faults of a version: bit i is ksm_kernel_faults[i]. */
uint32_t ksm_kernel_find(const KsmKernelVersion *version);

/* The subset with this effect whose condition holds on the host. */
uint32_t ksm_kernel_filter(uint32_t faults, KsmFaultEffect effect,
                           const KsmKernelHost *host);

/* The subset that a later release of the same series has fixed. */
uint32_t ksm_kernel_in_series(const KsmKernelVersion *version, uint32_t faults);

/* The lowest later version without any of these faults; "" if none. */
void ksm_kernel_better(const KsmKernelVersion *version, uint32_t faults,
                       char text[KSM_KERNEL_TEXT]);

/* Formats a version, such as "6.12.37". */
void ksm_kernel_print(const KsmKernelVersion *version,
                      char text[KSM_KERNEL_TEXT]);

#endif /* KSM_KERNEL_H */
