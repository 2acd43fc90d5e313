/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle-io.c: pages that the kernel writes: read(2), O_DIRECT, io_uring.
 *
 * The file's pages are made by seed, so a read gives the entry its new
 * content.  O_DIRECT pins pages for the time of the transfer, a registered
 * buffer for as long as it is registered: the kernel must refuse to move
 * those, and the engine must leave them alone.
 */
#include "oracle.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#ifdef HAVE_LIBURING
#include <liburing.h>
#endif

#define MAX_PAGES 8
#define FIXED_PAGES 64
#define FIXED_STEPS 40

struct OracleIo {
    Oracle *oracle;
    const guint32 *own;
    guint64 owned;
    guint features;
#ifdef HAVE_LIBURING
    struct io_uring ring;
    gboolean has_ring;
    guint64 fixed;     /* own[fixed] is the first registered one */
    guint fixed_steps; /* 0: none is registered */
#endif
};

static void fail(OracleIo *io, const char *what, int error)
{
    fprintf(stderr, "# client %u: %s: %s\n", io->oracle->index, what,
            g_strerror(error));
    oracle_count(&io->oracle->figures->mismatches, 1);
}

static void read_pages(OracleIo *io, int fd, guint64 *random)
{
    Oracle *oracle = io->oracle;
    guint count = 1 + (guint)ksm_test_below(random, MAX_PAGES);
    guint64 k = ksm_test_below(random, io->owned - count);
    guint64 from = ksm_test_below(random, ORACLE_FILE_PAGES - count);
    struct iovec iov[MAX_PAGES];
    ssize_t n;
    guint i;

    for (i = 0; i < count; i++) {
        oracle_verify(oracle, io->own[k + i]);
        iov[i].iov_base = oracle_page(oracle, io->own[k + i]);
        iov[i].iov_len = KSM_PAGE_BYTES;
        oracle_begin(oracle, io->own[k + i]);
        oracle_hold(oracle, io->own[k + i]);
    }
    n = preadv(fd, iov, (int)count, (off_t)(from * KSM_PAGE_BYTES));
    if (n != (ssize_t)(count * KSM_PAGE_BYTES)) {
        fail(io, "preadv", n < 0 ? errno : 0);
    }
    for (i = 0; i < count; i++) {
        oracle_let_go(oracle, io->own[k + i]);
        oracle_end(oracle, io->own[k + i], KSM_TEST_SEEDED,
                   oracle_file_seed(oracle->config, from + i));
        oracle_verify(oracle, io->own[k + i]);
    }
    oracle_count(&oracle->figures->io_pages, count);
}

#ifdef HAVE_LIBURING

static void release_fixed(OracleIo *io)
{
    guint i;

    if (io->fixed_steps) {
        io_uring_unregister_buffers(&io->ring);
        io->fixed_steps = 0;
        for (i = 0; i < FIXED_PAGES; i++) {
            oracle_let_go(io->oracle, io->own[io->fixed + i]);
        }
    }
}

/* Other pages get pinned now, those so far may be merged again. */
static void register_fixed(OracleIo *io, guint64 *random)
{
    struct iovec iov[FIXED_PAGES];
    guint i;
    int rc;

    release_fixed(io);
    io->fixed = ksm_test_below(random, io->owned - FIXED_PAGES);
    for (i = 0; i < FIXED_PAGES; i++) {
        iov[i].iov_base = oracle_page(io->oracle, io->own[io->fixed + i]);
        iov[i].iov_len = KSM_PAGE_BYTES;
        oracle_hold(io->oracle, io->own[io->fixed + i]);
    }
    rc = io_uring_register_buffers(&io->ring, iov, FIXED_PAGES);
    if (rc < 0) {
        fail(io, "io_uring_register_buffers", -rc);
        for (i = 0; i < FIXED_PAGES; i++) {
            oracle_let_go(io->oracle, io->own[io->fixed + i]);
        }
        return;
    }
    io->fixed_steps = FIXED_STEPS;
}

