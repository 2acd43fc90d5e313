/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * roster.h: who may map a store, kept in the store's own file behind the slots.
 */
#ifndef KSM_ROSTER_H
#define KSM_ROSTER_H

#include <glib.h>

#include "identity.h"

/** What it takes in the file; only what is in use has memory. */
#define KSM_ROSTER_BYTES (129u * 4096u)

#define KSM_ROSTER_NONE G_MAXUINT32

typedef struct KsmRoster KsmRoster;

/** An empty one, for a file that was just made with @slots slots. */
KsmRoster *ksm_roster_new(int fd, guint64 slots, GError **errp);

/**
 * The one in a file of another broker.  Fails while that broker lives, or when
 * processes cannot be told from here.  From then on it is this broker's.
 */
KsmRoster *ksm_roster_take(int fd, guint64 slots, GError **errp);

/** Lets go of it; another broker may then take it. */
void ksm_roster_free(KsmRoster *roster);

/** Enters a session of that process; where, or KSM_ROSTER_NONE: it is full. */
guint32 ksm_roster_enter(KsmRoster *roster, KsmIdentity identity);

void ksm_roster_clear(KsmRoster *roster, guint32 at);

/** The next entry from @at on, which is 0 where there is none. */
KsmIdentity ksm_roster_next(const KsmRoster *roster, guint32 *at);

#endif /* KSM_ROSTER_H */
