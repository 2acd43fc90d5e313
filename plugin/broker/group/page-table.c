/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * page-table.c: one word for each guest page of a session.
 *
 * Everything the broker knows about a client's pages is stored here, four bytes
 * for each.  A client can neither forge a reference nor drop one twice, because
 * its requests are only applied to these words.
 *
 * Memory is allocated when a page is first used, in leaves of 4 KiB.  A client
 * may use one page in each leaf: then a table of 2^28 pages takes 1 GiB.  So
 * memory for each leaf is checked (headroom.h) before its first word is
 * written, and reaching a limit costs savings only.  Huge pages are disabled
 * for the table, because the kernel would allocate 2 MiB for a single word.
 */
#include "group/page-table.h"

#include <errno.h>
#include <sys/mman.h>

#include "error.h"
#include "host/headroom.h"

/* Size of the leaf bitmap of a table with @pages. */
static gsize touched_bytes(guint64 pages)
{
    return (gsize)(pages / KSM_PAGE_TABLE_LEAF / 8 + 1);
}

/* Maps zeroed memory, allocated on first use; or grows @old. */
static gpointer map_longer(gpointer old, gsize old_bytes, gsize bytes)
{
    return old != NULL ?
               mremap(old, old_bytes, bytes, MREMAP_MAYMOVE) :
               mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static gboolean resize_failed(guint64 pages, GError **errp)
{
    g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                "no memory for a table of %" G_GUINT64_FORMAT " pages: %s",
                pages, g_strerror(errno));
    return FALSE;
}

gboolean ksm_page_table_resize(KsmPageTable *table, guint64 pages,
                               GError **errp)
{
    gpointer words, touched;

    g_assert(pages >= table->pages);
    if (pages == table->pages) {
        return TRUE;
    }
    /* A longer bitmap does no harm if growing the words then fails. */
    touched = map_longer(table->touched, table->touched_bytes,
                         touched_bytes(pages));
    if (touched == MAP_FAILED) {
        return resize_failed(pages, errp);
    }
    table->touched = touched;
    table->touched_bytes = touched_bytes(pages);
    words = map_longer(table->words, table->pages * sizeof(guint32),
                       pages * sizeof(guint32));
    if (words == MAP_FAILED) {
        return resize_failed(pages, errp);
    }
    /* A kernel without huge pages refuses; that is fine. */
    madvise(words, pages * sizeof(guint32), MADV_NOHUGEPAGE);
    table->words = words;
    table->pages = pages;
    return TRUE;
}

void ksm_page_table_clear(KsmPageTable *table)
{
    if (table->words != NULL) {
        munmap(table->words, table->pages * sizeof(guint32));
    }
    if (table->touched != NULL) {
        munmap(table->touched, table->touched_bytes);
    }
    *table = (KsmPageTable) { .words = NULL };
}

gboolean ksm_page_table_touch_leaf(KsmPageTable *table, guint64 page)
{
    guint64 leaf = page / KSM_PAGE_TABLE_LEAF;

    if (!ksm_headroom_take(KSM_PAGE_TABLE_LEAF * sizeof(guint32))) {
        return FALSE;
    }
    table->touched[leaf / 8] |= (guint8)(1u << leaf % 8);
    table->leaves++;
    return TRUE;
}

guint64 ksm_page_table_skip(const KsmPageTable *table, guint64 page,
                            guint64 end)
{
    while (page < end && !ksm_page_table_is_touched(table, page)) {
        page = (page / KSM_PAGE_TABLE_LEAF + 1) * KSM_PAGE_TABLE_LEAF;
    }
    return MIN(page, end);
}

guint64 ksm_page_table_bytes(const KsmPageTable *table)
{
    return table->leaves * KSM_PAGE_TABLE_LEAF * sizeof(guint32);
}
