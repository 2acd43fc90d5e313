/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * picture-png.c: a VM's memory by state, as a PNG file.
 *
 * A panel for each backend: a square of dots, a cell of the map each, in guest
 * order from the left and from the top.  A dot is the paler the fewer of its
 * pages are of the kind whose colour it has.
 */
#include <cairo.h>
#include <errno.h>
#include <math.h>

#include "base/client.h"
#include "base/units.h"
#include "map/page-picture.h"

#define MARGIN 24
#define PANEL 768 /* pixels a row; a multiple of all widths */
#define LABELS 112
#define TITLE 56
#define LEGEND 64
#define MARKS 8 /* addresses beside a panel */
#define PALEST 0.25
#define FONT 14.0

/* A power of two of dots a row, so that a panel is about square. */
static guint dots_wide(const KsmPicture *picture)
{
    guint dots = 16;

    while (dots < 256 && dots * dots < picture->count) {
        dots *= 2;
    }
    return dots;
}

static guint dots_high(const KsmPicture *picture)
{
    guint wide = dots_wide(picture);

    return (picture->count + wide - 1) / wide;
}

static int panel_height(const KsmPicture *picture)
{
    return (int)(dots_high(picture) * (PANEL / dots_wide(picture)));
}

static guint32 pale(guint32 rgb, double share)
{
    double strength = PALEST + (1 - PALEST) * share;
    guint32 result = 0;
    int shift;

    for (shift = 0; shift < 24; shift += 8) {
        double part = rgb >> shift & 0xff;

        result |= (guint32)lrint(255 - (255 - part) * strength) << shift;
    }
    return result;
}

static cairo_surface_t *make_dots(const KsmPicture *picture)
{
    guint wide = dots_wide(picture), high = dots_high(picture);
    cairo_surface_t *dots = cairo_image_surface_create(CAIRO_FORMAT_RGB24,
                                                       (int)wide, (int)high);
    unsigned char *data = cairo_image_surface_get_data(dots);
    gsize stride = (gsize)cairo_image_surface_get_stride(dots);
    guint i;

    if (data == NULL) {
        return dots; /* cairo keeps the error */
    }
    for (i = 0; i < wide * high; i++) {
        guint32 *row = (guint32 *)(gpointer)(data + i / wide * stride);
        double share = 0;
        KsmPageKindId kind = ksm_picture_kind(picture, i, 1, &share);

        row[i % wide] = pale(ksm_page_kinds[kind].rgb, share);
    }
    cairo_surface_mark_dirty(dots);
    return dots;
}

static void set_colour(cairo_t *cr, guint32 rgb)
{
    cairo_set_source_rgb(cr, (rgb >> 16) / 255.0, (rgb >> 8 & 0xff) / 255.0,
                         (rgb & 0xff) / 255.0);
}

static void say(cairo_t *cr, double x, double y, const char *text)
{
    set_colour(cr, 0x202020);
    cairo_move_to(cr, x, y);
    cairo_show_text(cr, text);
}

static void draw_title(cairo_t *cr, const KsmPicture *picture, double y)
{
    g_autofree char *all = ksm_units_mib_of_pages(picture->pages);
    g_autofree char *each = ksm_picture_size(picture->pages_per_cell);
    g_autofree char *title =
        g_strdup_printf("%s: %s MiB of guest memory, %s a dot", picture->name,
                        all, each);
    const char *group = ksm_reply_string(picture->session, "group");
    g_autofree char *saved =
        ksm_units_mib_of_pages(ksm_reply_int(picture->session, "saved_pages"));
    g_autofree char *more = g_strdup_printf("group %s; %s MiB saved; pale: "
                                            "only a part of the dot's pages",
                                            group != NULL ? group : "?", saved);

    say(cr, MARGIN, y + FONT + 6, title);
    say(cr, MARGIN, y + 2 * FONT + 14, more);
}

/* Addresses, at dots that begin a row. */
static void draw_marks(cairo_t *cr, const KsmPicture *picture, double y)
{
    guint wide = dots_wide(picture), high = dots_high(picture);
    guint step = MAX(1, high / MARKS), row;
    double dot = PANEL / (double)wide;

    for (row = 0; row < high; row += step) {
        g_autofree char *mib = ksm_units_mib_of_pages((gint64)row * wide *
                                                      picture->pages_per_cell);
        g_autofree char *offset = g_strconcat(mib, " MiB", NULL);
        cairo_text_extents_t size;

        cairo_text_extents(cr, offset, &size);
        say(cr, MARGIN + LABELS - 10 - size.x_advance, y + row * dot + FONT - 3,
            offset);
    }
}

static void draw_dots(cairo_t *cr, const KsmPicture *picture, double y)
{
    cairo_surface_t *dots = make_dots(picture);
    double dot = PANEL / dots_wide(picture);

    cairo_save(cr);
    cairo_translate(cr, MARGIN + LABELS, y);
    cairo_rectangle(cr, 0, 0, PANEL, panel_height(picture));
    cairo_clip(cr);
    cairo_scale(cr, dot, dot);
    cairo_set_source_surface(cr, dots, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_NEAREST);
    cairo_paint(cr);
    cairo_restore(cr);
    cairo_surface_destroy(dots);
}

static void draw_legend(cairo_t *cr, const KsmPicture *picture, double y)
{
    const double step = (LABELS + PANEL) / 4.0;
    guint i;

    for (i = 0; i < KSM_KIND_NO_MEMORY; i++) {
        const KsmPageKind *kind = &ksm_page_kinds[i];
        g_autofree char *mib = ksm_units_mib_of_pages(
            ksm_reply_int(picture->session, kind->field));
        g_autofree char *text = g_strdup_printf("%s %s MiB", kind->name, mib);
        double x = MARGIN + i % 4 * step, top = y + 12 + i / 4 * 24;

        set_colour(cr, kind->rgb);
        cairo_rectangle(cr, x, top, 14, 14);
        cairo_fill(cr);
        say(cr, x + 20, top + 12, text);
    }
}

static int whole_height(const GPtrArray *pictures)
{
    int height = MARGIN;
    guint i;

    for (i = 0; i < pictures->len; i++) {
        height += TITLE + LEGEND + panel_height(g_ptr_array_index(pictures, i));
    }
    return height;
}

static void draw(cairo_t *cr, const GPtrArray *pictures)
{
    double y = MARGIN / 2;
    guint i;

    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, FONT);
    for (i = 0; i < pictures->len; i++) {
        const KsmPicture *picture = g_ptr_array_index(pictures, i);

        draw_title(cr, picture, y);
        draw_marks(cr, picture, y + TITLE);
        draw_dots(cr, picture, y + TITLE);
        y += TITLE + panel_height(picture);
        draw_legend(cr, picture, y);
        y += LEGEND;
    }
}

gboolean ksm_pictures_write_png(GPtrArray *pictures, const char *path,
                                GError **errp)
{
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24,
                                   2 * MARGIN + LABELS + PANEL,
                                   whole_height(pictures));
    cairo_t *cr = cairo_create(surface);
    cairo_status_t status;

    draw(cr, pictures);
    status = cairo_status(cr);
    errno = 0;
    if (status == CAIRO_STATUS_SUCCESS) {
        status = cairo_surface_write_to_png(surface, path);
    }
    if (status != CAIRO_STATUS_SUCCESS) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "could not write the picture %s: %s", path,
                    errno != 0 ? g_strerror(errno) :
                                 cairo_status_to_string(status));
    }
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    return status == CAIRO_STATUS_SUCCESS;
}
