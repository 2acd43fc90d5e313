/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stats-list.h: the list of an engine's statistics.
 *
 * Those of KsmStats (guest-ksm.h, which says what each means) that are a
 * guint64 and go over the wire.  The message STATS, its filling, the broker's
 * bounds, sums and control replies are made from this list.
 *
 * To add one: a member of KsmStats that the engine fills, a row here, the words
 * of guest-ksmctl (cmd-vm.c, metrics-vm.c), docs/control-protocol.md, and QEMU's
 * schema and tables.  Without one of these something does not compile, or
 * test-metrics.py or test-docs.py fails.
 *
 * The list is in the order of the wire.  A part never changes once a release
 * had it: what is new makes a part of its own, KSM_STATS_SINCE_n for version n
 * of the protocol, at the end of KSM_STATS_FIELDS and of KsmMsgStats.
 *
 * It is not public.  A program with a schema of its own, as QEMU's QAPI, could
 * not be compiled any more with the header of a library that has a row more.
 */
#ifndef KSM_STATS_LIST_H
#define KSM_STATS_LIST_H

typedef enum KsmStatKind {
    KSM_STAT_STATE,             /* guest pages in a state, at present */
    KSM_STAT_GAUGE,             /* at present */
    KSM_STAT_COUNTER,           /* since the engine's start */
    KSM_STAT_PEAK,              /* the maximum since then */
} KsmStatKind;

typedef enum KsmStatUnit {
    KSM_STAT_PAGES,             /* guest pages now: never more than there are */
    KSM_STAT_BYTES,
    KSM_STAT_NS,
    KSM_STAT_NUMBER,            /* of anything else */
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

/* For X: a member of a structure. */
#define KSM_STATS_MEMBER(name, kind, unit) guint64 name;

/* How many there are. */
#define KSM_STATS_ONE_MORE(name, kind, unit) + 1
#define KSM_STATS_COUNT (0 KSM_STATS_FIELDS(KSM_STATS_ONE_MORE))

#endif /* KSM_STATS_LIST_H */
