/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verify.h: whether isolated pages are byte-equal to their replacement. */
#ifndef KSM_VERIFY_H
#define KSM_VERIFY_H

#include <glib.h>

#define KSM_WINDOW_PAGES 64u /* maximum pages of a window */

/* How isolated pages are read. */
typedef enum KsmVerifyWay {
    KSM_VERIFY_IN_PLACE, /* directly in the staging area */
    KSM_VERIFY_COPIED,   /* the kernel copies them to other memory */
    KSM_VERIFY_WAYS,
} KsmVerifyWay;

/* Scanner thread only. */
typedef struct KsmVerify {
    guint8 *memory;  /* of both buffers: */
    guint8 *content; /* buffer for the replacement */
    guint8 *copy;    /* buffer for the isolated pages */
    guint windows;   /* since the ways were last compared */
    guint64 ns[KSM_VERIFY_WAYS];
    guint64 pages[KSM_VERIFY_WAYS];
    gboolean used; /* since the last ksm_verify_trim() */
} KsmVerify;

/*
 * Maps private memory for the engine: small pages, excluded from fork(), core
 * dumps and ksmd.  0 or -errno; after a failure there may also be memory to
 * unmap.
 */
int ksm_verify_map_private(gsize bytes, guint8 **own);

/* 0 or -errno; call ksm_verify_close() after a failure as well. */
int ksm_verify_open(KsmVerify *verify);
void ksm_verify_close(KsmVerify *verify);

/* Repeats the advice on the buffers that excludes them from ksmd. */
void ksm_verify_unmergeable(KsmVerify *verify);

/* Frees the buffers' memory; call it outside of windows, between rounds. */
void ksm_verify_trim(KsmVerify *verify);

/*
 * Reads the replacement of `count` pages, at `offset` (bytes) of the store,
 * into verify->content before the window; 0 or -errno.
 */
int ksm_verify_load(KsmVerify *verify, int store_fd, guint64 offset,
                    guint32 count);

/*
 * Returns the number of leading isolated pages that are equal to content;
 * content NULL: that hold only zeros.  *failed: the next page cannot be read.
 * Inside a window.
 */
guint32 ksm_verify_isolated(KsmVerify *verify, const guint8 *isolated,
                            const guint8 *content, guint32 count,
                            gboolean *failed);

#endif /* KSM_VERIFY_H */
