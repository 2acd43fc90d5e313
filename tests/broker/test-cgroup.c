/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-cgroup.c: limits of control groups, found in trees made up for it. */
#include <glib.h>
#include <glib/gstdio.h>

#include "host/cgroup.h"

#define NONE G_MAXUINT64
#define V2_MOUNT \
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 " \
    "cgroup2 rw,nsdelegate\n"
#define OTHER_MOUNTS \
    "23 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n" \
    "28 23 0:24 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"

typedef struct File {
    const char *path, *text;
} File;

typedef struct Tree {
    const char *name;
    const char *groups, *mounts; /* of /proc/self */
    File files[10];
    guint64 limit, room;
} Tree;

/* clang-format off */
static const Tree trees[] = {
    { "none", "0::/\n", OTHER_MOUNTS, { { NULL, NULL } }, NONE, NONE },
    { "no-limit", "0::/a\n", V2_MOUNT, {
          { "sys/fs/cgroup/a/memory.max", "max\n" },
          { "sys/fs/cgroup/a/memory.high", "max\n" },
          { "sys/fs/cgroup/a/memory.current", "5000\n" } }, NONE, NONE },
    { "own", "1:name=x:/\n0::/a/b\n", OTHER_MOUNTS V2_MOUNT, {
          { "sys/fs/cgroup/a/b/memory.max", "8000\n" },
          { "sys/fs/cgroup/a/b/memory.current", "5000\n" } }, 8000, 3000 },
    { "high", "0::/a\n", V2_MOUNT, {
          { "sys/fs/cgroup/a/memory.max", "8000\n" },
          { "sys/fs/cgroup/a/memory.high", "7000\n" },
          { "sys/fs/cgroup/a/memory.current", "5000\n" } }, 7000, 2000 },
    /* The least limit is the one's, the least room the other's. */
    { "above", "0::/a/b\n", V2_MOUNT, {
          { "sys/fs/cgroup/a/b/memory.max", "8000\n" },
          { "sys/fs/cgroup/a/b/memory.current", "1000\n" },
          { "sys/fs/cgroup/a/memory.max", "9000\n" },
          { "sys/fs/cgroup/a/memory.current", "6000\n" } }, 8000, 3000 },
    { "over", "0::/a\n", V2_MOUNT, {
          { "sys/fs/cgroup/a/memory.max", "4000\n" },
          { "sys/fs/cgroup/a/memory.current", "5000\n" } }, 4000, 0 },
    { "cache", "0::/a\n", V2_MOUNT, {
          { "sys/fs/cgroup/a/memory.max", "8000\n" },
          { "sys/fs/cgroup/a/memory.current", "7000\n" },
          { "sys/fs/cgroup/a/memory.stat", "anon 900\nfile 5000\nshmem 3000\n"
            "inactive_file 1500\nactive_file 500\nworkingset_x 7\n" } },
      8000, 3000 },
    /* A container with a part of the hierarchy at the usual place. */
    { "part", "0::/pod/box\n", "30 23 0:26 /pod /sys/fs/cgroup rw - cgroup2 "
      "cgroup2 rw\n", {
          { "sys/fs/cgroup/box/memory.max", "8000\n" },
          { "sys/fs/cgroup/box/memory.current", "5000\n" },
          { "sys/fs/cgroup/memory.max", "6000\n" },
          { "sys/fs/cgroup/memory.current", "5500\n" } }, 6000, 500 },
    { "out-of-namespace", "0::/../other\n", V2_MOUNT, {
          { "sys/fs/cgroup/memory.max", "6000\n" },
          { "sys/fs/cgroup/memory.current", "5500\n" } }, 6000, 500 },
    { "escaped", "0::/a\n", "30 23 0:26 / /sys/fs/c\\040g rw - cgroup2 x rw\n",
      { { "sys/fs/c g/a/memory.max", "8000\n" },
        { "sys/fs/c g/a/memory.current", "5000\n" } }, 8000, 3000 },
    { "version-1", "4:cpuset,memory:/a\n0::/\n", OTHER_MOUNTS
      "29 23 0:25 / /cg/mem rw - cgroup cgroup rw,memory\n", {
          { "cg/mem/a/memory.limit_in_bytes", "8000\n" },
          { "cg/mem/a/memory.usage_in_bytes", "7000\n" },
          { "cg/mem/a/memory.stat", "inactive_file 9\nactive_file 9\n"
            "total_inactive_file 1500\ntotal_active_file 500\n" },
          { "cg/mem/memory.limit_in_bytes", "9223372036854771712\n" },
          { "cg/mem/memory.usage_in_bytes", "7000\n" } }, 8000, 3000 },
};
/* clang-format on */

static void put(const char *root, const char *path, const char *text)
{
    g_autofree char *file = g_build_filename(root, path, NULL);
    g_autofree char *dir = g_path_get_dirname(file);

    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    /* Not replaced by another file, as the kernel does not, either. */
    g_assert_true(g_file_set_contents_full(file, text, -1,
                                           G_FILE_SET_CONTENTS_NONE, 0600,
                                           NULL));
}

static void remove_tree(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *entry = g_build_filename(path, name, NULL);

        remove_tree(entry);
    }
    g_clear_pointer(&dir, g_dir_close);
    g_assert_cmpint(g_remove(path), ==, 0);
}

static void test_tree(gconstpointer opaque)
{
    const Tree *tree = opaque;
    g_autofree char *root = g_dir_make_tmp("ksm-cgroup-XXXXXX", NULL);
    g_autoptr(KsmCgroup) cgroup = NULL;
    const File *file;

    put(root, "proc/self/cgroup", tree->groups);
    put(root, "proc/self/mountinfo", tree->mounts);
    for (file = tree->files; file->path != NULL; file++) {
        put(root, file->path, file->text);
    }
    cgroup = ksm_cgroup_new(root);
    g_assert_cmpuint(ksm_cgroup_limit_bytes(cgroup), ==, tree->limit);
    g_assert_cmpuint(ksm_cgroup_room_bytes(cgroup), ==, tree->room);
    if (tree->limit != NONE) {
        /* Limits change while it runs. */
        put(root, tree->files[0].path, "100\n");
        g_assert_cmpuint(ksm_cgroup_limit_bytes(cgroup), ==, 100);
        g_assert_cmpuint(ksm_cgroup_room_bytes(cgroup), ==, 0);
    }
    remove_tree(root);
}

/* No /proc at all. */
static void test_nothing(void)
{
    g_autoptr(KsmCgroup) cgroup = ksm_cgroup_new("/nonexistent");

    g_assert_cmpuint(ksm_cgroup_limit_bytes(cgroup), ==, NONE);
    g_assert_cmpuint(ksm_cgroup_room_bytes(cgroup), ==, NONE);
}

int main(int argc, char **argv)
{
    gsize i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(trees); i++) {
        g_autofree char *path = g_strconcat("/cgroup/", trees[i].name, NULL);

        g_test_add_data_func(path, &trees[i], test_tree);
    }
    g_test_add_func("/cgroup/nothing", test_nothing);
    return g_test_run();
}
