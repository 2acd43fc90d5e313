/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * writers.c: the one place that decides that no page is exchanged while
 * something may write to it without using a page table.
 *
 * Such a writer holds a reference to the physical page: a pin (FOLL_PIN: VFIO,
 * vDPA, RDMA, O_DIRECT on local file systems, io_uring's fixed buffers, KVM's
 * nested state since Linux 6.13), or a reference without a pin (FOLL_GET:
 * O_DIRECT of some network file systems, kernel vhost-scsi).  If the page were
 * replaced meanwhile, the device would write to a page that is no longer
 * mapped.
 *
 *   way           pins                         references without a pin
 *   share, zero   UFFDIO_MOVE refuses them     dma_in_flight(), called inside
 *                 (EBUSY)                      the window
 *   give back     None can exist.  A page is given back only if pagemap says
 *                 that it is the store's own, while writers are blocked.  A
 *                 writer that takes a page of a private file mapping for
 *                 writing, or pins it for long, is first given a copy
 *                 (mm/gup.c), which pagemap reports.
 *   copy          The kernel does not report them: only a move checks for pins,
 *                 and a page inside a file mapping cannot be moved.  So the
 *                 program must: stand_aside() is set before anything pins for
 *                 long, dma_in_flight() before an address is handed out for a
 *                 transfer.  Both are called after the page was
 *                 write-protected.
 *   collapse      The kernel's own migration refuses both (huge.c).
 *   discard,      The owner gives the content up; it is responsible for writers
 *   remap         that it lets write there later (discard.c).
 *   break         (MADV_POPULATE_WRITE) is the kernel's own copy-on-write.
 *
 * Why a writer that arrives meanwhile cannot be missed.  The writer does two
 * things, in this order: it is recorded (dma_in_flight(), stand_aside()), and
 * it takes the page, which for a protected or absent page is a fault that
 * blocks.  The scanner does two things, in this order: it protects (or
 * removes) the page, and it calls the callbacks.  If it calls them before the
 * writer is recorded, the page was protected before the writer takes it: the
 * writer blocks, and gets the page that is mapped there afterwards.  If it
 * calls them after that, the exchange is refused.
 */
#include "memory/writers.h"

#include "guest-ksm.h"

const char *ksm_writers_reason(const KsmWriters *writers)
{
    return writers->stand_aside ? writers->stand_aside(writers->opaque) : NULL;
}

gboolean ksm_writers_known(const KsmWriters *writers)
{
    return writers->dma_in_flight != NULL;
}

static gboolean dma_may_write(const KsmWriters *writers, const guint8 *addr,
                              guint32 count)
{
    return writers->dma_in_flight && count &&
           writers->dma_in_flight(addr, (gsize)count * KSM_PAGE_BYTES,
                                  writers->opaque);
}

gboolean ksm_writers_allow(const KsmWriters *writers, KsmExchange way,
                           const guint8 *addr, guint32 count)
{
    switch (way) {
    case KSM_EXCHANGE_SHARE:
    case KSM_EXCHANGE_ZERO:
        return !dma_may_write(writers, addr, count);
    case KSM_EXCHANGE_GIVE_BACK:
        return TRUE;
    case KSM_EXCHANGE_COPY:
        return writers->dma_in_flight && !dma_may_write(writers, addr, count) &&
               !ksm_writers_reason(writers);
    }
    return FALSE;
}
