/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-tree.c: what a map of fingerprints costs: the broker's own tree,
 * GTree, GHashTable, and a sorted array (look-ups only).
 *
 * usage: bench-tree [KEYS...]; default 100000 1000000 10000000.  Prints a
 * table: nanoseconds of processor time for an operation, bytes for a key
 * (resident memory, before and after filling, in a process of its own).
 */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench-measure.h"
#include "tree/fp-seek.h"
#include "tree/fp-tree.h"
#include "page-content.h"

#define BATCH 2048u

/* A way to keep keys; NULL where it cannot do it. */
typedef struct Map {
    const char *name;
    gpointer (*make)(const guint64 *keys, guint count);
    void (*insert)(gpointer map, guint64 key, guint64 value);
    void (*insert_batch)(gpointer map, const guint64 *keys, guint count);
    gboolean (*find)(gpointer map, guint64 key);
    guint (*find_batch)(gpointer map, const guint64 *keys, guint count);
    void (*remove)(gpointer map, guint64 key);
} Map;

static double now_ns(void)
{
    return (double)bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* --- the broker's tree --- */

static gpointer fp_make(const guint64 *keys, guint count)
{
    (void)keys;
    (void)count;
    return ksm_fp_tree_new();
}

static void fp_insert(gpointer map, guint64 key, guint64 value)
{
    ksm_fp_tree_insert(map, key, value);
}

static gboolean fp_find(gpointer map, guint64 key)
{
    return ksm_fp_tree_find(map, key, NULL);
}

static guint fp_find_batch(gpointer map, const guint64 *keys, guint count)
{
    KsmFpPlace places[KSM_FP_TREE_LANES];
    guint done, i, hits = 0;

    for (done = 0; done < count; done += KSM_FP_TREE_LANES) {
        guint n = MIN(count - done, KSM_FP_TREE_LANES);
        guint64 value;

        ksm_fp_tree_seek(map, keys + done, n, places);
        for (i = 0; i < n; i++) {
            hits += ksm_fp_tree_find_at(map, &places[i], keys[done + i],
                                        &value) ?
                        1 :
                        0;
        }
    }
    return hits;
}

/* As a look-up does that lists a page: finds the place, inserts there. */
static void fp_insert_batch(gpointer map, const guint64 *keys, guint count)
{
    KsmFpPlace places[KSM_FP_TREE_LANES];
    guint done, i;

    for (done = 0; done < count; done += KSM_FP_TREE_LANES) {
        guint n = MIN(count - done, KSM_FP_TREE_LANES);

        ksm_fp_tree_seek(map, keys + done, n, places);
        for (i = 0; i < n; i++) {
            ksm_fp_tree_insert_at(map, &places[i], keys[done + i], done + i);
        }
    }
}

static void fp_remove(gpointer map, guint64 key)
{
    ksm_fp_tree_remove(map, key);
}

/* --- GLib's --- */

static gint compare(gconstpointer a, gconstpointer b)
{
    guint64 x = (guint64)a, y = (guint64)b;

    return x < y ? -1 : x > y;
}

static gpointer gtree_make(const guint64 *keys, guint count)
{
    (void)keys;
    (void)count;
    return g_tree_new(compare);
}

static void gtree_insert(gpointer map, guint64 key, guint64 value)
{
    g_tree_insert(map, (gpointer)key, (gpointer)(value + 1));
}

static gboolean gtree_find(gpointer map, guint64 key)
{
    return g_tree_lookup(map, (gpointer)key) != NULL;
}

static void gtree_remove(gpointer map, guint64 key)
{
    g_tree_remove(map, (gpointer)key);
}

static gpointer hash_make(const guint64 *keys, guint count)
{
    (void)keys;
    (void)count;
    return g_hash_table_new(NULL, NULL);
}

static void hash_insert(gpointer map, guint64 key, guint64 value)
{
    g_hash_table_insert(map, (gpointer)key, (gpointer)(value + 1));
}

static gboolean hash_find(gpointer map, guint64 key)
{
    return g_hash_table_lookup(map, (gpointer)key) != NULL;
}

static void hash_remove(gpointer map, guint64 key)
{
    g_hash_table_remove(map, (gpointer)key);
}

/* --- a sorted array, made at once: the least memory there can be --- */

typedef struct Sorted {
    guint64 (*pairs)[2];
    guint count;
} Sorted;

static int compare_pairs(const void *a, const void *b)
{
    guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;

    return x < y ? -1 : x > y;
}

static gpointer sorted_make(const guint64 *keys, guint count)
{
    Sorted *map = g_new(Sorted, 1);
    guint i;

    map->pairs = g_malloc((gsize)count * 16);
    map->count = count;
    for (i = 0; i < count; i++) {
        map->pairs[i][0] = keys[i];
        map->pairs[i][1] = i;
    }
    qsort(map->pairs, count, 16, compare_pairs);
    return map;
}

static gboolean sorted_find(gpointer opaque, guint64 key)
{
    Sorted *map = opaque;

    return bsearch(&key, map->pairs, map->count, 16, compare_pairs) != NULL;
}

static const Map maps[] = {
    { "fp-tree", fp_make, fp_insert, fp_insert_batch, fp_find, fp_find_batch,
      fp_remove },
    { "GTree", gtree_make, gtree_insert, NULL, gtree_find, NULL, gtree_remove },
    { "GHashTable", hash_make, hash_insert, NULL, hash_find, NULL,
      hash_remove },
    { "sorted", sorted_make, NULL, NULL, sorted_find, NULL, NULL },
};

/* Keys that are there, in an order unlike that of insertion. */
static double time_find(const Map *map, gpointer it, const guint64 *keys,
                        guint count, guint finds)
{
    double start = now_ns();
    guint i, hits = 0;

    for (i = 0; i < finds; i++) {
        hits += map->find(it, keys[ksm_test_mix(i, 2) % count]) ? 1 : 0;
    }
    g_assert_cmpuint(hits, ==, finds);
    return (now_ns() - start) / finds;
}

static double time_batch(const Map *map, gpointer it, const guint64 *keys,
                         guint count, guint finds)
{
    static guint64 batch[BATCH];
    double total = 0;
    guint done, i, hits = 0;

    for (done = 0; done < finds; done += BATCH) {
        double start;

        for (i = 0; i < BATCH; i++) {
            batch[i] = keys[ksm_test_mix(done + i, 2) % count];
        }
        start = now_ns();
        hits += map->find_batch(it, batch, BATCH);
        total += now_ns() - start;
    }
    g_assert_cmpuint(hits, ==, done);
    return total / done;
}

static void print_number(double value)
{
    if (value < 0) {
        printf(" %10s", "-");
    } else {
        printf(" %10.1f", value);
    }
}

static double time_insert(const Map *map, gpointer it, const guint64 *keys,
                          guint count)
{
    double start = now_ns();
    guint i;

    for (i = 0; i < count; i++) {
        map->insert(it, keys[i], i);
    }
    return (now_ns() - start) / count;
}

/* Into a map of its own. */
static double time_insert_batch(const Map *map, const guint64 *keys,
                                guint count)
{
    gpointer it = map->make(keys, count);
    double start = now_ns();

    map->insert_batch(it, keys, count);
    return (now_ns() - start) / count;
}

static double time_remove(const Map *map, gpointer it, const guint64 *keys,
                          guint count)
{
    double start = now_ns();
    guint i;

    for (i = 0; i < count; i++) {
        map->remove(it, keys[i]);
    }
    return (now_ns() - start) / count;
}

static void measure(const Map *map, guint count)
{
    guint64 *keys = g_new(guint64, count);
    guint finds = MIN(count, 1u << 20), i;
    double bytes;
    guint64 before;
    gpointer it;

    for (i = 0; i < count; i++) {
        keys[i] = ksm_test_mix(i, 1);
    }
    before = bench_resident_bytes();
    it = map->make(keys, count);
    printf("%10u %-10s", count, map->name);
    print_number(map->insert != NULL ? time_insert(map, it, keys, count) : -1);
    bytes = (double)(bench_resident_bytes() - before) / count;
    print_number(
        map->insert_batch != NULL ? time_insert_batch(map, keys, count) : -1);
    print_number(time_find(map, it, keys, count, finds));
    print_number(
        map->find_batch != NULL ? time_batch(map, it, keys, count, finds) : -1);
    print_number(map->remove != NULL ? time_remove(map, it, keys, finds) : -1);
    print_number(bytes);
    printf("\n");
}

static gboolean measure_apart(const Map *map, guint count)
{
    int status = -1;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        measure(map, count);
        fflush(stdout);
        _exit(0);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv)
{
    static const char *const defaults[] = { "100000", "1000000", "10000000" };
    const char *const *sizes = argc > 1 ? (const char *const *)argv + 1 :
                                          defaults;
    int count = argc > 1 ? argc - 1 : (int)G_N_ELEMENTS(defaults), i;
    gboolean ok = TRUE;
    guint m;

    printf("%10s %-10s %10s %10s %10s %10s %10s %10s\n", "keys", "map",
           "insert ns", "batched ns", "find ns", "batched ns", "remove ns",
           "bytes/key");
    for (i = 0; i < count; i++) {
        guint64 keys = g_ascii_strtoull(sizes[i], NULL, 10);

        if (keys == 0 || keys > G_MAXUINT32 / 2) {
            fprintf(stderr, "bench-tree: not a number of keys: %s\n", sizes[i]);
            return 2;
        }
        for (m = 0; m < G_N_ELEMENTS(maps); m++) {
            ok = measure_apart(&maps[m], (guint)keys) && ok;
        }
    }
    return ok ? 0 : 1;
}
