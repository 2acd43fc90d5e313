/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-histogram.c: times, counted by powers of two with 32 steps each; and
 * medians of few values.
 */
#include "bench.h"

#include <stdlib.h>

#define HISTOGRAM_STEPS 32u

/* Exact below 64 ns; above, the first bit and five more. */
static guint bucket_of(guint64 ns)
{
    guint shift = (guint)g_bit_storage(ns | HISTOGRAM_STEPS) - 6;

    return shift * HISTOGRAM_STEPS + (guint)(ns >> shift);
}

/* The reverse: the middle of a bucket. */
static double bucket_ns(guint bucket)
{
    guint shift;

    if (bucket < 2 * HISTOGRAM_STEPS) {
        return bucket;
    }
    shift = bucket / HISTOGRAM_STEPS - 1;
    return ((double)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS) + 0.5) *
           (double)(G_GUINT64_CONSTANT(1) << shift);
}

void bench_histogram_add(BenchHistogram *histogram, guint64 ns)
{
    guint bucket = bucket_of(ns);

    histogram->counts[MIN(bucket, BENCH_HISTOGRAM - 1)]++;
    histogram->total++;
    histogram->max_ns = MAX(histogram->max_ns, ns);
}

void bench_histogram_merge(BenchHistogram *to, const BenchHistogram *from)
{
    guint i;

    for (i = 0; i < BENCH_HISTOGRAM; i++) {
        to->counts[i] += from->counts[i];
    }
    to->total += from->total;
    to->max_ns = MAX(to->max_ns, from->max_ns);
}

double bench_histogram_at(const BenchHistogram *histogram, double share)
{
    double wanted = share * (double)histogram->total, seen = 0;
    guint i;

    for (i = 0; i < BENCH_HISTOGRAM; i++) {
        seen += (double)histogram->counts[i];
        if (seen >= wanted && seen > 0) {
            return MIN(bucket_ns(i), (double)histogram->max_ns);
        }
    }
    return (double)histogram->max_ns;
}

static gint compare(gconstpointer a, gconstpointer b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *values, guint count)
{
    qsort(values, count, sizeof(*values), compare);
    return count ? values[count / 2] : 0;
}
