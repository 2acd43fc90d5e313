/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup.c: a control group with a limit on memory, for the time of a test. */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "require.h"

typedef struct Place {
    const char *top;  /* of a hierarchy that can limit memory */
    const char *line; /* of /proc/self/cgroup begins so, or has it */
    const char *limit, *usage;
} Place;

static const Place places[] = {
    { "/sys/fs/cgroup", "0::", "memory.max", "memory.current" },
    { "/sys/fs/cgroup/memory", ":memory:", "memory.limit_in_bytes",
      "memory.usage_in_bytes" },
};

struct KsmTestCgroup {
    const Place *place;
    char *dir, *shard; /* where this process belongs */
};

/* FALSE and errno when it cannot. */
static gboolean write_file(const char *dir, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t bytes = fd >= 0 ? write(fd, text, strlen(text)) : -1;

    if (fd >= 0) {
        close(fd);
    }
    return bytes == (ssize_t)strlen(text);
}

static char *shard_of(const Place *place)
{
    g_autofree char *text = NULL;
    const char *line;

    g_assert_true(g_file_get_contents("/proc/self/cgroup", &text, NULL, NULL));
    line = strstr(text, place->line);
    g_assert_nonnull(line);
    line += strlen(place->line);
    return g_strdup_printf("%s%.*s", place->top, (int)strcspn(line, "\n"),
                           line);
}

static KsmTestCgroup *make_in(const Place *place)
{
    g_autofree char *dir = g_strdup_printf("%s/ksm-test-%d", place->top,
                                           getpid());
    g_autofree char *limit = NULL;
    KsmTestCgroup *self;

    /* In version 2; it may be so already. */
    write_file(place->top, "cgroup.subtree_control", "+memory");
    if (g_mkdir(dir, 0700) != 0) {
        return NULL;
    }
    limit = g_build_filename(dir, place->limit, NULL);
    if (access(limit, W_OK) != 0) {
        g_rmdir(dir);
        return NULL;
    }
    self = g_new0(KsmTestCgroup, 1);
    self->place = place;
    self->dir = g_steal_pointer(&dir);
    self->shard = shard_of(place);
    return self;
}

KsmTestCgroup *ksm_test_cgroup_new(guint64 limit_bytes)
{
    KsmTestCgroup *self = NULL;
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(places) && self == NULL; i++) {
        self = make_in(&places[i]);
    }
    if (self == NULL) {
        ksm_test_lacks("cgroup", "no control group with a limit on memory can "
                                 "be made");
        return NULL;
    }
    ksm_test_cgroup_set_limit(self, limit_bytes);
    return self;
}

static void move_to(const char *dir)
{
    if (!write_file(dir, "cgroup.procs", "0")) {
        g_error("moving to %s: %s", dir, g_strerror(errno));
    }
}

void ksm_test_cgroup_enter(KsmTestCgroup *self)
{
    move_to(self->dir);
}

void ksm_test_cgroup_leave(KsmTestCgroup *self)
{
    move_to(self->shard);
}

void ksm_test_cgroup_set_limit(KsmTestCgroup *self, guint64 bytes)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, bytes);

    g_assert_true(write_file(self->dir, self->place->limit, text));
}

guint64 ksm_test_cgroup_usage(KsmTestCgroup *self)
{
    g_autofree char *path = g_build_filename(self->dir, self->place->usage,
                                             NULL);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return g_ascii_strtoull(text, NULL, 10);
}

static gboolean is_removed(gpointer opaque)
{
    const KsmTestCgroup *self = opaque;

    return g_rmdir(self->dir) == 0 || errno == ENOENT;
}

void ksm_test_cgroup_free(KsmTestCgroup *self)
{
    if (ksm_test_wait(is_removed, self, 10) < 0) {
        g_error("%s: %s", self->dir, g_strerror(errno));
    }
    g_free(self->dir);
    g_free(self->shard);
    g_free(self);
}
