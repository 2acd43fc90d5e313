/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * roster.h: the engines that may map a store, recorded in the store's own file
 * behind the slots.
 */
#ifndef KSM_ROSTER_H
#define KSM_ROSTER_H

#include <glib.h>

#include "host/identity.h"
#include "ksm-protocol.h"

#define KSM_ROSTER_NONE G_MAXUINT32

typedef struct KsmRoster KsmRoster;

/** An engine that may map the store. */
typedef struct KsmRosterEntry {
    KsmIdentity process;
    KsmEngineId engine; /* none: an older client or roster layout */
    gboolean marked;    /* ksm_roster_is_gone() works for it */
} KsmRosterEntry;

/** Creates a roster in a new file with @slots slots; @fd stays the caller's. */
KsmRoster *ksm_roster_new(int fd, guint64 slots, GError **errp);

/**
 * Takes over the roster in a file of another broker.  Fails while that broker
 * is alive, or if its process ids are of another pid namespace.
 */
KsmRoster *ksm_roster_take(int fd, guint64 slots, GError **errp);

/** Gives up ownership; another broker may then take the roster. */
void ksm_roster_free(KsmRoster *roster);

/**
 * Adds an engine of that process.  Returns the index of the entry, which is not
 * marked yet, or KSM_ROSTER_NONE if the roster is full.
 */
guint32 ksm_roster_add(KsmRoster *roster, KsmIdentity process,
                       const KsmEngineId *engine);

void ksm_roster_clear(KsmRoster *roster, guint32 at);

/** The next entry from index *at on; FALSE if there is none. */
gboolean ksm_roster_next(const KsmRoster *roster, guint32 *at,
                         KsmRosterEntry *entry);

/**
 * Marks the open file @fd of the store's file as given to the engine of entry
 * @at.  FALSE if the kernel refuses the lock.
 */
gboolean ksm_roster_mark(KsmRoster *roster, guint32 at, int fd);

/**
 * Whether no open file has the mark of entry @at any more: neither a descriptor
 * nor a mapping of it is left.
 */
gboolean ksm_roster_is_gone(const KsmRoster *roster, guint32 at);

/** Whether @fd, of the store's file, is the only open file with that mark. */
gboolean ksm_roster_is_marked(const KsmRoster *roster, guint32 at, int fd);

/**
 * Records that zeros were published in the store.  Must be called before any
 * client is sent their slots.  A broker too old to know this flag cannot take
 * over the store afterwards.
 */
void ksm_roster_note_zeros(KsmRoster *roster);

/** Whether this broker or an earlier one recorded zeros. */
gboolean ksm_roster_has_zeros(const KsmRoster *roster);

#endif /* KSM_ROSTER_H */
