/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scenario.h: the life of an engine, played by one thread: an engine is
 * created, gets memory, connects to a broker, publishes, merges, has shared
 * pages written, gives them back, stands aside, unmerges everything, and is
 * freed.
 *
 * It is the same each time, so that its calls through ksm_sys can be numbered,
 * and something can happen at each of them in turn.  After each step the
 * memory holds what was written to it, and no descriptor is left at the end.
 * The broker is a fake.
 */
#ifndef TEST_SCENARIO_H
#define TEST_SCENARIO_H

#include "core/engine-private.h"
#include "fake-broker.h"
#include "sys.h"

#define SCENARIO_PAGES 32u
#define SCENARIO_BYTES ((gsize)SCENARIO_PAGES * KSM_PAGE_BYTES)
#define SCENARIO_REWRITTEN_FIRST 8u
#define SCENARIO_REWRITTEN_END 16u

typedef struct Scenario Scenario;

struct Scenario {
    /* set by the test: */
    FakeBroker *fake;
    char *(*trouble)(void); /* what was done to it, in words */
    /* or NULL: whether a page is given up: neither read nor written */
    gboolean (*is_lost)(Scenario *scenario, guint32 page);
    gboolean (*dma_in_flight)(const void *addr, gsize bytes, void *scenario);
    void (*before_end)(Scenario *scenario);
    /* the rest is the scenario's: */
    KsmEngine *engine;
    KsmRegion *region;
    guint8 *memory;
    guint64 generation; /* of the pages that are written again */
    guint64 shared;     /* most pages shared at a time */
    guint refusals;     /* the engine said no, with a reason */
    gint connections;   /* of the engine to the broker */
};

/**
 * Has @before asked at each call through ksm_sys; it returns 0, or what the
 * call answers instead of being made.  The table may be changed further.
 */
KsmSys *scenario_calls(int (*before)(const char *name));

void scenario_tell(Scenario *scenario);

/** Pages that are shared when all goes well: zeros only where that must be. */
guint scenario_shared(void);

/** So many rounds more; @when NULL: the memory is not looked at. */
void scenario_rounds(Scenario *scenario, guint count, const char *when);

/** Warnings of the engine are no failure, and not shown. */
void scenario_be_quiet(void);

#endif /* TEST_SCENARIO_H */
