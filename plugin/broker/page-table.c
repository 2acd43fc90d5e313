/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * page-table.c: one word for each guest page of a session.
 *
 * All that the broker believes about a client's pages stands here, four bytes
 * each; a client can neither forge a reference nor give one back twice,
 * because what it says is only ever applied to these words.  Memory comes
 * as pages are first spoken of.
 */
#include "page-table.h"

#include <errno.h>
#include <sys/mman.h>

#include "broker-error.h"

gboolean ksm_page_table_resize(KsmPageTable *table, guint64 pages,
                               GError **errp)
{
    gpointer words;

    g_assert(pages >= table->pages);
    if (pages == table->pages) {
        return TRUE;
    }
    if (table->words == NULL) {
        words = mmap(NULL, pages * sizeof(guint32), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    } else {
        words = mremap(table->words, table->pages * sizeof(guint32),
                       pages * sizeof(guint32), MREMAP_MAYMOVE);
    }
    if (words == MAP_FAILED) {
        g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_LIMIT,
                    "no memory for a table of %" G_GUINT64_FORMAT " pages: %s",
                    pages, g_strerror(errno));
        return FALSE;
    }
    table->words = words;
    table->pages = pages;
    return TRUE;
}

void ksm_page_table_clear(KsmPageTable *table)
{
    if (table->words != NULL) {
        munmap(table->words, table->pages * sizeof(guint32));
    }
    table->words = NULL;
    table->pages = 0;
}
