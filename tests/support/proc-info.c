/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proc-info.c: readings of /proc about this process. */
#include "proc-info.h"

#include <fcntl.h>
#include <guest-ksm.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "zero-page.h"

static void add_value(const char *line, KsmTestMaps *maps)
{
    guint64 kib;

    if (sscanf(line, "Rss: %" SCNu64, &kib) == 1) {
        maps->rss_kib += kib;
    } else if (sscanf(line, "Pss: %" SCNu64, &kib) == 1) {
        maps->pss_kib += kib;
    } else if (sscanf(line, "Anonymous: %" SCNu64, &kib) == 1) {
        maps->anonymous_kib += kib;
    } else if (sscanf(line, "AnonHugePages: %" SCNu64, &kib) == 1) {
        maps->huge_kib += kib;
    } else if (strncmp(line, "VmFlags:", 8) == 0) {
        maps->uffd |= strstr(line, " um") || strstr(line, " uw");
        maps->huge_advised |= strstr(line, " hg") != NULL;
        maps->mergeable |= strstr(line, " mg") != NULL;
    }
}

void ksm_test_maps_read(const void *addr, guint64 bytes, KsmTestMaps *maps)
{
    guint64 first = (guint64)(gsize)addr;
    guint64 end = first + bytes;
    gboolean inside = FALSE;
    char line[512];
    FILE *file;

    ksm_test_zero_page_deny(addr, bytes);
    file = fopen("/proc/self/smaps", "re");
    memset(maps, 0, sizeof(*maps));
    g_assert_nonnull(file);
    while (fgets(line, sizeof(line), file)) {
        guint64 from, to, offset, inode;
        char flags[8], device[16];

        if (sscanf(line,
                   "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %15s %" SCNu64,
                   &from, &to, flags, &offset, device, &inode) == 6) {
            inside = from < end && to > first;
            maps->mappings += inside;
            maps->file_mappings += inside && inode != 0;
        } else if (inside) {
            add_value(line, maps);
        }
    }
    fclose(file);
}

gboolean ksm_test_is_mergeable(const void *addr, guint64 bytes)
{
    KsmTestMaps maps;

    ksm_test_maps_read(addr, bytes, &maps);
    g_assert_cmpuint(maps.mappings, >, 0);
    return maps.mergeable;
}

static guint64 entry_at(int fd, guint64 index)
{
    guint64 entry = 0;

    g_assert_cmpint(pread(fd, &entry, sizeof(entry),
                          (off_t)(index * sizeof(entry))),
                    ==, sizeof(entry));
    return entry;
}

/* Bits of /proc/PID/pagemap and /proc/kpageflags (their documentation). */
#define PAGEMAP_FILE (G_GUINT64_CONSTANT(1) << 61)
#define PAGEMAP_FRAME ((G_GUINT64_CONSTANT(1) << 55) - 1)
#define FLAG_KSM (G_GUINT64_CONSTANT(1) << 21)

guint64 ksm_test_count_foreign(const void *addr, guint64 pages)
{
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
    const volatile guint8 *base = addr;
    guint64 first = (guint64)(gsize)addr / KSM_PAGE_BYTES, count = 0, i;
    volatile guint8 sink = 0;

    g_assert_cmpint(MIN(pagemap, flags), >=, 0);
    for (i = 0; i < pages; i++) {
        guint64 entry;

        sink += base[i * KSM_PAGE_BYTES]; /* else it may not be mapped */
        entry = entry_at(pagemap, first + i);
        count += (entry & PAGEMAP_FILE) ||
                 (entry_at(flags, entry & PAGEMAP_FRAME) & FLAG_KSM);
    }
    (void)sink;
    close(pagemap);
    close(flags);
    return count;
}

guint64 ksm_test_count_mappings(void)
{
    guint64 lines = 0;
    int c;
    FILE *file = fopen("/proc/self/maps", "re");

    g_assert_nonnull(file);
    while ((c = getc(file)) != EOF) {
        lines += c == '\n';
    }
    fclose(file);
    return lines;
}

static guint64 count_entries(const char *path)
{
    guint64 entries = 0;
    GDir *dir = g_dir_open(path, 0, NULL);

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        entries++;
    }
    g_dir_close(dir);
    return entries;
}

guint64 ksm_test_count_fds(void)
{
    return count_entries("/proc/self/fd");
}

guint64 ksm_test_count_threads(void)
{
    return count_entries("/proc/self/task");
}

char *ksm_test_list_fds(void)
{
    GString *text = g_string_new(NULL);
    const char *name;
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename("/proc/self/fd", name, NULL);
        char target[256];
        ssize_t n = readlink(path, target, sizeof(target) - 1);

        target[n > 0 ? n : 0] = '\0';
        g_string_append_printf(text, "%s -> %s\n", name, target);
    }
    if (dir) {
        g_dir_close(dir);
    }
    return g_string_free(text, FALSE);
}

/* Adds the inodes of the stores that a process maps. */
static void add_stores(GHashTable *inodes, int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps", pid);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    int i;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return;
    }
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i]; i++) {
        unsigned long inode;

        if (strstr(lines[i], "/memfd:ksm-store") &&
            sscanf(lines[i], "%*s %*s %*s %*s %lu", &inode) == 1) {
            g_hash_table_add(inodes, (gpointer)inode);
        }
    }
}

guint ksm_test_count_stores(const int *pids, guint count)
{
    g_autoptr(GHashTable) inodes = g_hash_table_new(NULL, NULL);
    guint i;

    for (i = 0; i < count; i++) {
        add_stores(inodes, pids[i]);
    }
    return g_hash_table_size(inodes);
}

guint64 ksm_test_status_kib(int pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    gsize length = strlen(name);
    int i;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return 0;
    }
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i]; i++) {
        if (strncmp(lines[i], name, length) == 0 && lines[i][length] == ':') {
            return g_ascii_strtoull(g_strchug(lines[i] + length + 1), NULL, 10);
        }
    }
    return 0;
}
