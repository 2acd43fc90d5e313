/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store-file.c: creates, opens and recognises the file of a store.
 *
 * A descriptor that a client sends is only trusted as the store of a previous
 * broker for these reasons:
 *  - The file belongs to the broker's user, to whom no client can give a file,
 *    and no other user may open it for writing (0400).
 *  - Its name, which is fixed when a memfd is created, says that it is a store
 *    and of which group.  The other memfds of brokers, which clients may write,
 *    have different names.
 *  - It has the seals and the size of a store, and the client's descriptor is
 *    read-only, like those that brokers give out.
 * So everything in it was written by a broker of this user, or by a client that
 * runs as the broker's user, which is trusted (store.c).
 *
 * F_GET_SEALS comes first: it fails for every file that is not a memfd, without
 * calling the file system; the calls after that cannot block.
 */
#include "store/store-file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "ksm-protocol.h"
#include "host/memfd.h"

#define NAME_PREFIX "ksm-store:"
#define LINK_BYTES 256

static char *link_path(int fd)
{
    return g_strdup_printf("/proc/self/fd/%d", fd);
}

int ksm_store_file_new(const char *label, guint64 slots, GError **errp)
{
    g_autofree char *name = g_strconcat(NAME_PREFIX, label, NULL);
    int fd = ksm_memfd_new(name,
                           slots * KSM_STORE_PAGE_BYTES + KSM_ROSTER_BYTES,
                           errp);

    if (fd >= 0 && fchmod(fd, 0400) != 0) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_FAILED,
                    "fchmod of the store: %s", g_strerror(errno));
        close(fd);
        fd = -1;
    }
    return fd;
}

int ksm_store_file_open(int fd, GError **errp)
{
    g_autofree char *path = link_path(fd);
    /* without O_NOATIME every mapping would update atime, some 100 ns */
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NOATIME);

    if (opened < 0 && errno == EPERM) {
        opened = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (opened < 0) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_FAILED,
                    "reopening the store read-only: %s", g_strerror(errno));
    }
    return opened;
}

static gboolean is_not(GError **errp, const char *reason)
{
    g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                "the descriptor from the client is not a store: %s", reason);
    return FALSE;
}

static gboolean check_name(int fd, const char *label, GError **errp)
{
    g_autofree char *wanted = g_strconcat("/memfd:" NAME_PREFIX, label,
                                          " (deleted)", NULL);
    g_autofree char *path = link_path(fd);
    char name[LINK_BYTES] = "";

    if (readlink(path, name, sizeof(name) - 1) < 0 ||
        strcmp(name, wanted) != 0) {
        return is_not(errp, "it does not have the name of this group's store");
    }
    return TRUE;
}

/* Number of slots in a store's file of @size with a roster of that length. */
static gboolean count_slots(guint64 size, guint64 roster_bytes, guint64 *slots)
{
    const guint64 round_bytes = KSM_STORE_ROUND_SLOTS * KSM_STORE_PAGE_BYTES;

    if (size <= roster_bytes || (size - roster_bytes) % round_bytes != 0) {
        return FALSE;
    }
    *slots = (size - roster_bytes) / KSM_STORE_PAGE_BYTES;
    return *slots <= (guint64)KSM_MAX_SLOT + 1;
}

gboolean ksm_store_file_check(int fd, const char *label, guint64 *slots,
                              GError **errp)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat status;

    if (seals < 0) {
        return is_not(errp, "it is not a memfd");
    }
    if ((seals & ~KSM_MEMFD_SEAL_EXEC) != KSM_MEMFD_SEALS) {
        return is_not(errp, "it has other seals");
    }
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY) {
        return is_not(errp, "it is open for writing");
    }
    if (fstat(fd, &status) != 0 || status.st_uid != geteuid() ||
        !S_ISREG(status.st_mode)) {
        return is_not(errp, "it has another owner");
    }
    /* 0600 for a moment in ksm_store_file_take(); a broker may exit then */
    if ((status.st_mode & 07777) != 0400 && (status.st_mode & 07777) != 0600) {
        return is_not(errp, "it has another mode");
    }
    if (!count_slots((guint64)status.st_size, KSM_ROSTER_BYTES, slots) &&
        !count_slots((guint64)status.st_size, KSM_ROSTER_BYTES_1, slots)) {
        return is_not(errp, "it has another size");
    }
    return check_name(fd, label, errp);
}

gboolean ksm_store_file_same(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

int ksm_store_file_take(int fd, GError **errp)
{
    g_autofree char *path = link_path(fd);
    int opened;

    if (fchmod(fd, 0600) == 0) {
        opened = open(path, O_RDWR | O_CLOEXEC);
        if (fchmod(fd, 0400) == 0 && opened >= 0 &&
            ksm_store_file_same(fd, opened)) {
            return opened;
        }
        if (opened >= 0) {
            close(opened);
        }
    }
    g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                "the store cannot be opened for writing: %s",
                g_strerror(errno));
    return -1;
}
