/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cgroup.c: the control group limits on the broker's memory.
 *
 * Slots are charged to the control group of the process that writes them first,
 * which is the broker; guests that map them are charged nothing.  When such a
 * limit is reached and nothing can be reclaimed, the kernel does not refuse
 * memory: it kills a process in the group.  So the broker must know how much it
 * may allocate.
 *
 * The limits of all ancestor groups count as well.  Supports cgroup version 2,
 * and the memory controller of version 1 if it is mounted.  The files are
 * opened once, because a confined broker cannot open them, and read each time,
 * because limits change.  A broker that is moved to another control group keeps
 * using the first one's limits.
 */
#include "host/cgroup.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MAX_LEVELS 8 /* with limits that could be set */
#define LIMITS 2
#define ENDLESS ((guint64)G_MAXINT64 / 2) /* version 1: no limit */
#define STAT_BYTES 8192

typedef struct Version {
    const char *controller; /* in /proc/self/cgroup */
    const char *type;       /* of the file system */
    const char *limits[LIMITS];
    const char *usage;
    const char *caches[2]; /* lines of memory.stat */
} Version;

static const Version versions[] = {
    /* Above memory.high all processes in the group are throttled. */
    { "",
      "cgroup2",
      { "memory.max", "memory.high" },
      "memory.current",
      { "\ninactive_file ", "\nactive_file " } },
    { "memory",
      "cgroup",
      { "memory.limit_in_bytes", NULL },
      "memory.usage_in_bytes",
      { "\ntotal_inactive_file ", "\ntotal_active_file " } },
};

typedef struct Level {
    const Version *version;
    int limits[LIMITS];
    int usage, stat;
} Level;

struct KsmCgroup {
    Level levels[MAX_LEVELS];
    guint count;
};

static int open_in(const char *dir, const char *name)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    return open(path, O_RDONLY | O_CLOEXEC);
}

static void close_file(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static void level_close(const Level *level)
{
    close_file(level->limits[0]);
    close_file(level->limits[1]);
    close_file(level->usage);
    close_file(level->stat);
}

/* Adds one level of the hierarchy; a root has no limit, and is left out. */
static void add_level(KsmCgroup *self, const Version *version, const char *dir)
{
    Level level = { version, { -1, -1 }, -1, -1 };
    gsize i;

    for (i = 0; i < LIMITS && version->limits[i] != NULL; i++) {
        level.limits[i] = open_in(dir, version->limits[i]);
    }
    level.usage = open_in(dir, version->usage);
    level.stat = open_in(dir, "memory.stat");
    if (level.limits[0] >= 0 && level.usage >= 0 && self->count < MAX_LEVELS) {
        self->levels[self->count++] = level;
    } else {
        level_close(&level);
    }
}

static gboolean has_word(const char *list, const char *word)
{
    g_auto(GStrv) words = g_strsplit(list, ",", -1);

    return g_strv_contains((const char *const *)words, word);
}

/* The path in that hierarchy, from a line "ID:CONTROLLERS:PATH". */
static char *find_path(const char *text, const Version *version)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    gsize i;

    for (i = 0; lines[i] != NULL; i++) {
        g_auto(GStrv) fields = g_strsplit(lines[i], ":", 3);

        if (g_strv_length(fields) == 3 &&
            (version->controller[0] != '\0' ?
                 has_word(fields[1], version->controller) :
                 g_str_equal(fields[1], ""))) {
            return g_strdup(fields[2]);
        }
    }
    return NULL;
}

/*
 * Where the hierarchy is mounted, and which part of it, from a line "ID PARENT
 * DEVICE PART PLACE OPTIONS [...] - TYPE SOURCE OPTIONS".
 */
static char *find_mount(const char *text, const Version *version, char **part)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    gsize i;

    for (i = 0; lines[i] != NULL; i++) {
        const char *rest = strstr(lines[i], " - ");
        g_auto(GStrv) fields = g_strsplit(lines[i], " ", 6);
        g_auto(GStrv) ends = g_strsplit(rest != NULL ? rest + 3 : "", " ", 3);

        if (g_strv_length(fields) == 6 && g_strv_length(ends) == 3 &&
            g_str_equal(ends[0], version->type) &&
            (version->controller[0] == '\0' ||
             has_word(ends[2], version->controller))) {
            *part = g_strcompress(fields[3]);
            return g_strcompress(fields[4]);
        }
    }
    return NULL;
}

