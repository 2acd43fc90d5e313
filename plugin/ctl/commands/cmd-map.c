/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd-map.c: `guest-ksmctl map VM`: a picture of guest memory by state. */
#include <stdio.h>

#include "base/command.h"
#include "map/page-picture.h"
#include "base/terminal.h"

static char *png_path, *colour_when;

static const GOptionEntry entries[] = {
    { "png", 'o', 0, G_OPTION_ARG_FILENAME, &png_path,
      "Write the picture there, instead of to the terminal", "FILE" },
    { "color", 0, 0, G_OPTION_ARG_STRING, &colour_when,
      "Colours in the terminal: always, never or auto (default)", "WHEN" },
    { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
};

static JsonObject *describe(const KsmPicture *picture)
{
    JsonObject *object = json_object_new();
    JsonArray *kinds = json_array_new();
    g_autofree char *cells = g_base64_encode(picture->cells, picture->count);
    guint i;

    for (i = 0; i < KSM_KINDS; i++) {
        json_array_add_string_element(kinds, ksm_page_kinds[i].name);
    }
    json_object_set_string_member(object, "name", picture->name);
    json_object_set_int_member(object, "pages", picture->pages);
    json_object_set_int_member(object, "pages_per_cell",
                               picture->pages_per_cell);
    json_object_set_int_member(object, "count", picture->count);
    json_object_set_array_member(object, "kinds", kinds);
    json_object_set_string_member(object, "cells", cells);
    return object;
}

static void print_json(const GPtrArray *pictures)
{
    g_autoptr(JsonObject) object = json_object_new();
    JsonArray *maps = json_array_new();
    guint i;

    for (i = 0; i < pictures->len; i++) {
        json_array_add_object_element(maps,
                                      describe(g_ptr_array_index(pictures, i)));
    }
    json_object_set_array_member(object, "maps", maps);
    ksm_command_print_json(object);
}

static void print_text(const GPtrArray *pictures, gboolean coloured)
{
    g_autoptr(GString) text = g_string_new(NULL);
    guint i;

    for (i = 0; i < pictures->len; i++) {
        if (i > 0) {
            g_string_append_c(text, '\n');
        }
        ksm_picture_add_text(g_ptr_array_index(pictures, i), text,
                             ksm_terminal_columns(), coloured,
                             ksm_terminal_is_utf8());
    }
    fputs(text->str, stdout);
}

static gboolean show(KsmCtl *ctl, const char *name, GError **errp)
{
    g_autoptr(GPtrArray) pictures = NULL;
    gboolean coloured;

    if (!ksm_terminal_colours(colour_when, &coloured, errp)) {
        return FALSE;
    }
    pictures = ksm_pictures_ask(ctl->client, name, errp);
    if (pictures == NULL) {
        return FALSE;
    }
    if (png_path != NULL && !ksm_pictures_write_png(pictures, png_path, errp)) {
        return FALSE;
    }
    if (ctl->json) {
        print_json(pictures);
    } else if (png_path == NULL) {
        print_text(pictures, coloured);
    }
    return TRUE;
}

static gboolean run_map(KsmCtl *ctl, char **args, GError **errp)
{
    gboolean ok = show(ctl, args[0], errp);

    g_free(png_path);
    g_free(colour_when);
    return ok;
}

extern const KsmCommand ksm_command_map;
const KsmCommand ksm_command_map = {
    .name = "map",
    .arguments = "VM",
    .summary = "A picture of guest memory by state",
    .details = "VM: its name (QEMU's -name), a memory backend's as in "
               "NAME/ram0, or pid:NUMBER.",
    .least = 1,
    .most = 1,
    .entries = entries,
    .run = run_map,
};
