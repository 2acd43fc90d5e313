/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * verify.h: whether isolated pages are byte-equal to what is to replace them.
 */
#ifndef KSM_VERIFY_H
#define KSM_VERIFY_H

#include <glib.h>

#define KSM_WINDOW_PAGES 64u    /* most pages of one window */

/* How isolated pages are read. */
typedef enum KsmVerifyWay {
    KSM_VERIFY_IN_PLACE,        /* where they lie in the staging area */
    KSM_VERIFY_COPIED,          /* the kernel copies them to warm memory */
    KSM_VERIFY_WAYS,
} KsmVerifyWay;

/* Scanner thread only. */
typedef struct KsmVerify {
    guint8 *memory;             /* of both: */
    guint8 *content;            /* room for the replacement, as it was read */
    guint8 *copy;               /* room for the isolated pages */
    guint windows;              /* since the ways were tried last */
    guint64 ns[KSM_VERIFY_WAYS];
    guint64 pages[KSM_VERIFY_WAYS];
    gboolean used;              /* since the last ksm_verify_trim() */
} KsmVerify;

/*
 * Maps memory of the engine's own: small pages, for no child, no dump and no
 * ksmd.  0 or -errno; there may be memory to unmap after a failure, too.
 */
int ksm_verify_map_private(gsize bytes, guint8 **own);

/* 0 or -errno; ksm_verify_close() is right after a failure, too. */
int ksm_verify_open(KsmVerify *verify);
void ksm_verify_close(KsmVerify *verify);

/* Advises the rooms once more: ksmd is to leave them alone. */
void ksm_verify_unmergeable(KsmVerify *verify);

/* Frees what the rooms hold; outside of windows, between rounds. */
void ksm_verify_trim(KsmVerify *verify);

/*
 * Reads the replacement of `count` pages into verify->content, before the
 * window; 0 or -errno.
 */
int ksm_verify_load(KsmVerify *verify, int store_fd, guint64 offset,
                    guint32 count);

/*
 * Isolated pages from the first on that are equal to content, inside a window;
 * content NULL: that hold zeros only.  *failed: the next one is unreadable.
 */
guint32 ksm_verify_isolated(KsmVerify *verify, const guint8 *isolated,
                            const guint8 *content, guint32 count,
                            gboolean *failed);

#endif /* KSM_VERIFY_H */
