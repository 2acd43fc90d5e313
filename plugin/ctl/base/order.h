/* SPDX-License-Identifier: GPL-2.0-or-later */
/* order.h: changes settings of VMs, and reports the outcome. */
#ifndef KSM_CTL_ORDER_H
#define KSM_CTL_ORDER_H

#include "base/command.h"

/**
 * Sends the request `set` with the members of @options to each of @targets and
 * prints the outcome.  Fails if a VM failed or has not confirmed.
 */
gboolean ksm_settings_give(KsmCtl *ctl, char **targets, JsonObject *options,
                           GError **errp);

#endif /* KSM_CTL_ORDER_H */
