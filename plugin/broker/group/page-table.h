/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page-table.h: one word for each guest page of a session. */
#ifndef KSM_PAGE_TABLE_H
#define KSM_PAGE_TABLE_H

#include <glib.h>

/*
 * The upper two bits of a word are the state of the page.  The lower 30 bits
 * are the slot of a bound page, or the tag of a listed page's content.  For a
 * publisher they hold the lower 16 bits of the tag, and the time when the
 * client was asked to publish (listing.c).
 */
typedef enum KsmPageLink {
    KSM_PAGE_LINK_NOTHING = 0,
    KSM_PAGE_LINK_LISTED = 1,
    KSM_PAGE_LINK_BOUND = 2,
    KSM_PAGE_LINK_PUBLISHER = 3,
} KsmPageLink;

#define KSM_PAGE_VALUE_MASK 0x3fffffffu

/* Number of words in one 4 KiB page of the table's own memory. */
#define KSM_PAGE_TABLE_LEAF 1024u

/*
 * A word may be read and written once ksm_page_table_touch() has returned TRUE
 * for its page.  All other words are KSM_PAGE_LINK_NOTHING.
 */
typedef struct KsmPageTable {
    guint32 *words;
    guint64 pages;
    guint8 *touched; /* a bit for each leaf that has memory */
    gsize touched_bytes;
    guint64 leaves; /* bits set */
} KsmPageTable;

/** Grows the table to @pages; new words are KSM_PAGE_LINK_NOTHING. */
gboolean ksm_page_table_resize(KsmPageTable *table, guint64 pages,
                               GError **errp);
void ksm_page_table_clear(KsmPageTable *table);

/** Allocates the leaf of @page.  FALSE if a memory limit is nearly reached. */
gboolean ksm_page_table_touch_leaf(KsmPageTable *table, guint64 page);

/** The first page from @page on, below @end, whose leaf has memory. */
guint64 ksm_page_table_skip(const KsmPageTable *table, guint64 page,
                            guint64 end);

static inline gboolean ksm_page_table_is_touched(const KsmPageTable *table,
                                                 guint64 page)
{
    guint64 leaf = page / KSM_PAGE_TABLE_LEAF;

    return table->touched[leaf / 8] >> leaf % 8 & 1;
}

static inline gboolean ksm_page_table_touch(KsmPageTable *table, guint64 page)
{
    return ksm_page_table_is_touched(table, page) ||
           ksm_page_table_touch_leaf(table, page);
}

/** Memory of the table, in bytes. */
guint64 ksm_page_table_bytes(const KsmPageTable *table);

static inline KsmPageLink ksm_page_link(guint32 word)
{
    return (KsmPageLink)(word >> 30);
}

static inline guint32 ksm_page_link_value(guint32 word)
{
    return word & KSM_PAGE_VALUE_MASK;
}

static inline guint32 ksm_page_link_word(KsmPageLink state, guint32 value)
{
    return (guint32)state << 30 | (value & KSM_PAGE_VALUE_MASK);
}

#endif /* KSM_PAGE_TABLE_H */
