/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * roster.h: who may map a store, kept in the store's own file behind the slots.
 */
#ifndef KSM_ROSTER_H
#define KSM_ROSTER_H

#include <glib.h>

#include "host/identity.h"
#include "ksm-protocol.h"

#define KSM_ROSTER_NONE G_MAXUINT32

typedef struct KsmRoster KsmRoster;

/** Who may map the store. */
typedef struct KsmRosterEntry {
    KsmIdentity process;
    KsmEngineId engine;         /* none: of an older client, or roster */
    gboolean marked;            /* so that ksm_roster_is_gone() can tell */
} KsmRosterEntry;

/** An empty one, for a file that was just made with @slots slots. */
KsmRoster *ksm_roster_new(int fd, guint64 slots, GError **errp);

/**
 * The one in a file of another broker.  Fails while that broker lives, or when
 * processes cannot be told from here.  From then on it is this broker's.
 */
KsmRoster *ksm_roster_take(int fd, guint64 slots, GError **errp);

/** Lets go of it; another broker may then take it. */
void ksm_roster_free(KsmRoster *roster);

/**
 * Enters an engine of that process; where, or KSM_ROSTER_NONE: it is full.  The
 * place is not marked.
 */
guint32 ksm_roster_add(KsmRoster *roster, KsmIdentity process,
                         const KsmEngineId *engine);

void ksm_roster_clear(KsmRoster *roster, guint32 at);

/** The next entry from @at on; FALSE when there is none. */
gboolean ksm_roster_next(const KsmRoster *roster, guint32 *at,
                         KsmRosterEntry *entry);

/**
 * Marks the open file @fd, which is of the store's file, as one given to who
 * stands at @at.  FALSE: the kernel would not have it.
 */
gboolean ksm_roster_mark(KsmRoster *roster, guint32 at, int fd);

/**
 * Whether no open file has the mark of @at any more: neither a descriptor of it
 * nor a mapping is left.
 */
gboolean ksm_roster_is_gone(const KsmRoster *roster, guint32 at);

/** Whether @fd, of the store's file, is the one open file with that mark. */
gboolean ksm_roster_is_marked(const KsmRoster *roster, guint32 at, int fd);

/**
 * Notes that zeros were published in the store; to be called before anybody is
 * told of them.  A broker that does not know of this cannot take it up then.
 */
void ksm_roster_note_zeros(KsmRoster *roster);

/** Whether that was ever noted, by this broker or one before. */
gboolean ksm_roster_has_zeros(const KsmRoster *roster);

#endif /* KSM_ROSTER_H */
