/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kernel-faults.c: known faults of Linux in the calls that sharing uses.
 *
 * This is the only list of them: the engine, `guest-ksmctl check` and
 * docs/kernels.md use it, and tests/unit/test-kernel.c compares the document
 * with it.  A row belongs here if this project can trigger the fault: windows
 * of at most KSM_WINDOW_PAGES, so that a huge page never moves whole; x86-64;
 * the process's own memory; no hugetlbfs.  docs/kernels.md names the faults
 * that were left out.
 *
 * If no source says in which release of a series a fault was fixed, it counts
 * as unfixed in that series.
 */
#include "kernel.h"

const KsmKernelFault ksm_kernel_faults[] = {
    {
        .id = "CVE-2024-36943",
        .title = "fs/proc/task_mmu: fix loss of young/dirty bits during "
                 "pagemap scan",
        .what = "a page written while it is armed may count as clean, and "
                "the write is lost when it is swapped out",
        .effect = KSM_FAULT_CORRUPTS,
        .condition = KSM_FAULT_WITH_SWAP,
        .since = "6.7",
        .fixed = "6.8.10 6.9",
        .source = "CVE record; Debian's changelog",
    },
    {
        .id = "CVE-2025-21984",
        .title = "mm: fix kernel BUG when userfaultfd_move encounters "
                 "swapcache",
        .what = "a page that is being swapped out while it is moved is later "
                "found at the wrong address",
        .effect = KSM_FAULT_CRASHES,
        .condition = KSM_FAULT_WITH_SWAP,
        .since = "6.8",
        .fixed = "6.12.20 6.13.8 6.14",
        .source = "CVE record; Debian's changelog",
    },
    {
        .id = "CVE-2025-38242",
        .title = "mm: userfaultfd: fix race of userfaultfd_move and swap "
                 "cache",
        .what = "moving a swapped page may move a page of another process "
                "instead, or leave the page behind",
        .effect = KSM_FAULT_CORRUPTS,
        .condition = KSM_FAULT_WITH_SWAP,
        .since = "6.8",
        .fixed = "6.12.37 6.15.5 6.16",
        .source = "CVE record; Debian's changelog",
    },
    {
        .id = "058313515d5a",
        .title = "mm: shmem: fix potential data corruption during shmem "
                 "swapin",
        .what = "huge pages of the store come back from swap with wrong "
                "content",
        .effect = KSM_FAULT_CORRUPTS,
        .condition = KSM_FAULT_WITH_HUGE_STORE,
        .since = "6.12",
        .fixed = "6.12.78 6.14",
        .source = "Debian's changelog; it did not apply to 6.13",
    },
    {
        .id = "CVE-2025-38686",
        .title = "userfaultfd: fix a crash in UFFDIO_MOVE when PMD is a "
                 "migration entry",
        .what = "moving part of a huge page that the kernel is migrating",
        .effect = KSM_FAULT_CRASHES,
        .condition = KSM_FAULT_ALWAYS,
        .since = "6.8",
        .fixed = "6.12.43 6.15.11 6.16.2 6.17",
        .source = "CVE record; Debian's changelog",
    },
    {
        .id = "fe4cdc2c4e24",
        .title = "mm/userfaultfd: fix release hang over concurrent GUP",
        .what = "closing the tracker hangs while a device pins pages",
        .effect = KSM_FAULT_STALLS,
        .condition = KSM_FAULT_ALWAYS,
        .since = "6.8",
        .fixed = "6.12.24 6.15",
        .source = "Debian's changelog; its releases of 6.13 and 6.14 were not "
                  "found; kernels older than 6.8 also have it",
    },
    {
        .id = "8e80af52db65",
        .title = "userfaultfd: gate must_wait writability check on "
                 "pte_present()",
        .what = "a thread that was blocked by a window or a give-back may "
                "stay blocked after its end",
        .effect = KSM_FAULT_STALLS,
        .condition = KSM_FAULT_ALWAYS,
        .since = "6.8",
        .fixed = "6.12.96 6.18.40 7.1.5 7.2",
        .source = "Debian's changelog for 6.12; 6.18 and 7.1 by inference: "
                  "queued for all on 2026-07-03, and these came after 6.12.96; "
                  "kernels older than 6.8 also have it",
    },
    {
        .id = "move-livelock",
        .title = "userfaultfd: fix UFFDIO_MOVE livelock on large folio with "
                 "extra references",
        .what = "a window that takes part of a large folio with extra "
                "references lasts until these are dropped",
        .effect = KSM_FAULT_STALLS,
        .condition = KSM_FAULT_ALWAYS,
        .since = "6.8",
        .fixed = "6.12.118 7.3.4 7.4",
        .source = "Debian's changelog; other series, the first version with "
                  "it and its commit were not found; 7.4 by inference",
    },
};

const unsigned ksm_kernel_fault_count = sizeof(ksm_kernel_faults) /
                                        sizeof(ksm_kernel_faults[0]);
