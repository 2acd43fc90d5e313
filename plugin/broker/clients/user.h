/* SPDX-License-Identifier: GPL-2.0-or-later */
/* user.h: what the processes of one user id have of the broker together. */
#ifndef KSM_USER_H
#define KSM_USER_H

#include <glib.h>
#include <sys/types.h>

#include "clients/state.h"

/** Whether shares bind that user: not root and not the broker's own. */
gboolean ksm_user_is_bound(uid_t uid);

/** Made when it is not known; each ref is to be given back. */
KsmUser *ksm_user_ref(KsmBroker *broker, uid_t uid);
void ksm_user_unref(KsmUser *user);

/**
 * Whether the user may have @count more; else KSM_ERROR_LIMIT says which
 * limit of whom is in the way, and by what option it is set.
 */
gboolean ksm_user_check(KsmUser *user, KsmQuota quota, guint64 count,
                        GError **errp);

/**
 * Whether the user's requests may have more of this turn of the main loop; if
 * not, they wait for the next one.
 */
gboolean ksm_user_has_turn(KsmUser *user);

/** Something was done for it since @start_us, of the monotonic clock. */
void ksm_user_spend(KsmUser *user, gint64 start_us);

/**
 * Whether the error that ends a connection is to be logged: of those that
 * ksm_user_check() made, one a minute for each user.  @left_out: how many of
 * that user were not.
 */
gboolean ksm_user_note_refusal(KsmBroker *broker, guint *left_out);

#endif /* KSM_USER_H */
