/* SPDX-License-Identifier: GPL-2.0-or-later */
/* watch.c: what is waited for on a client's socket. */
#include "watch.h"

void ksm_watch_clear(KsmWatch *watch)
{
    if (watch->source != NULL) {
        g_source_destroy(watch->source);
        g_source_unref(watch->source);
        watch->source = NULL;
    }
}

void ksm_watch_set(KsmWatch *watch, int fd, GIOCondition condition,
                   GUnixFDSourceFunc function, gpointer opaque)
{
    if (watch->source != NULL && watch->condition == condition) {
        return;
    }
    ksm_watch_clear(watch);
    watch->condition = condition;
    watch->source = g_unix_fd_source_new(fd, condition);
    g_source_set_callback(watch->source,
                          (GSourceFunc)(void (*)(void))function, opaque,
                          NULL);
    g_source_attach(watch->source, NULL);
}
