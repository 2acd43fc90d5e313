/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fd-watch.c: waits for events on descriptors in the main loop.
 *
 * All descriptors are in one epoll set, which is one source of the main loop.
 * GLib would walk its own sources and pass them to poll(2) one by one in every
 * iteration, so that a request among 200 clients took 69 us instead of 9.
 *
 * An iteration takes a number of ready descriptors from the set and calls their
 * functions.  A function may clear any watch, so that its object can be freed:
 * the watch's events of this iteration are then dropped.  The set returns ready
 * descriptors in turns, so a client that always has requests is not served
 * twice before another is served.
 *
 * Single-threaded: the main loop's thread only.
 */
#include "host/fd-watch.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 64

G_STATIC_ASSERT((int)G_IO_IN == EPOLLIN && (int)G_IO_OUT == EPOLLOUT &&
                (int)G_IO_HUP == EPOLLHUP && (int)G_IO_ERR == EPOLLERR);

typedef struct Poller {
    GSource source;
    int fd;
    int count; /* events of this iteration */
    struct epoll_event events[EVENTS_AT_ONCE];
} Poller;

static Poller *the_poller;

/* The function may clear its watch or others, which drops their events. */
static void poller_call(KsmFdWatch *watch, const struct epoll_event *event)
{
    guint32 wanted = (guint32)watch->condition | EPOLLHUP | EPOLLERR;

    if ((event->events & wanted) != 0 &&
        !watch->function(watch->fd, (GIOCondition)event->events,
                         watch->opaque) &&
        event->data.ptr != NULL) {
        ksm_fd_watch_clear(watch);
    }
}

static gboolean poller_dispatch(GSource *source, GSourceFunc callback,
                                gpointer data)
{
    Poller *poller = (Poller *)source;
    int i;

    (void)callback;
    (void)data;
    poller->count = epoll_wait(poller->fd, poller->events, EVENTS_AT_ONCE, 0);
    for (i = 0; i < poller->count; i++) {
        if (poller->events[i].data.ptr != NULL) {
            poller_call(poller->events[i].data.ptr, &poller->events[i]);
        }
    }
    poller->count = 0;
    return G_SOURCE_CONTINUE;
}

static Poller *poller_get(void)
{
    static GSourceFuncs funcs = { .dispatch = poller_dispatch };

    if (the_poller == NULL) {
        the_poller = (Poller *)g_source_new(&funcs, sizeof(Poller));
        the_poller->fd = epoll_create1(EPOLL_CLOEXEC);
        if (the_poller->fd < 0) {
            g_error("epoll_create1: %s", g_strerror(errno));
        }
        g_source_add_unix_fd(&the_poller->source, the_poller->fd, G_IO_IN);
        g_source_attach(&the_poller->source, NULL);
    }
    return the_poller;
}

gboolean ksm_fd_watch_is_set(const KsmFdWatch *watch)
{
    return watch->function != NULL;
}

void ksm_fd_watch_clear(KsmFdWatch *watch)
{
    Poller *poller = poller_get();
    int i;

    if (!ksm_fd_watch_is_set(watch)) {
        return;
    }
    epoll_ctl(poller->fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (i = 0; i < poller->count; i++) {
        if (poller->events[i].data.ptr == watch) {
            poller->events[i].data.ptr = NULL;
        }
    }
    *watch = (KsmFdWatch) { 0 };
}

gboolean ksm_fd_watch_set(KsmFdWatch *watch, int fd, GIOCondition condition,
                          GUnixFDSourceFunc function, gpointer opaque)
{
    struct epoll_event event = {
        .events = (guint32)condition,
        .data.ptr = watch,
    };
    gboolean known = ksm_fd_watch_is_set(watch) && watch->fd == fd;

    if (known && watch->condition == condition) {
        return TRUE;
    }
    if (!known) {
        ksm_fd_watch_clear(watch);
    }
    if (epoll_ctl(poller_get()->fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
                  &event) != 0) {
        return FALSE; /* ENOMEM; or ENOSPC: max_user_watches */
    }
    *watch = (KsmFdWatch) { function, opaque, fd, condition };
    return TRUE;
}
