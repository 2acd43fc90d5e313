/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine-landlock.c: no access to files of the host but those named here.
 *
 * Open files, memfds and what clients see of them are not affected, because
 * landlock checks paths.  The definitions are our own, because the headers of
 * Debian 12 only have the first three versions.
 */
#include "confine/confine.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/log.h"

/* <linux/landlock.h> of Linux 6.12 */
#define LANDLOCK_VERSION (1u << 0)
#define LANDLOCK_PATH_BENEATH 1
#define FS_READ_FILE (1ull << 2)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_ALL_1 ((1ull << 13) - 1)
#define FS_REFER_2 (1ull << 13)
#define FS_TRUNCATE_3 (1ull << 14)
#define FS_IOCTL_DEV_5 (1ull << 15)
#define NET_ALL_4 3ull    /* TCP: bind, connect */
#define SCOPED_ALL_6 3ull /* abstract sockets, signals */

typedef struct RulesetAttr {
    guint64 handled_fs;
    guint64 handled_net; /* since version 4 */
    guint64 scoped;      /* since version 6 */
} RulesetAttr;

typedef struct PathAttr {
    guint64 allowed;
    gint32 parent_fd;
} __attribute__((packed)) PathAttr;

static int create_ruleset(const RulesetAttr *attr, gsize bytes, guint flags)
{
    return (int)syscall(SYS_landlock_create_ruleset, attr, bytes, flags);
}

/* Everything that this kernel's landlock version can deny. */
static int ruleset_of_version(int version)
{
    RulesetAttr attr = { .handled_fs = FS_ALL_1 };
    gsize bytes = sizeof(attr.handled_fs);

    attr.handled_fs |= version >= 2 ? FS_REFER_2 : 0;
    attr.handled_fs |= version >= 3 ? FS_TRUNCATE_3 : 0;
    attr.handled_fs |= version >= 5 ? FS_IOCTL_DEV_5 : 0;
    if (version >= 4) {
        attr.handled_net = NET_ALL_4;
        bytes += sizeof(attr.handled_net);
    }
    if (version >= 6) {
        attr.scoped = SCOPED_ALL_6;
        bytes += sizeof(attr.scoped);
    }
    return create_ruleset(&attr, bytes, 0);
}

static gboolean allow(int ruleset, const char *path, guint64 access,
                      GError **errp)
{
    PathAttr attr = { .allowed = access };
    gboolean ok;

    attr.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (attr.parent_fd < 0) {
        return ksm_error_set_failed(errp, path);
    }
    ok = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_PATH_BENEATH, &attr,
                 0) == 0 ||
         ksm_error_set_failed(errp, path);
    close(attr.parent_fd);
    return ok;
}

static gboolean add_rules(int ruleset, const KsmConfinement *confinement,
                          GError **errp)
{
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(confinement->sockets); i++) {
        if (confinement->sockets[i] != NULL) {
            g_autofree char *dir = g_path_get_dirname(confinement->sockets[i]);

            if (!allow(ruleset, dir, FS_REMOVE_FILE, errp)) {
                return FALSE;
            }
        }
    }
    /*
     * Statistics of the host, and parents and control groups of clients
     * (kin.c): files of future processes cannot be named here one by one.
     * The private files of a process (memory, environment, open files) stay
     * inaccessible, because landlock only allows tracing of processes that
     * are confined as well.  A container may have hidden all of /proc.
     */
    return access("/proc", R_OK | X_OK) != 0 ||
           allow(ruleset, "/proc", FS_READ_FILE, errp);
}

gboolean ksm_confine_landlock(const KsmConfinement *confinement, GError **errp)
{
    int version = create_ruleset(NULL, 0, LANDLOCK_VERSION);
    int ruleset;
    gboolean ok;

    if (version < 0) {
        /* Not built in, not enabled, or hidden by a container's filter. */
        ksm_log(KSM_LOG_WARNING, "not confined by landlock: %s",
                g_strerror(errno));
        return TRUE;
    }
    ruleset = ruleset_of_version(version);
    if (ruleset < 0) {
        return ksm_error_set_failed(errp, "making rules");
    }
    ok = add_rules(ruleset, confinement, errp) &&
         (syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 ||
          ksm_error_set_failed(errp, "restricting"));
    close(ruleset);
    return ok;
}
