/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page-picture.c: a VM's memory by state, as the broker's `map` reports it. */
#include "map/page-picture.h"

#include "base/vms.h"

#define CELLS_MAX 65536
#define KIND_BITS 7 /* of a cell; above them the share in 31sts */
#define SHARE_SHIFT 3
#define PAGE_KIB 4

void ksm_picture_free(KsmPicture *self)
{
    if (self != NULL) {
        g_free(self->name);
        g_free(self->cells);
        json_object_unref(self->session);
        g_free(self);
    }
}

static gboolean is_sane(const KsmPicture *self, gint64 count, gsize bytes)
{
    gint64 per_cell = self->pages_per_cell;

    return count > 0 && count <= CELLS_MAX && bytes == (gsize)count &&
           per_cell > 0 && (per_cell & (per_cell - 1)) == 0 &&
           per_cell <= G_MAXINT64 / CELLS_MAX &&
           self->pages > (count - 1) * per_cell &&
           self->pages <= count * per_cell;
}

KsmPicture *ksm_picture_of_reply(JsonObject *reply, JsonObject *session,
                                 GError **errp)
{
    g_autoptr(KsmPicture) self = g_new0(KsmPicture, 1);
    const char *name = ksm_reply_string(reply, "name");
    const char *cells = ksm_reply_string(reply, "cells");
    gint64 count = ksm_reply_int(reply, "count");
    gsize bytes = 0;

    self->name = g_strdup(name != NULL ? name : "?");
    self->session = json_object_ref(session);
    self->pages = ksm_reply_int(reply, "pages");
    self->pages_per_cell = ksm_reply_int(reply, "pages_per_cell");
    self->cells = cells != NULL ? g_base64_decode(cells, &bytes) : NULL;
    if (!is_sane(self, count, bytes)) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "the broker's map of %s makes no sense: %" G_GINT64_FORMAT
                    " pages in %" G_GINT64_FORMAT
                    " cells, of which %" G_GSIZE_FORMAT " came",
                    self->name, self->pages, count, bytes);
        return NULL;
    }
    self->count = (guint)count;
    return g_steal_pointer(&self);
}

/* A name that only this backend has: two VMs may be called the same. */
static char *target_of(const KsmVm *vm, JsonObject *session)
{
    return vm->sessions->len == 1 ?
               g_strdup_printf("pid:%" G_GINT64_FORMAT, vm->pid) :
               g_strconcat("vm:", ksm_reply_string(session, "name"), NULL);
}

static gboolean ask_vm(KsmClient *client, const KsmVm *vm, GPtrArray *pictures,
                       GError **errp)
{
    guint i;

    for (i = 0; i < vm->sessions->len; i++) {
        JsonObject *session = g_ptr_array_index(vm->sessions, i);
        g_autofree char *target = target_of(vm, session);
        g_autoptr(JsonObject) reply = ksm_client_ask(client, errp, "map",
                                                     "target", G_TYPE_STRING,
                                                     target, NULL);
        KsmPicture *picture = reply != NULL ?
                                  ksm_picture_of_reply(reply, session, errp) :
                                  NULL;

        if (picture == NULL) {
            return FALSE;
        }
        g_ptr_array_add(pictures, picture);
    }
    return TRUE;
}

GPtrArray *ksm_pictures_ask(KsmClient *client, const char *name, GError **errp)
{
    g_autoptr(GPtrArray) pictures =
        g_ptr_array_new_with_free_func((GDestroyNotify)ksm_picture_free);
    g_autofree char *target = ksm_vm_target(name);
    g_autoptr(GPtrArray) vms = ksm_vms_ask(client, target, errp);
    guint i;

    if (vms == NULL) {
        return NULL;
    }
    for (i = 0; i < vms->len; i++) {
        if (!ask_vm(client, g_ptr_array_index(vms, i), pictures, errp)) {
            return NULL;
        }
    }
    return g_steal_pointer(&pictures);
}

KsmPageKindId ksm_picture_kind(const KsmPicture *self, guint first, guint count,
                               double *share)
{
    guint weights[KSM_KINDS] = { 0 };
    guint end = MIN(first + count, self->count);
    guint best = KSM_KIND_NO_MEMORY;
    guint i;

    for (i = first; i < end; i++) {
        weights[self->cells[i] & KIND_BITS] += self->cells[i] >> SHARE_SHIFT;
    }
    for (i = 0; i < KSM_KINDS; i++) {
        best = weights[i] > weights[best] ? i : best;
    }
    if (share != NULL) {
        *share = end > first ? weights[best] / (31.0 * (end - first)) : 0;
    }
    return (KsmPageKindId)best;
}

char *ksm_picture_size(gint64 pages)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
    gint64 size = pages * PAGE_KIB;
    guint i;

    for (i = 0; i < G_N_ELEMENTS(units) - 1 && size % 1024 == 0 && size != 0;
         i++) {
        size /= 1024;
    }
    return g_strdup_printf("%" G_GINT64_FORMAT " %s", size, units[i]);
}
