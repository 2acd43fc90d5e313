/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memfd.c: memfds that a client may map but not resize. */
#include "host/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 8u
#endif

int ksm_memfd_new(const char *name, guint64 bytes, GError **errp)
{
    int fd = memfd_create(name,
                          MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 &&
        fcntl(fd, F_ADD_SEALS, KSM_MEMFD_SEALS) == 0) {
        return fd;
    }
    g_set_error(errp, KSM_ERROR,
                errno == EMFILE || errno == ENFILE || errno == ENOMEM ?
                    KSM_ERROR_LIMIT :
                    KSM_ERROR_FAILED,
                "creating %s of %" G_GUINT64_FORMAT " bytes: %s", name, bytes,
                g_strerror(errno));
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}
