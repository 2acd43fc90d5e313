/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * user.c: resources of the broker that the processes of one user id share.
 *
 * With limits for all users together only, one user could use up everything,
 * and the VMs of others would not start, or would not share.  So each user has
 * a share of what the others leave (share.c explains the rule, and why there is
 * always something left).  A user is identified by the uid that the kernel
 * reports for a process, and is kept as long as it has a process or a group.
 *
 * The same applies to time: one step of a request takes a millisecond or two,
 * but a user may have hundreds of connections.  So the work for one user in an
 * iteration of the main loop ends after some 5 ms.  The rest waits for the next
 * iteration, which follows at once if no other user has requests.  Within a
 * user, connections that waited come first: epoll returns ready descriptors in
 * turns (fd-watch.c), and steps are made in the order in which their requests
 * began.  This applies to all users.
 *
 * The shares do not apply to root, nor to the user that the broker runs as: a
 * user that can kill the broker needs no flood of requests to deny it to
 * others.  So a broker that only serves its own user works as it would without
 * shares.  The limits for all users apply to them as well.
 */
#include "clients/user.h"

#include <unistd.h>

#include "host/share.h"
#include "error.h"

#define NOTE_US (60 * G_USEC_PER_SEC)
#define TURN_US 5000 /* a step that has begun is still finished */

typedef struct Words {
    const char *what;
    const char *option; /* that sets the limit for all users */
} Words;

static const Words words[KSM_QUOTAS] = {
    [KSM_QUOTA_SESSIONS] = { "sessions", "--max-sessions" },
    [KSM_QUOTA_CONNECTIONS] = { "connections", "--max-sessions" },
    [KSM_QUOTA_PROCESSES] = { "client processes", "--max-sessions" },
    [KSM_QUOTA_PAGES] = { "guest pages", "--max-total-pages" },
    [KSM_QUOTA_SLOTS] = { "store pages", "--max-store-mib" },
};

gboolean ksm_user_is_bound(uid_t uid)
{
    return uid != 0 && uid != geteuid();
}

KsmUser *ksm_user_ref(KsmBroker *broker, uid_t uid)
{
    KsmUser *user = g_hash_table_lookup(broker->users, GUINT_TO_POINTER(uid));
    guint i;

    if (user == NULL) {
        user = g_new0(KsmUser, 1);
        user->broker = broker;
        user->uid = uid;
        for (i = 0; i < KSM_QUOTAS; i++) {
            user->shares[i] = (KsmShare) {
                .limit = G_MAXUINT64,
                .all = &broker->shares[i],
                .percent = ksm_user_is_bound(uid) ?
                               broker->limits.max_user_percent :
                               0,
            };
        }
        g_hash_table_insert(broker->users, GUINT_TO_POINTER(uid), user);
    }
    user->refs++;
    return user;
}

void ksm_user_unref(KsmUser *user)
{
    guint i;

    if (--user->refs > 0) {
        return;
    }
    for (i = 0; i < KSM_QUOTAS; i++) {
        g_assert(user->shares[i].used == 0);
    }
    if (user->broker->refused_user == user) {
        user->broker->refused_user = NULL;
    }
    g_hash_table_remove(user->broker->users, GUINT_TO_POINTER(user->uid));
    g_free(user);
}

gboolean ksm_user_check(KsmUser *user, KsmQuota quota, guint64 count,
                        GError **errp)
{
    const KsmShare *own = &user->shares[quota], *all = own->all;

    if (count <= ksm_share_left(own)) {
        return TRUE;
    }
    user->broker->refused_user = user;
    if (count > all->limit - MIN(all->limit, all->used)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "all users have %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                    " %s, this needs %" G_GUINT64_FORMAT " more: see "
                    "guest-ksmd %s",
                    all->used, all->limit, words[quota].what, count,
                    words[quota].option);
    } else {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "user %u has %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                    " %s, this needs %" G_GUINT64_FORMAT " more: end some, or "
                    "see guest-ksmd --max-user-percent",
                    user->uid, own->used, ksm_share_most(own),
                    words[quota].what, count);
    }
    return FALSE;
}

gboolean ksm_user_has_turn(KsmUser *user)
{
    if (user->iteration != user->broker->iteration) {
        user->iteration = user->broker->iteration;
        user->turn_us = 0;
    }
    return user->turn_us < TURN_US;
}

void ksm_user_spend(KsmUser *user, gint64 start_us)
{
    user->turn_us += g_get_monotonic_time() - start_us;
}

gboolean ksm_user_note_refusal(KsmBroker *broker, guint *left_out)
{
    gint64 now = g_get_monotonic_time();
    KsmUser *user = broker->refused_user;

    *left_out = 0;
    broker->refused_user = NULL;
    if (user == NULL) {
        return TRUE;
    }
    if (user->refused_noted_us != 0 && now - user->refused_noted_us < NOTE_US) {
        user->refused++;
        return FALSE;
    }
    user->refused_noted_us = now;
    *left_out = user->refused;
    user->refused = 0;
    return TRUE;
}
