/* SPDX-License-Identifier: GPL-2.0-or-later */
/* swap.c: a swap file for the time of a test. */
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#define SWAP_PAGE 4096u

struct KsmTestSwap {
    pid_t guard;
    int write_end; /* of the pipe that it waits for */
};

/* What mkswap(8) writes: union swap_header of <linux/swap.h>. */
static void make_header(unsigned char *page, guint32 pages)
{
    const guint32 version = 1, last = pages - 1;

    memset(page, 0, SWAP_PAGE);
    memcpy(page + 1024, &version, sizeof(version));
    memcpy(page + 1028, &last, sizeof(last));
    memcpy(page + SWAP_PAGE - 10, "SWAPSPACE2", 10);
}

/* Without holes, which swapping does not take. */
static gboolean fill(int fd, guint mib)
{
    unsigned char page[SWAP_PAGE];
    guint32 pages = mib * 256u, i;

    make_header(page, pages);
    for (i = 0; i < pages; i++) {
        if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page)) {
            return FALSE;
        }
        memset(page, 0, sizeof(page));
    }
    return fsync(fd) == 0;
}

/* A child that sees to it when nobody has the pipe's other end any more. */
static void guard(const char *path, int read_end)
{
    char byte;

    while (read(read_end, &byte, 1) < 0 && errno == EINTR) {
    }
    swapoff(path);
    unlink(path);
    _exit(0);
}

static gboolean start_guard(KsmTestSwap *swap, const char *path)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return FALSE;
    }
    swap->write_end = ends[1];
    swap->guard = fork();
    if (swap->guard == 0) {
        setsid(); /* no signal from a terminal, either */
        close(ends[1]);
        guard(path, ends[0]);
    }
    close(ends[0]);
    if (swap->guard < 0) {
        close(ends[1]);
    }
    return swap->guard > 0;
}

KsmTestSwap *ksm_test_swap_on(guint mib)
{
    g_autofree char *path = NULL;
    KsmTestSwap *swap;
    int fd = g_file_open_tmp("ksm-swap-XXXXXX", &path, NULL);
    gboolean filled;

    if (fd < 0) {
        return NULL;
    }
    filled = fill(fd, mib);
    close(fd);
    swap = g_new0(KsmTestSwap, 1);
    if (!start_guard(swap, path)) {
        g_unlink(path);
        g_free(swap);
        return NULL;
    }
    if (!filled || swapon(path, 0) != 0) {
        ksm_test_swap_off(swap);
        return NULL;
    }
    return swap;
}

void ksm_test_swap_off(KsmTestSwap *swap)
{
    if (swap) {
        close(swap->write_end);
        waitpid(swap->guard, NULL, 0);
        g_free(swap);
    }
}
