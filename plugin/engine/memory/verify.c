/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * verify.c: whether isolated pages are byte-equal to their replacement.
 *
 * The replacement was read into memory of this thread before the window, by
 * pread(2): through a mapping of the store, every 16 slots would cost a page
 * fault, and each slot a page table entry to create and remove.
 *
 * The isolated pages have just got new addresses, which no processor has
 * translated yet.  If the hardware walks page tables, reading them in place is
 * cheapest.  If a hypervisor shadows the page tables (the host is itself a
 * guest without nested paging), each first access is a fault that the
 * hypervisor resolves, at 3 us or more a page; having the kernel copy the
 * pages through its own mapping costs a third of that (process_vm_readv).  So
 * both ways are tried from time to time, and the cheaper one is used.
 *
 * Both are equally safe: only this thread knows the addresses of the isolated
 * pages, so they do not change until the window ends, and a copy has the same
 * content.  If copying fails for any reason, the pages are read in place,
 * under a guard (page-scan.c), because their memory may have failed.
 */
#include "memory/verify.h"

#include <string.h>

#include "guest-ksm.h"
#include "page-scan.h"
#include "sys.h"

#define KSM_ROOM_BYTES ((gsize)KSM_WINDOW_PAGES * KSM_PAGE_BYTES)
/*
 * Number of windows in which the ways alternate, and interval between trials.
 */
#define KSM_TRIAL_WINDOWS 16u
#define KSM_TRUST_WINDOWS 2048u

int ksm_verify_map_private(gsize bytes, guint8 **own)
{
    void *p = NULL;
    int ret = ksm_sys->map(NULL, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
                           &p);

    if (!ret) {
        *own = p;
        ret = ksm_sys->advise(p, bytes, MADV_DONTFORK);
    }
    if (!ret) {
        ksm_sys->advise(p, bytes, MADV_DONTDUMP);
        ksm_sys->advise(p, bytes, MADV_NOHUGEPAGE);
        ksm_sys->advise(p, bytes, MADV_UNMERGEABLE);
    }
    return ret;
}

int ksm_verify_open(KsmVerify *verify)
{
    int ret = ksm_verify_map_private(2 * KSM_ROOM_BYTES, &verify->memory);

    if (!ret) {
        verify->content = verify->memory;
        verify->copy = verify->memory + KSM_ROOM_BYTES;
    }
    return ret;
}

void ksm_verify_unmergeable(KsmVerify *verify)
{
    ksm_sys->advise(verify->memory, 2 * KSM_ROOM_BYTES, MADV_UNMERGEABLE);
}

void ksm_verify_close(KsmVerify *verify)
{
    if (verify->memory) {
        ksm_sys->unmap(verify->memory, 2 * KSM_ROOM_BYTES);
        verify->memory = NULL;
    }
}

void ksm_verify_trim(KsmVerify *verify)
{
    if (verify->used) {
        ksm_sys->advise(verify->memory, 2 * KSM_ROOM_BYTES, MADV_DONTNEED);
        verify->used = FALSE;
    }
}

int ksm_verify_load(KsmVerify *verify, int store_fd, guint64 offset,
                    guint32 count)
{
    verify->used = TRUE;
    return ksm_sys->read_at(store_fd, verify->content,
                            (gsize)count * KSM_PAGE_BYTES, offset);
}

/* Chooses the way for the next window. */
static KsmVerifyWay choose(KsmVerify *verify)
{
    if (verify->windows == KSM_TRUST_WINDOWS) {
        verify->windows = 0;
        memset(verify->ns, 0, sizeof(verify->ns));
        memset(verify->pages, 0, sizeof(verify->pages));
    }
    if (verify->windows++ < KSM_TRIAL_WINDOWS) {
        return (KsmVerifyWay)(verify->windows % KSM_VERIFY_WAYS);
    }
    return (double)verify->ns[KSM_VERIFY_COPIED] *
                       (double)verify->pages[KSM_VERIFY_IN_PLACE] <
                   (double)verify->ns[KSM_VERIFY_IN_PLACE] *
                       (double)verify->pages[KSM_VERIFY_COPIED] ?
               KSM_VERIFY_COPIED :
               KSM_VERIFY_IN_PLACE;
}

guint32 ksm_verify_isolated(KsmVerify *verify, const guint8 *isolated,
                            const guint8 *content, guint32 count,
                            gboolean *failed)
{
    guint64 start_ns = ksm_sys_now_ns();
    KsmVerifyWay way = choose(verify);
    const guint8 *pages = isolated;
    guint32 equal;

    verify->used = TRUE;
    if (way == KSM_VERIFY_COPIED &&
        !ksm_sys->copy_self(verify->copy, isolated,
                            (gsize)count * KSM_PAGE_BYTES)) {
        pages = verify->copy;
    }
    equal = content ? ksm_read_equal(pages, content, count, failed) :
                      ksm_read_zeros(pages, count, failed);
    verify->ns[way] += ksm_sys_now_ns() - start_ns;
    verify->pages[way] += count;
    return equal;
}
