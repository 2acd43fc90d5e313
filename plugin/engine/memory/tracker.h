/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tracker.h: which pages were written since the last look.
 */
#ifndef KSM_TRACKER_H
#define KSM_TRACKER_H

#include "memory/piece.h"
#include "memory/ram.h"

typedef struct KsmTracker {
    int uffd;                   /* also the isolation's */
    int pagemap;
    struct page_region *ranges; /* KSM_TRACKER_RANGES of them */
    KsmPieces scanned;          /* how large the pieces are at present */
    KsmPieces registered;
    KsmPieces detached;
} KsmTracker;

/* Pages [first, end) of the region have been written; huge: in huge pages. */
typedef void (*KsmWrittenFunc)(KsmRegion *region, guint32 first, guint32 end,
                               gboolean huge, void *opaque);

/* Opens userfaultfd and pagemap; the message names the remedy. */
gboolean ksm_tracker_open(KsmTracker *tracker, GError **errp);
void ksm_tracker_close(KsmTracker *tracker);

/*
 * Registers and advises all that is unregistered in the region, a piece at a
 * time.  0 or -errno; then the rest stays unregistered: its pages are not looked
 * at until it succeeds.
 */
int ksm_tracker_register(KsmTracker *tracker, KsmRegion *region);

/* Takes every registration off the region, which is unregistered after it. */
int ksm_tracker_detach(KsmTracker *tracker, KsmRegion *region);

/* The same for one more piece, from region->detached_pages on. */
int ksm_tracker_detach_piece(KsmTracker *tracker, KsmRegion *region);

/*
 * Reports and re-arms what was written since the last call; in store mappings
 * also what was read for the first time.  Not in parked blocks.  0 or -errno.
 */
int ksm_tracker_scan(KsmTracker *tracker, KsmRegion *region,
                     KsmWrittenFunc func, void *opaque);

/*
 * Reports those of the pages [first, end) that are present and of no file: in
 * store mappings the copies.  0 or -errno.
 */
int ksm_tracker_find_copies(KsmTracker *tracker, KsmRegion *region,
                            guint32 first, guint32 end, KsmWrittenFunc func,
                            void *opaque);

/* Makes pages writable without being noted: they are armed no more. */
int ksm_tracker_disarm(KsmTracker *tracker, KsmRegion *region, guint32 first,
                       guint32 count);

/* Whether the 2 MiB from page `first` on are a huge page. */
gboolean ksm_tracker_is_huge(KsmTracker *tracker, KsmRegion *region,
                             guint32 first);

/*
 * Whether pages [first, first + count) all are present and of the store's file,
 * i.e. none was made private by a copy-on-write.  Meaningful while no write
 * can go on.
 */
gboolean ksm_tracker_all_file(KsmTracker *tracker, KsmRegion *region,
                              guint32 first, guint32 count);

/* Pages of memory that any part of the range, of whatever memory, has taken. */
guint64 ksm_tracker_present_pages(KsmTracker *tracker, const void *addr,
                                  gsize bytes);

/*
 * Page faults so far of the process's threads but this one: every first write
 * to an armed page is one, unless it is another process's or the kernel's own.
 */
guint64 ksm_tracker_faults(void);

#endif /* KSM_TRACKER_H */
