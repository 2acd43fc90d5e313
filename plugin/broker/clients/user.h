/* SPDX-License-Identifier: GPL-2.0-or-later */
/* user.h: resources of the broker that the processes of one user id share. */
#ifndef KSM_USER_H
#define KSM_USER_H

#include <glib.h>
#include <sys/types.h>

#include "clients/state.h"

/** Whether shares apply to that user: not to root or the broker's own user. */
gboolean ksm_user_is_bound(uid_t uid);

/** Creates the user if it is not known; call ksm_user_unref() for each ref. */
KsmUser *ksm_user_ref(KsmBroker *broker, uid_t uid);
void ksm_user_unref(KsmUser *user);

/**
 * Whether the user may have @count more.  If not, KSM_ERROR_LIMIT names the
 * limit, whose it is, and the option that sets it.
 */
gboolean ksm_user_check(KsmUser *user, KsmQuota quota, guint64 count,
                        GError **errp);

/**
 * Whether the user has time left in this iteration of the main loop; if not,
 * its requests wait for the next one.
 */
gboolean ksm_user_has_turn(KsmUser *user);

/** Charges the time since @start_us (monotonic clock) to the user. */
void ksm_user_spend(KsmUser *user, gint64 start_us);

/**
 * Whether to log the error that ends a connection.  Of the errors from
 * ksm_user_check(), one a minute is logged for each user.  @left_out: number of
 * errors of that user that were not logged.
 */
gboolean ksm_user_note_refusal(KsmBroker *broker, guint *left_out);

#endif /* KSM_USER_H */