/* Adds the levels from the process's own group up to the mount point. */
static void add_levels(KsmCgroup *self, const char *root,
                       const Version *version, const char *groups,
                       const char *mounts)
{
    g_autofree char *part = NULL, *path = find_path(groups, version);
    g_autofree char *place = find_mount(mounts, version, &part);
    g_autofree char *dir = NULL;
    const char *below = path;
    gsize top;

    if (path == NULL || place == NULL) {
        return;
    }
    if (!g_str_equal(part, "/")) {
        below = g_str_has_prefix(path, part) ? path + strlen(part) : "";
    }
    if (strstr(below, "/..") != NULL) {
        below = ""; /* outside of its cgroup namespace */
    }
    top = strlen(root) + strlen(place);
    dir = g_strconcat(root, place, g_str_equal(below, "/") ? "" : below, NULL);
    add_level(self, version, dir);
    while (strlen(dir) > top) {
        *strrchr(dir, '/') = '\0';
        add_level(self, version, dir);
    }
}

KsmCgroup *ksm_cgroup_new(const char *root)
{
    g_autofree char *groups_path = g_strconcat(root, "/proc/self/cgroup", NULL);
    g_autofree char *mounts_path = g_strconcat(root, "/proc/self/mountinfo",
                                               NULL);
    g_autofree char *groups = NULL, *mounts = NULL;
    KsmCgroup *self = g_new0(KsmCgroup, 1);
    gsize i;

    if (g_file_get_contents(groups_path, &groups, NULL, NULL) &&
        g_file_get_contents(mounts_path, &mounts, NULL, NULL)) {
        for (i = 0; i < G_N_ELEMENTS(versions); i++) {
            add_levels(self, root, &versions[i], groups, mounts);
        }
    }
    return self;
}

void ksm_cgroup_free(KsmCgroup *self)
{
    guint i;

    for (i = 0; i < self->count; i++) {
        level_close(&self->levels[i]);
    }
    g_free(self);
}

const KsmCgroup *ksm_cgroup_own(void)
{
    static KsmCgroup *own;

    if (own == NULL) {
        own = ksm_cgroup_new("");
    }
    return own;
}

/* The number in the file; @otherwise for "max", or if there is no file. */
static guint64 read_number(int fd, guint64 otherwise)
{
    char text[32];
    ssize_t bytes = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : 0;

    if (bytes <= 0 || !g_ascii_isdigit(text[0])) {
        return otherwise;
    }
    text[bytes] = '\0';
    return g_ascii_strtoull(text, NULL, 10);
}

static guint64 level_limit(const Level *level)
{
    guint64 limit = MIN(read_number(level->limits[0], G_MAXUINT64),
                        read_number(level->limits[1], G_MAXUINT64));

    return limit < ENDLESS ? limit : G_MAXUINT64;
}

/* Page cache, which the kernel drops first; stores do not count as such. */
static guint64 level_cache(const Level *level)
{
    char text[STAT_BYTES] = "\n";
    ssize_t bytes = level->stat >= 0 ?
                        pread(level->stat, text + 1, sizeof(text) - 2, 0) :
                        0;
    guint64 sum = 0;
    gsize i;

    text[1 + MAX(bytes, 0)] = '\0';
    for (i = 0; i < G_N_ELEMENTS(level->version->caches); i++) {
        const char *name = level->version->caches[i];
        const char *line = strstr(text, name);

        sum += line != NULL ? g_ascii_strtoull(line + strlen(name), NULL, 10) :
                              0;
    }
    return sum;
}

guint64 ksm_cgroup_limit_bytes(const KsmCgroup *self)
{
    guint64 least = G_MAXUINT64;
    guint i;

    for (i = 0; i < self->count; i++) {
        least = MIN(least, level_limit(&self->levels[i]));
    }
    return least;
}

guint64 ksm_cgroup_room_bytes(const KsmCgroup *self)
{
    guint64 least = G_MAXUINT64;
    guint i;

    for (i = 0; i < self->count; i++) {
        const Level *level = &self->levels[i];
        guint64 limit = level_limit(level), used, cache;

        if (limit == G_MAXUINT64) {
            continue;
        }
        used = read_number(level->usage, 0);
        cache = level_cache(level);
        used -= MIN(used, cache);
        least = MIN(least, limit - MIN(limit, used));
    }
    return least;
}
