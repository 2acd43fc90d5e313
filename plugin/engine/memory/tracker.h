/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tracker.h: which pages were written since the last scan. */
#ifndef KSM_TRACKER_H
#define KSM_TRACKER_H

#include "memory/piece.h"
#include "memory/ram.h"

typedef struct KsmTracker {
    int uffd; /* also used by the isolation */
    int pagemap;
    struct page_region *ranges; /* KSM_TRACKER_RANGES of them */
    KsmPieces scanned;          /* current size of the pieces */
    KsmPieces registered;
    KsmPieces detached;
} KsmTracker;

/* Pages [first, end) of the region were written; huge: in huge pages. */
typedef void (*KsmWrittenFunc)(KsmRegion *region, guint32 first, guint32 end,
                               gboolean huge, void *opaque);

/* Opens userfaultfd and pagemap; the error message names the remedy. */
gboolean ksm_tracker_open(KsmTracker *tracker, GError **errp);
void ksm_tracker_close(KsmTracker *tracker);

/*
 * Registers and advises all unregistered parts of the region, one piece at a
 * time.  0 or -errno; on error the remaining parts stay unregistered, and
 * their pages are not processed until it succeeds.
 */
int ksm_tracker_register(KsmTracker *tracker, KsmRegion *region);

/* Removes every registration from the region; it is unregistered then. */
int ksm_tracker_detach(KsmTracker *tracker, KsmRegion *region);

/* The same for one more piece, starting at region->detached_pages. */
int ksm_tracker_detach_piece(KsmTracker *tracker, KsmRegion *region);

/*
 * Reports and re-arms the pages written since the last call; in store mappings
 * also the pages read for the first time.  Skips parked blocks.  0 or -errno.
 */
int ksm_tracker_scan(KsmTracker *tracker, KsmRegion *region,
                     KsmWrittenFunc func, void *opaque);

/*
 * Reports the pages in [first, end) that are present and not of a file: in
 * store mappings these are the copies.  0 or -errno.
 */
int ksm_tracker_find_copies(KsmTracker *tracker, KsmRegion *region,
                            guint32 first, guint32 end, KsmWrittenFunc func,
                            void *opaque);

/* Makes pages writable without notice: they are no longer armed. */
int ksm_tracker_disarm(KsmTracker *tracker, KsmRegion *region, guint32 first,
                       guint32 count);

/* Whether the 2 MiB starting at page `first` are a huge page. */
gboolean ksm_tracker_is_huge(KsmTracker *tracker, KsmRegion *region,
                             guint32 first);

/*
 * Whether pages [first, first + count) are all present and of the store's
 * file, i.e. none was made private by a copy-on-write.  Only meaningful while
 * writes are blocked.
 */
gboolean ksm_tracker_all_file(KsmTracker *tracker, KsmRegion *region,
                              guint32 first, guint32 count);

/* Number of present pages of any kind in the range. */
guint64 ksm_tracker_present_pages(KsmTracker *tracker, const void *addr,
                                  gsize bytes);

/*
 * Page faults so far of the process's threads but this one: every first write
 * to an armed page is one, unless it is another process's or the kernel's own.
 */
guint64 ksm_tracker_faults(void);

#endif /* KSM_TRACKER_H */
