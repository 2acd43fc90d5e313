/* SPDX-License-Identifier: GPL-2.0-or-later */
/* emulator.c: what a QEMU program can do. */
#include "domain/emulator.h"

#include <string.h>

#include "base/error.h"

gboolean ksm_emulator_check(const char *path, GError **errp)
{
    const char *argv[] = { path, "-object", "memory-backend-ksm,help", NULL };
    g_autofree char *out = NULL, *err = NULL;
    g_autoptr(GError) error = NULL;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL,
                      &out, &err, NULL, &error)) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "its emulator cannot be run: %s; name one with "
                    "--emulator PATH",
                    error->message);
        return FALSE;
    }
    if (strstr(out, "group=<") == NULL) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "%s has no memory-backend-ksm; name a QEMU that has with "
                    "--emulator PATH",
                    path);
        return FALSE;
    }
    if (strstr(out, "ram-id=<") == NULL) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "the memory-backend-ksm of %s is too old: it has no "
                    "ram-id; build QEMU with the newer patches",
                    path);
        return FALSE;
    }
    return TRUE;
}
