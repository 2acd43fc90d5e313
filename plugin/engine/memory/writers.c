/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * writers.c: the one place that knows why no page is exchanged while something
 * outside the page tables may write to it.
 *
 * Such a writer holds a reference to the physical page: a pin (FOLL_PIN: VFIO,
 * vDPA, RDMA, O_DIRECT on local file systems, io_uring's fixed buffers, KVM's
 * nested state since Linux 6.13), or a reference without a pin (FOLL_GET: some
 * network file systems' O_DIRECT, kernel vhost-scsi).  If the page were replaced
 * meanwhile, what the device writes would go to a page that nobody maps.
 *
 * way           pins                         references without a pin
 * share, zero   UFFDIO_MOVE refuses them     dma_in_flight(), asked inside the window
 *               (EBUSY)
 * give back     none can exist: a page is given back only where pagemap says
 *               that it is the store's own, while writers wait; and whoever
 *               takes a page of a private file mapping for writing, or pins it
 *               for long, is first given a copy (mm/gup.c), which pagemap tells
 * copy          the kernel does not tell: nothing but a move looks at pins, and
 *               a page inside a file mapping cannot be moved.  So the program
 *               must: stand_aside() is set before anything pins for long,
 *               dma_in_flight() before an address is handed out for a transfer.  Both
 *               are asked after the page was write-protected
 * collapse      the kernel's own migration refuses both (huge.c)
 * discard,      the owner gives the content up; who writes there later has
 * remap         been told so by the owner, not by us (discard.c)
 * break         (MADV_POPULATE_WRITE) is the kernel's own copy-on-write
 *
 * Why a writer that comes meanwhile cannot be missed.  It does two things, in
 * this order: it is recorded (dma_in_flight(), stand_aside()), and it takes the page,
 * which for a protected or absent page is a fault that waits.  The scanner does
 * two things, in this order: it protects (or removes) the page, and it asks.  If
 * it asks before the writer is recorded, the page was protected before the writer
 * takes it: the writer waits, and gets the page that lies there afterwards.  If
 * it asks after, the answer is no.
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
           writers->dma_in_flight(addr, (gsize)count * KSM_PAGE_BYTES, writers->opaque);
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
