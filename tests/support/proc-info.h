/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * proc-info.h: readings of /proc about this process, independent of the
 * engine's own statistics.
 */
#ifndef TEST_PROC_INFO_H
#define TEST_PROC_INFO_H

#include <glib.h>

/** What /proc/self/smaps says of an address range, in KiB. */
typedef struct KsmTestMaps {
    guint64 mappings;      /* lines of /proc/self/maps in the range */
    guint64 file_mappings; /* those of a file (the store) */
    guint64 rss_kib;
    guint64 pss_kib;
    guint64 anonymous_kib;
    guint64 huge_kib;      /* AnonHugePages */
    gboolean uffd;         /* some mapping is registered (um or uw) */
    gboolean mergeable;    /* some mapping is (mg) */
    gboolean huge_advised; /* some mapping is MADV_HUGEPAGE (hg) */
} KsmTestMaps;

void ksm_test_maps_read(const void *addr, guint64 bytes, KsmTestMaps *maps);

/**
 * How many of these pages of anonymous memory are not this process's own: they
 * belong to a file, or to the kernel's KSM.  Reads each.  Needs root.
 */
guint64 ksm_test_count_foreign(const void *addr, guint64 pages);

/** Whether ksmd may merge any mapping that overlaps the range. */
gboolean ksm_test_is_mergeable(const void *addr, guint64 bytes);

/** All mappings, open descriptors and threads of this process. */
guint64 ksm_test_count_mappings(void);
guint64 ksm_test_count_fds(void);
guint64 ksm_test_count_threads(void);

/** The descriptors as text, one a line: for a failure's message. */
char *ksm_test_list_fds(void);

/** How many different stores these processes have mapped, all together. */
guint ksm_test_count_stores(const int *pids, guint count);

/** A line "NAME: value kB" of /proc/PID/status, in KiB; 0 if not there. */
guint64 ksm_test_status_kib(int pid, const char *name);

#endif /* TEST_PROC_INFO_H */
