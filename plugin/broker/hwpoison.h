/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hwpoison.h: handles memory failures in the broker's mappings. */
#ifndef KSM_HWPOISON_H
#define KSM_HWPOISON_H

#include "broker.h"

/**
 * Asks the kernel to report memory failures at once (PR_MCE_KILL_EARLY), so
 * that slots are retired and guarded reads fail instead of the process dying.
 * Must be called before the process confines itself.
 */
gboolean ksm_hwpoison_watch(KsmBroker *broker, GError **errp);

#endif /* KSM_HWPOISON_H */
