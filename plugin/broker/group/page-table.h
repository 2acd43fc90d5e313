/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page-table.h: one word for each guest page of a session. */
#ifndef KSM_PAGE_TABLE_H
#define KSM_PAGE_TABLE_H

#include <glib.h>

/*
 * The upper two bits of a word say what the page is, the lower 30 are the slot
 * of a bound page, or the tag of the content that a listed page has.  A page
 * that is to be published has the tag's lower 16 bits there, and the time when
 * it was told so (listing.c).
 */
typedef enum KsmPageLink {
    KSM_PAGE_LINK_NOTHING = 0,
    KSM_PAGE_LINK_LISTED = 1,
    KSM_PAGE_LINK_BOUND = 2,
    KSM_PAGE_LINK_PUBLISHER = 3,
} KsmPageLink;

#define KSM_PAGE_VALUE_MASK 0x3fffffffu

/* Words of a page of the table's own memory. */
#define KSM_PAGE_TABLE_LEAF 1024u

/*
 * A word may be read and written when ksm_page_table_touch() has returned TRUE
 * for its page once.  Others say nothing.
 */
typedef struct KsmPageTable {
    guint32 *words;
    guint64 pages;
    guint8 *touched;            /* a bit for each leaf that has memory */
    gsize touched_bytes;
    guint64 leaves;             /* bits set */
} KsmPageTable;

/** Makes the table @pages long, all new pages nothing; never shorter. */
gboolean ksm_page_table_resize(KsmPageTable *table, guint64 pages,
                               GError **errp);
void ksm_page_table_clear(KsmPageTable *table);

/** Gives the leaf of @page memory.  FALSE at a limit of the host's. */
gboolean ksm_page_table_touch_leaf(KsmPageTable *table, guint64 page);

/** The first page from @page on whose word may say something, below @end. */
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

/** Memory of the table. */
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
