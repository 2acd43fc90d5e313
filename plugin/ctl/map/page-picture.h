/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page-picture.h: a VM's memory by state, as the broker's `map` reports it. */
#ifndef KSM_CTL_PAGE_PICTURE_H
#define KSM_CTL_PAGE_PICTURE_H

#include "base/client.h"
#include "map/page-kind.h"

/** One backend: cells of a power of two of pages each, in guest order. */
typedef struct KsmPicture {
    char *name;          /* of the session */
    JsonObject *session; /* its statistics, for the legend */
    gint64 pages;
    gint64 pages_per_cell;
    guint count; /* cells */
    guint8 *cells;
} KsmPicture;

/** Of KsmPicture, owned: one for each backend of the VM that @name names. */
GPtrArray *ksm_pictures_ask(KsmClient *client, const char *name, GError **errp);

/** Takes a reply to `map` apart; NULL when it makes no sense. */
KsmPicture *ksm_picture_of_reply(JsonObject *reply, JsonObject *session,
                                 GError **errp);
void ksm_picture_free(KsmPicture *picture);

/**
 * The kind that most pages of cells @first to @first + @count - 1 have, and in
 * @share (unless NULL) which part of them does.
 */
KsmPageKindId ksm_picture_kind(const KsmPicture *picture, guint first,
                               guint count, double *share);

/** All backends as a PNG file. */
gboolean ksm_pictures_write_png(GPtrArray *pictures, const char *path,
                                GError **errp);

/**
 * Appends lines of at most @columns characters: a block for some cells, in
 * colours of the terminal, or letters without them.
 */
void ksm_picture_add_text(const KsmPicture *picture, GString *text,
                          guint columns, gboolean coloured, gboolean blocks);

/** "512 KiB", "2 GiB": pages, a power of two, in a round unit. */
char *ksm_picture_size(gint64 pages);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmPicture, ksm_picture_free)

#endif /* KSM_CTL_PAGE_PICTURE_H */
