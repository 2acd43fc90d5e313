/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * headroom.c: whether there is room below the limits on the broker's memory.
 *
 * GLib ends the process when it gets no memory, and what is small is taken from
 * it in many places.  So nothing large, and nothing that sessions have one of
 * each, is begun with less than this left; what is small lives on the rest.
 * A limit (RLIMIT_AS, RLIMIT_DATA, that of a control group) then costs
 * newcomers and savings, not the broker.  Memory that the host itself lacks is
 * not seen here.
 */
#include "host/headroom.h"

#include <sys/mman.h>

#include "error.h"
#include "host/cgroup.h"

#define HEADROOM_BYTES (8u * 1024 * 1024)
#define ASK_BYTES (1024u * 1024)
#define NONE_US 1000

const char *ksm_headroom_lack(guint64 file_bytes)
{
    gpointer place = mmap(NULL, HEADROOM_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (place == MAP_FAILED) {
        return "RLIMIT_AS or RLIMIT_DATA of the broker";
    }
    munmap(place, HEADROOM_BYTES);
    return ksm_cgroup_room_bytes(ksm_cgroup_own()) < HEADROOM_BYTES + file_bytes
        ? "the memory limit of the broker's control group" : NULL;
}

gboolean ksm_headroom_left(void)
{
    return ksm_headroom_lack(0) == NULL;
}

gboolean ksm_headroom_take(guint64 bytes)
{
    static guint64 left;        /* of the last MiB; the rest covers it */
    static gint64 none_us;      /* when there was none */

    g_assert(bytes <= ASK_BYTES);
    if (left < bytes) {
        gint64 now = g_get_monotonic_time();

        if (none_us != 0 && now - none_us < NONE_US) {
            return FALSE;
        }
        if (!ksm_headroom_left()) {
            none_us = now;
            return FALSE;
        }
        none_us = 0;
        left = ASK_BYTES;
    }
    left -= bytes;
    return TRUE;
}

guint64 ksm_headroom_file_bytes(void)
{
    guint64 room = ksm_cgroup_room_bytes(ksm_cgroup_own());

    return room == G_MAXUINT64 ? room : room - MIN(room, HEADROOM_BYTES);
}

gboolean ksm_headroom_check(const char *what, GError **errp)
{
    const char *limit = ksm_headroom_lack(0);

    if (limit == NULL) {
        return TRUE;
    }
    g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                "no memory for %s: %s is nearly reached", what, limit);
    return FALSE;
}
