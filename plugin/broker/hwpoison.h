/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hwpoison.h: memory that has failed, under the broker's hands. */
#ifndef KSM_HWPOISON_H
#define KSM_HWPOISON_H

#include "broker.h"

/**
 * Has the kernel tell at once of memory that fails, so that slots are retired,
 * and ends guarded reads instead of the process.  Before it is confined.
 */
gboolean ksm_hwpoison_watch(KsmBroker *broker, GError **errp);

#endif /* KSM_HWPOISON_H */
