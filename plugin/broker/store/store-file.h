/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store-file.h: creates, opens and recognises the file of a store. */
#ifndef KSM_STORE_FILE_H
#define KSM_STORE_FILE_H

#include <glib.h>

#define KSM_STORE_PAGE_BYTES 4096u
#define KSM_STORE_ROUND_SLOTS 4096u /* a store has a multiple of that */

/** Size of the roster behind the slots; only the part in use has memory. */
#define KSM_ROSTER_BYTES (513u * 4096u)

/** Roster size of older brokers, before engines had numbers. */
#define KSM_ROSTER_BYTES_1 (129u * 4096u)

/** Creates a file with @slots slots for the group @label; -1 with @errp set. */
int ksm_store_file_new(const char *label, guint64 slots, GError **errp);

/** A new read-only descriptor for a client; -1 with @errp set. */
int ksm_store_file_open(int fd, GError **errp);

/**
 * Whether @fd, which a client sent, is a store that a broker of this user
 * created for the group @label.  Stores its size in @slots.  KSM_ERROR_INVALID
 * if it is not.
 */
gboolean ksm_store_file_check(int fd, const char *label, guint64 *slots,
                              GError **errp);

/** Opens a store that passed that check for writing; -1 with @errp set. */
int ksm_store_file_take(int fd, GError **errp);

/** Whether both are the same file. */
gboolean ksm_store_file_same(int a, int b);

#endif /* KSM_STORE_FILE_H */
