/* SPDX-License-Identifier: GPL-2.0-or-later */
/* order.h: an order to VMs, and how it ended. */
#ifndef KSM_CTL_ORDER_H
#define KSM_CTL_ORDER_H

#include "base/command.h"

/**
 * Sends the request `set` with the members of @options to each of @targets and
 * prints what became of it.  Fails when a VM failed or has not confirmed.
 */
gboolean ksm_settings_give(KsmCtl *ctl, char **targets, JsonObject *options,
                        GError **errp);

#endif /* KSM_CTL_ORDER_H */
