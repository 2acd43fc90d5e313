/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * page-scan.c: reads page content under a guard.
 *
 * The memory of a page may have failed.  If the guest has taken the page out
 * of use, only the engine would still read it; if the failure is undetected,
 * the engine may be the first to read it.  Neither may harm the VM.  So all
 * content of guest memory, staging area and slots is read by the functions
 * here (sys/safe-read.c).  The broker also uses them to read its slots and the
 * memory that clients share with it.
 *
 * Thread: any; no lock is needed.
 */
#include "page-scan.h"

#include <string.h>

#include "fingerprint.h"
#include "safe-read.h"

typedef struct Job {
    const guint8 *a;
    const guint8 *b;
    guint8 *to;
    gsize bytes;
    KsmPageScan *scans;
    guint32 count;
    volatile guint32 done;
} Job;

static void scan_each(void *opaque)
{
    Job *job = opaque;
    guint32 i;

    for (i = 0; i < job->count; i++) {
        KsmPageScan *l = &job->scans[i];

        l->zero = ksm_fingerprint_is_zero(l->content);
        if (!l->zero) {
            l->fingerprint = ksm_fingerprint_page(l->content);
        }
        job->done = i + 1;
    }
}

void ksm_scan_pages(KsmPageScan *scans, guint32 count)
{
    Job job = { .scans = scans, .count = count };

    while (job.count) {
        gboolean failed = !ksm_safe_read_run(scan_each, &job);
        guint32 seen = job.done, i;

        for (i = 0; i < seen; i++) {
            job.scans[i].failed = FALSE;
        }
        if (failed) {
            job.scans[seen++].failed = TRUE;
        }
        job.scans += seen;
        job.count -= seen;
        job.done = 0;
    }
}

KsmFingerprint ksm_page_scan_fingerprint(const KsmPageScan *l)
{
    return l->zero ? ksm_fingerprint_zeros() : l->fingerprint;
}

static void copy(void *opaque)
{
    Job *job = opaque;

    memcpy(job->to, job->a, job->bytes);
}

gboolean ksm_read_copy(guint8 *to, const guint8 *from, gsize bytes)
{
    Job job = { .to = to, .a = from, .bytes = bytes };

    return ksm_safe_read_run(copy, &job);
}

static void compare(void *opaque)
{
    Job *job = opaque;
    guint32 i = 0;

    while (i < job->count &&
           !memcmp(job->a + (gsize)i * KSM_PAGE_BYTES,
                   job->b + (gsize)i * KSM_PAGE_BYTES, KSM_PAGE_BYTES)) {
        job->done = ++i;
    }
}

guint32 ksm_read_equal(const guint8 *a, const guint8 *b, guint32 count,
                       gboolean *failed)
{
    Job job = { .a = a, .b = b, .count = count };

    *failed = !ksm_safe_read_run(compare, &job);
    return job.done;
}

static void find_zeros(void *opaque)
{
    Job *job = opaque;
    guint32 i = 0;

    while (i < job->count &&
           ksm_fingerprint_is_zero(job->a + (gsize)i * KSM_PAGE_BYTES)) {
        job->done = ++i;
    }
}

guint32 ksm_read_zeros(const guint8 *pages, guint32 count, gboolean *failed)
{
    Job job = { .a = pages, .count = count };

    *failed = !ksm_safe_read_run(find_zeros, &job);
    return job.done;
}

static void read_words(void *opaque)
{
    Job *job = opaque;
    gsize at;

    for (at = 0; at < job->bytes; at += sizeof(guint64)) {
        (void)*(const volatile guint64 *)(gconstpointer)(job->a + at);
    }
}

gboolean ksm_read_works(const guint8 *page)
{
    Job job = { .a = page, .bytes = KSM_PAGE_BYTES };

    return ksm_safe_read_run(read_words, &job);
}
