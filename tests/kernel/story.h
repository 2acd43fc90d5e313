/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * story.h: the life of an engine, told by one thread: an engine is made, takes
 * memory over, meets a broker, publishes, merges, has shared pages written,
 * gives them back, stands aside, undoes everything, lets go.
 *
 * It is told the same way each time, so that its calls through ksm_sys can be
 * numbered, and something happen at each of them in turn.  After each step the
 * memory holds what was written to it, and no descriptor is left at the end.
 * The broker is a liar.
 */
#ifndef TEST_STORY_H
#define TEST_STORY_H

#include "core/engine-private.h"
#include "liar.h"
#include "sys.h"

#define STORY_PAGES 32u
#define STORY_BYTES ((gsize)STORY_PAGES * KSM_PAGE_BYTES)
#define STORY_REWRITTEN_FIRST 8u
#define STORY_REWRITTEN_END 16u

typedef struct Story Story;

struct Story {
    /* set by the test: */
    Liar *liar;
    char *(*trouble)(void);     /* what was done to it, in words */
    /* or NULL: whether a page is given up: neither read nor written */
    gboolean (*is_lost)(Story *story, guint32 page);
    gboolean (*held)(const void *addr, gsize bytes, void *story);
    void (*before_end)(Story *story);
    /* the rest is the story's: */
    KsmEngine *engine;
    KsmRegion *region;
    guint8 *memory;
    guint64 generation;         /* of the pages that are written again */
    guint64 shared;             /* most pages shared at a time */
    guint refusals;             /* the engine said no, with a reason */
    gint connections;           /* of the engine to the broker */
};

/**
 * Has @before asked at each call through ksm_sys; it returns 0, or what the
 * call answers instead of being made.  The table may be changed further.
 */
KsmSys *story_calls(int (*before)(const char *name));

void story_tell(Story *story);

/** Pages that are shared when all goes well: zeros only where that must be. */
guint story_shared(void);

/** So many rounds more; @when NULL: the memory is not looked at. */
void story_rounds(Story *story, guint count, const char *when);

/** Warnings of the engine are no failure, and not shown. */
void story_be_quiet(void);

#endif /* TEST_STORY_H */
