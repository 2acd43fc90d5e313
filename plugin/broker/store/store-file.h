/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store-file.h: the file that a store lies in: made, opened, recognised. */
#ifndef KSM_STORE_FILE_H
#define KSM_STORE_FILE_H

#include <glib.h>

/** Makes one for @slots slots of the group @label; -1 with @errp set. */
int ksm_store_file_new(const char *label, guint64 slots, GError **errp);

/** A new read-only descriptor for a client; -1 with @errp set. */
int ksm_store_file_open(int fd, GError **errp);

/**
 * Whether @fd, which a client sent, is a store that a broker of this user made
 * for the group @label; KSM_ERROR_INVALID when it is not.
 */
gboolean ksm_store_file_check(int fd, const char *label, guint64 *slots,
                              GError **errp);

/** Opens such a store for writing; -1 with @errp set. */
int ksm_store_file_take(int fd, GError **errp);

/** Whether both are the same file. */
gboolean ksm_store_file_same(int a, int b);

#endif /* KSM_STORE_FILE_H */
