/* SPDX-License-Identifier: GPL-2.0-or-later */
/* table.h: columns in a terminal. */
#ifndef KSM_CTL_TABLE_H
#define KSM_CTL_TABLE_H

#include <glib.h>

typedef struct KsmTable KsmTable;

/**
 * @headings: names of the columns, ended by NULL; literals.  One that begins
 * with '<' (which is not shown) is set flush left, the others flush right.
 */
KsmTable *ksm_table_new(const char *const *headings);

/** The next cell, row by row; takes @text over. */
void ksm_table_take(KsmTable *table, char *text);
/** The next cell; NULL is shown as "-". */
void ksm_table_add(KsmTable *table, const char *text);

/** The table, lines ended; free with g_free(). */
char *ksm_table_format(const KsmTable *table);

void ksm_table_free(KsmTable *table);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmTable, ksm_table_free)

#endif /* KSM_CTL_TABLE_H */
