/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * headroom.c: whether memory is left below the limits of the broker.
 *
 * GLib aborts the process if an allocation fails, and many places make small
 * allocations.  So no large allocation, and none that is repeated for each
 * session, is made with less than this headroom left; small allocations use the
 * rest.  Reaching a limit (RLIMIT_AS, RLIMIT_DATA, or a control group's) then
 * costs new clients and savings, but not the broker.  A shortage of memory on
 * the host itself is not detected here.
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
    return ksm_cgroup_room_bytes(ksm_cgroup_own()) <
                   HEADROOM_BYTES + file_bytes ?
               "the memory limit of the broker's control group" :
               NULL;
}

gboolean ksm_headroom_left(void)
{
    return ksm_headroom_lack(0) == NULL;
}

gboolean ksm_headroom_take(guint64 bytes)
{
    static guint64 left;   /* of the last MiB; the headroom covers it */
    static gint64 none_us; /* time of the last failure */

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
