/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * staging.c: the memory that isolated pages are moved to.
 *
 * While windows are open, the area is registered for MISSING faults, and only
 * the scanner may fill a hole in it: so a page found there has arrived by a
 * move.  Any other thread that touches a hole waits.  No program touches one,
 * because none knows the address.  But the kernel walks all memory of a
 * process for mlockall(2), and a debugger may do so by ptrace(2) or
 * /proc/PID/mem.  If the area were registered all the time, such a walk would
 * never end.  So the area is accessible only for one batch of windows, some
 * milliseconds, and PROT_NONE otherwise, which mlockall() skips.  A walk that
 * coincides with a batch waits until the batch ends.
 *
 * Why the area is empty when a window begins: it is mapped again, then
 * registered, then emptied.  A fault that found it unregistered ends before
 * UFFDIO_REGISTER does (which takes the mapping's lock for writing), and the
 * page that it allocated is dropped afterwards; a later fault waits.  The area
 * is mapped again rather than changed by mprotect(2), because on locked memory
 * mprotect(2) populates the pages, through the very fault that no thread would
 * resolve.
 *
 * If the process has locked all its memory, present and future (MCL_FUTURE),
 * the area may be locked while guest memory is not, or the reverse.
 * UFFDIO_MOVE then refuses (EINVAL), which costs only savings.
 */
#include "memory/staging.h"

#include "guest-ksm.h"
#include "sys.h"

#define KSM_STAGING_PAGES 1024u
#define KSM_STAGING_BYTES ((gsize)KSM_STAGING_PAGES * KSM_PAGE_BYTES)
/* Opening and shutting together cost some 10 us, about as much as a window. */
#define KSM_STAGING_OLD_NS 2000000u

static int map_area(guint8 *addr, int prot, guint8 **area)
{
    void *p = NULL;
    int ret = ksm_sys->map(addr, KSM_STAGING_BYTES, prot,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
                               (addr ? MAP_FIXED : 0),
                           -1, 0, &p);

    if (!ret) {
        *area = p;
        /* Fails with EINVAL on kernels built without KSM. */
        ksm_sys->advise(p, KSM_STAGING_BYTES, MADV_UNMERGEABLE);
    }
    return ret;
}

int ksm_staging_init(KsmStaging *staging, int uffd)
{
    staging->uffd = uffd;
    staging->area = NULL;
    staging->is_open = FALSE;
    staging->used = 0;
    return map_area(NULL, PROT_NONE, &staging->area);
}

void ksm_staging_free(KsmStaging *staging)
{
    if (staging->area) {
        ksm_staging_shut(staging);
        ksm_sys->unmap(staging->area, KSM_STAGING_BYTES);
        staging->area = NULL;
    }
}

static gboolean empty(KsmStaging *staging)
{
    if (ksm_sys->advise(staging->area, KSM_STAGING_BYTES,
                        MADV_DONTNEED_LOCKED)) {
        return FALSE;
    }
    staging->used = 0;
    return TRUE;
}

static gboolean open_area(KsmStaging *staging)
{
    if (map_area(staging->area, PROT_READ | PROT_WRITE, &staging->area)) {
        return FALSE;
    }
    /* From here on it must be shut, whatever fails. */
    staging->is_open = TRUE;
    staging->opened_ns = ksm_sys_now_ns();
    staging->used = KSM_STAGING_PAGES;
    if (ksm_sys->advise(staging->area, KSM_STAGING_BYTES, MADV_DONTFORK) ||
        ksm_sys->uffd_register(staging->uffd, staging->area, KSM_STAGING_BYTES,
                               UFFDIO_REGISTER_MODE_MISSING)) {
        ksm_staging_shut(staging);
        return FALSE;
    }
    /* Fails with EINVAL on kernels built without huge pages. */
    ksm_sys->advise(staging->area, KSM_STAGING_BYTES, MADV_DONTDUMP);
    ksm_sys->advise(staging->area, KSM_STAGING_BYTES, MADV_NOHUGEPAGE);
    return empty(staging);
}

guint8 *ksm_staging_take(KsmStaging *staging, guint32 count)
{
    guint32 first;

    if (!staging->is_open && !open_area(staging)) {
        return NULL;
    }
    if (staging->used + count > KSM_STAGING_PAGES && !empty(staging)) {
        return NULL; /* what could not be freed stays in use */
    }
    first = staging->used;
    staging->used += count;
    return staging->area + (gsize)first * KSM_PAGE_BYTES;
}

void ksm_staging_shut(KsmStaging *staging)
{
    gboolean off;

    if (!staging->is_open) {
        return;
    }
    /* Wakes waiting threads; twice, see release_range() in isolation.c. */
    off = !ksm_sys->uffd_unregister(staging->uffd, staging->area,
                                    KSM_STAGING_BYTES);
    ksm_sys->uffd_wake(staging->uffd, staging->area, KSM_STAGING_BYTES);
    off = !map_area(staging->area, PROT_NONE, &staging->area) || off;
    /*
     * If either call took it off, no walk can block here, and it is mapped
     * again when it is next opened.  Otherwise it can still be used for
     * windows, and must be shut again.
     */
    if (off) {
        staging->is_open = FALSE;
        staging->used = 0;
    }
}

gboolean ksm_staging_is_old(const KsmStaging *staging)
{
    return staging->is_open &&
           ksm_sys_now_ns() - staging->opened_ns > KSM_STAGING_OLD_NS;
}

void ksm_staging_unmergeable(KsmStaging *staging)
{
    ksm_sys->advise(staging->area, KSM_STAGING_BYTES, MADV_UNMERGEABLE);
}
