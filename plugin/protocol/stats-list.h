/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stats-list.h: the list of an engine's statistics.
 *
 * It lists the members of KsmStats (documented in guest-ksm.h) that are a
 * guint64 and are sent over the wire.  The STATS message, the code that fills
 * it, and the broker's bounds, sums and control replies are generated from
 * this list.
 *
 * To add a statistic, add: a member of KsmStats that the engine fills, a row
 * here, the texts of guest-ksmctl (cmd-vm.c, metrics-vm.c),
 * docs/control-protocol.md, and QEMU's schema and tables.  If one is missing,
 * compilation, test-metrics.py or test-docs.py fails.
 *
 * The list is in wire order.  A part never changes once it has been released.
 * New statistics get their own part, KSM_STATS_SINCE_n for version n of the
 * protocol, at the end of KSM_STATS_FIELDS and of KsmMsgStats.
 *
 * The list is not public.  Otherwise a program with its own schema, such as
 * QEMU with QAPI, would no longer compile with the header of a library that
 * has one more row.
 */
#ifndef KSM_STATS_LIST_H
#define KSM_STATS_LIST_H

typedef enum KsmStatKind {
    KSM_STAT_STATE,   /* guest pages now in a state */
    KSM_STAT_GAUGE,   /* current value */
    KSM_STAT_COUNTER, /* since the engine's start */
    KSM_STAT_PEAK,    /* maximum since then */
} KsmStatKind;

typedef enum KsmStatUnit {
    KSM_STAT_PAGES, /* current guest pages: at most pages_total */
    KSM_STAT_BYTES,
    KSM_STAT_NS,
    KSM_STAT_NUMBER, /* number of anything else */
} KsmStatUnit;

/* X(name, kind, unit), as in KSM_STAT_kind and KSM_STAT_unit. */

/* All states, and their sum. */
#define KSM_STATS_STATES(X) \
    X(pages_total, GAUGE, PAGES) \
    X(pages_untouched, STATE, PAGES) \
    X(pages_volatile, STATE, PAGES) \
    X(pages_unshared, STATE, PAGES) \
    X(pages_sharing, STATE, PAGES) \
    X(zero_pages, STATE, PAGES) \
    X(pages_broken, STATE, PAGES) \
    X(pages_excluded, STATE, PAGES)

#define KSM_STATS_COUNTERS(X) \
    X(full_scans, COUNTER, NUMBER) \
    X(merges, COUNTER, NUMBER) \
    X(zero_merges, COUNTER, NUMBER) \
    X(breaks, COUNTER, NUMBER) \
    X(rollbacks, COUNTER, NUMBER) \
    X(refused_pinned, COUNTER, NUMBER) \
    X(refused_budget, COUNTER, NUMBER) \
    X(refused_torn, COUNTER, NUMBER) \
    X(refused_broker, COUNTER, NUMBER) \
    X(refused_error, COUNTER, NUMBER) \
    X(fingerprints, COUNTER, NUMBER) \
    X(lookups, COUNTER, NUMBER) \
    X(publishes, COUNTER, NUMBER) \
    X(deferred_results, COUNTER, NUMBER) \
    X(broker_requests, COUNTER, NUMBER) \
    X(broker_losses, COUNTER, NUMBER) \
    X(cpu_ns, COUNTER, NS) \
    X(windows, COUNTER, NUMBER) \
    X(window_ns_total, COUNTER, NS) \
    X(window_ns_max, PEAK, NS)

#define KSM_STATS_GAUGES(X) \
    X(runs, GAUGE, NUMBER) \
    X(mappings, GAUGE, NUMBER) \
    X(max_mappings, GAUGE, NUMBER) \
    X(metadata_bytes, GAUGE, BYTES) \
    X(round_ns, GAUGE, NS)

#define KSM_STATS_SINCE_5(X) \
    X(given_back, COUNTER, NUMBER) \
    X(refused_dma, COUNTER, NUMBER) \
    X(collapses, COUNTER, NUMBER) \
    X(pages_hwpoison, GAUGE, PAGES) \
    X(pages_kept_huge, GAUGE, PAGES) \
    X(pages_parked, GAUGE, PAGES)

#define KSM_STATS_FIELDS(X) \
    KSM_STATS_STATES(X) \
    KSM_STATS_COUNTERS(X) \
    KSM_STATS_GAUGES(X) \
    KSM_STATS_SINCE_5(X)

/* For X: declares a member of a structure. */
#define KSM_STATS_MEMBER(name, kind, unit) guint64 name;

/* For X: counts the rows. */
#define KSM_STATS_ONE_MORE(name, kind, unit) +1
#define KSM_STATS_COUNT (0 KSM_STATS_FIELDS(KSM_STATS_ONE_MORE))

#endif /* KSM_STATS_LIST_H */
