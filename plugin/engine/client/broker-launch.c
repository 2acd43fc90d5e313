/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * broker-launch.c: finds the broker's program and socket, and starts it.
 *
 * The program is, in this order: $GUEST_KSMD, `guest-ksmd` beside the library
 * (a build directory), the installed one.  A broker is never started for a
 * socket in a directory that is not owned by this user: the owner of the
 * directory decides which process listens there.
 */
#include "client/broker-launch.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#define KSM_LAUNCH_IDLE_EXIT "10"

char *ksm_default_broker_path(void)
{
    if (geteuid() == 0) {
        return g_strdup("/run/guest-ksm/broker.sock");
    }
    return g_build_filename(g_get_user_runtime_dir(), "guest-ksm",
                            "broker.sock", NULL);
}

static char *find_program(void)
{
    const char *named = g_getenv("GUEST_KSMD");
    Dl_info info;

    if (named && *named) {
        return g_strdup(named);
    }
    if (dladdr((void *)(guintptr)ksm_default_broker_path, &info) &&
        info.dli_fname) {
        g_autofree char *dir = g_path_get_dirname(info.dli_fname);
        g_autofree char *beside = g_build_filename(dir, "guest-ksmd", NULL);

        if (g_file_test(beside, G_FILE_TEST_IS_EXECUTABLE)) {
            return g_steal_pointer(&beside);
        }
    }
    return g_strdup(KSM_BROKER_PROGRAM);
}

/* Whether the directory is, or can be created below one, of this user. */
static gboolean directory_is_ours(const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);
    struct stat st;

    if (g_mkdir_with_parents(dir, 0700) || stat(dir, &st)) {
        return FALSE;
    }
    return st.st_uid == geteuid() && !(st.st_mode & S_IWOTH);
}

gboolean ksm_broker_launch(const char *path, GError **errp)
{
    g_autofree char *program = find_program();
    const char *argv[] = { program,       "--listen",           path,
                           "--idle-exit", KSM_LAUNCH_IDLE_EXIT, NULL };
    g_autoptr(GError) error = NULL;

    if (!directory_is_ours(path)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PERMISSION,
                    "No broker listens at '%s', and none is started in a "
                    "directory that this user does not own; start "
                    "guest-ksmd there",
                    path);
        return FALSE;
    }
    /* GLib forks twice, so that the broker is not a child of this process. */
    if (!g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL,
                       NULL, NULL, NULL, &error)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_NO_BROKER,
                    "No broker listens at '%s' and none could be started: %s; "
                    "install guest-ksmd or name it in $GUEST_KSMD",
                    path, error->message);
        return FALSE;
    }
    return TRUE;
}
