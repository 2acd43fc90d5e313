/* SPDX-License-Identifier: GPL-2.0-or-later */
/* failed.h: memory that has failed, under the broker's hands. */
#ifndef KSM_FAILED_H
#define KSM_FAILED_H

#include "broker.h"

/** How a comparison of two pages ended. */
typedef enum KsmFailedEqual {
    KSM_FAILED_DIFFERS,
    KSM_FAILED_EQUAL,
    KSM_FAILED_UNREADABLE,      /* the first of them */
} KsmFailedEqual;

/** @page may have failed; @known is memory of our own. */
KsmFailedEqual ksm_failed_compare(const guint8 *page, const guint8 *known);

/** Copies a page; FALSE: @from has failed. */
gboolean ksm_failed_copy(guint8 *to, const guint8 *from);

/** What a page holds; FALSE: it has failed. */
gboolean ksm_failed_look(const guint8 *page, gboolean *zero,
                         KsmFingerprint *fingerprint);

/**
 * Has the kernel tell at once of memory that fails, so that slots are retired,
 * and ends guarded reads instead of the process.  Before it is confined.
 */
gboolean ksm_failed_watch(KsmBroker *broker, GError **errp);

#endif /* KSM_FAILED_H */