static void prepare(OracleIo *io, guint64 k, guint64 from, int fd)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
    void *page = oracle_page(io->oracle, io->own[k]);
    guint64 offset = from * KSM_PAGE_BYTES;

    g_assert_nonnull(sqe);
    if (io->fixed_steps) {
        io_uring_prep_read_fixed(sqe, fd, page, KSM_PAGE_BYTES, offset,
                                 (int)(k - io->fixed));
    } else {
        io_uring_prep_read(sqe, fd, page, KSM_PAGE_BYTES, offset);
    }
    if (from & 1) {
        sqe->flags |= IOSQE_ASYNC; /* by a kernel thread */
    }
}

static void reap(OracleIo *io, guint count)
{
    guint i;

    for (i = 0; i < count; i++) {
        struct io_uring_cqe *cqe = NULL;
        int rc = io_uring_wait_cqe(&io->ring, &cqe);

        if (rc == -EINTR) {
            i--;
            continue;
        }
        if (rc < 0 || cqe->res != (int)KSM_PAGE_BYTES) {
            fail(io, "io_uring read", rc < 0 ? -rc : -cqe->res);
        }
        if (cqe) {
            io_uring_cqe_seen(&io->ring, cqe);
        }
    }
}

static void ring_pages(OracleIo *io, guint64 *random)
{
    Oracle *oracle = io->oracle;
    guint count = 1 + (guint)ksm_test_below(random, MAX_PAGES);
    guint64 from = ksm_test_below(random, ORACLE_FILE_PAGES - count);
    int fd = ksm_test_below(random, 2) && oracle->direct_file >= 0 ?
                 oracle->direct_file :
                 oracle->file;
    guint64 k;
    guint i;

    if ((io->features & ORACLE_FIXED) && io->fixed_steps <= 1) {
        register_fixed(io, random);
    } else if (io->fixed_steps) {
        io->fixed_steps--;
    }
    k = io->fixed_steps ?
            io->fixed + ksm_test_below(random, FIXED_PAGES - count) :
            ksm_test_below(random, io->owned - count);
    for (i = 0; i < count; i++) {
        oracle_begin(oracle, io->own[k + i]);
        oracle_hold(oracle, io->own[k + i]);
        prepare(io, k + i, from + i, fd);
    }
    io_uring_submit(&io->ring);
    for (i = 0; i < count; i++) { /* while it is in flight */
        oracle_verify(oracle, ksm_test_below(random, oracle->first_counter));
    }
    reap(io, count);
    for (i = 0; i < count; i++) {
        oracle_let_go(oracle, io->own[k + i]);
        oracle_end(oracle, io->own[k + i], KSM_TEST_SEEDED,
                   oracle_file_seed(oracle->config, from + i));
        oracle_verify(oracle, io->own[k + i]);
    }
    oracle_count(&oracle->figures->io_pages, count);
}

gboolean oracle_io_has_uring(void)
{
    struct io_uring ring;

    if (io_uring_queue_init(MAX_PAGES, &ring, 0) < 0) {
        return FALSE;
    }
    io_uring_queue_exit(&ring);
    return TRUE;
}

#else

gboolean oracle_io_has_uring(void)
{
    return FALSE;
}

#endif

/** For one writer thread; own lists its pages. */
OracleIo *oracle_io_new(Oracle *oracle, const guint32 *own, guint64 owned)
{
    OracleIo *io = g_new0(OracleIo, 1);

    io->oracle = oracle;
    io->own = own;
    io->owned = owned;
    io->features = oracle->config->features;
#ifdef HAVE_LIBURING
    if (io->features & (ORACLE_URING | ORACLE_FIXED)) {
        int rc = io_uring_queue_init(2 * MAX_PAGES, &io->ring, 0);

        io->has_ring = rc == 0;
        if (rc < 0) {
            fail(io, "io_uring_queue_init", -rc);
        }
    }
#endif
    return io;
}

/** Some pages, in one of the ways asked for; nothing without any. */
void oracle_io_step(OracleIo *io, guint64 *random)
{
    if (io->features & ORACLE_READ) {
        read_pages(io, io->oracle->file, random);
    }
    if (io->features & ORACLE_DIRECT) {
        read_pages(io, io->oracle->direct_file, random);
    }
#ifdef HAVE_LIBURING
    if (io->has_ring) {
        ring_pages(io, random);
    }
#endif
}

void oracle_io_free(OracleIo *io)
{
#ifdef HAVE_LIBURING
    if (io->has_ring) {
        release_fixed(io);
        io_uring_queue_exit(&io->ring);
    }
#endif
    g_free(io);
}
