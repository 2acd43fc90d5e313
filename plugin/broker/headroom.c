/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * headroom.c: whether there is room below the limits on the broker's memory.
 *
 * GLib ends the process when it gets no memory, and what is small is taken from
 * it in many places.  So nothing large, and nothing that sessions have one of
 * each, is begun with less than this left; what is small lives on the rest.
 * A limit (RLIMIT_AS, RLIMIT_DATA) then costs newcomers and savings, not the
 * broker.  Memory that the host itself lacks is not seen here.
 */
#include "headroom.h"

#include <sys/mman.h>

#include "broker-error.h"

#define HEADROOM_BYTES (8u * 1024 * 1024)

gboolean ksm_headroom_left(void)
{
    gpointer place = mmap(NULL, HEADROOM_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (place == MAP_FAILED) {
        return FALSE;
    }
    munmap(place, HEADROOM_BYTES);
    return TRUE;
}

gboolean ksm_headroom_check(const char *what, GError **errp)
{
    if (ksm_headroom_left()) {
        return TRUE;
    }
    g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_LIMIT,
                "no memory for %s: RLIMIT_AS or RLIMIT_DATA of the broker is "
                "nearly reached", what);
    return FALSE;
}
