/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-publish.c: what happens to published content: in which slot it is put,
 * under which fingerprint it is found, and what the limits do.
 */
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "group-fixture.h"
#include "group/results.h"
#include "group/lookup.h"
#include "group/member.h"
#include "group/publish.h"

/* What was looked up is not what is published: the slot is what counts. */
static void test_content_changed(Fixture *self, gconstpointer unused)
{
    KsmAnswer answer;
    KsmResult result;

    (void)unused;
    group_lookup(self->a, 1, 1);
    g_assert_cmpint(group_lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_PUBLISH);
    answer = group_publish(self->b, 1, 2, 0);
    group_assert_content(self, answer.slot, 2);
    g_assert_cmpuint(ksm_group_take_results(self->a, &result, 1), ==, 0);
    g_assert_cmpint(group_lookup(self->a, 2, 2).kind, ==, KSM_ANSWER_SLOT);
}

static void test_known_content(Fixture *self, gconstpointer unused)
{
    KsmAnswer first, second;

    (void)unused;
    first = group_publish(self->a, 1, 1, 0);
    second = group_publish(self->b, 1, 1, 0);
    g_assert_cmpuint(first.slot, ==, second.slot);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 1);
    g_assert_cmpint(group_publish(self->a, 2, 0, 0).kind, ==,
                    KSM_ANSWER_REFUSED);
    ksm_group_work(self->group);
    g_assert_cmpuint(self->budget.used, ==, 1);
}

/* A fingerprint that lies: refused, or found out by the bytes. */
static void test_wrong_fingerprint(Fixture *self, gconstpointer unused)
{
    KsmLookup item = { proto_fingerprint(1), 4, 0 };
    KsmAnswer answer;

    (void)unused;
    group_publish(self->a, 1, 1, 0);
    item.fingerprint.lo ^= 0x5555;
    g_assert_true(ksm_group_lookup(self->b, &item, 1, &answer, NULL));
    g_assert_cmpint(answer.kind, ==, KSM_ANSWER_REFUSED);
    group_lookup(self->a, 2, 2);
    item.fingerprint = proto_fingerprint(2);
    item.fingerprint.lo ^= 0x5555;
    g_assert_true(ksm_group_lookup(self->b, &item, 1, &answer, NULL));
    g_assert_cmpint(answer.kind, ==, KSM_ANSWER_REFUSED);
}

static void test_tile(Fixture *self, gconstpointer unused)
{
    KsmAnswer answer = group_publish(self->a, 130, 1, 6);
    guint32 head = answer.slot - 130 % 64;
    guint32 page;

    (void)unused;
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 64);
    for (page = 0; page < 64; page++) {
        group_assert_content(self, head + page, 1);
    }
    for (page = 1000; page < 1200; page++) {
        answer = group_lookup(self->b, page, 1);
        g_assert_cmpuint(answer.slot, ==, head + page % 64);
    }
    ksm_member_release(self->a, 130, 1);
    ksm_member_release(self->b, 1000, 199);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 64);
    ksm_member_release(self->b, 1199, 1);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 0);
}

/* Content known as a single page becomes a tile when one asks for that. */
static void test_tile_takes_over(Fixture *self, gconstpointer unused)
{
    KsmAnswer single = group_publish(self->a, 1, 1, 0);
    KsmAnswer tile = group_publish(self->b, 3, 1, 2);

    (void)unused;
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 5);
    g_assert_cmpuint(single.slot, !=, tile.slot);
    g_assert_cmpuint(group_lookup(self->a, 2, 1).slot, ==, tile.slot - 1);
    g_assert_cmpuint(group_publish(self->a, 4, 1, 1).slot, ==, tile.slot - 3);
    ksm_member_release(self->a, 1, 1); /* the single page goes */
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 4);
    g_assert_cmpint(group_lookup(self->a, 1, 1).kind, ==, KSM_ANSWER_SLOT);
}

/* A request's items lie in a row; known and refused ones leave no gap. */
static void test_contiguous(Fixture *self, gconstpointer unused)
{
    enum { ITEMS = 100 };
    g_autofree guint8 *contents = g_malloc(ITEMS * PAGE);
    KsmPublish items[ITEMS];
    KsmAnswer answers[ITEMS];
    guint32 next, known = group_publish(self->b, 1, 40, 0).slot;
    guint i;

    (void)unused;
    for (i = 0; i < ITEMS; i++) {
        items[i] = (KsmPublish) { i, 0 };
        proto_content(contents + i * PAGE, i); /* 0: zero, 40: known */
    }
    g_assert_true(
        ksm_group_publish(self->a, items, ITEMS, contents, answers, NULL));
    g_assert_cmpint(answers[0].kind, ==, KSM_ANSWER_REFUSED);
    g_assert_cmpuint(answers[40].slot, ==, known);
    next = answers[1].slot;
    for (i = 1; i < ITEMS; i++) {
        if (i != 40) {
            g_assert_cmpuint(answers[i].slot, ==, next++);
        }
        group_assert_content(self, answers[i].slot, i);
    }
    ksm_group_work(self->group);
    g_assert_cmpuint(self->budget.used, ==, 99);
}

/* Zeros are taken as the largest tile, and come and go like other contents. */
static void test_zeros(Fixture *self, gconstpointer unused)
{
    KsmAnswer answer;
    guint i;

    (void)unused;
    for (i = 0; i < KSM_MAX_TILE_ORDER; i++) {
        g_assert_cmpint(group_publish(self->a, 1, 0, i).kind, ==,
                        KSM_ANSWER_REFUSED);
    }
    for (i = 0; i < 5; i++) {
        answer = group_publish(self->a, 1, 0, KSM_MAX_TILE_ORDER);
        g_assert_cmpint(answer.kind, ==, KSM_ANSWER_SLOT);
        group_assert_content(self, answer.slot, 0);
        g_assert_cmpuint(group_lookup(self->b, 2, 0).slot, ==, answer.slot + 1);
        g_assert_cmpuint(group_publish(self->b, 3, 0, KSM_MAX_TILE_ORDER).slot,
                         ==, answer.slot + 2);
        g_assert_cmpuint(ksm_store_used(self->group->store), ==,
                         1u << KSM_MAX_TILE_ORDER);
        ksm_member_release(self->a, 1, 1);
        ksm_member_release(self->b, 2, 2);
        while (ksm_group_work(self->group)) {
        }
        g_assert_cmpuint(ksm_store_used(self->group->store), ==, 0);
    }
}

/*
 * The host has memory for a part of a request: what has no place is refused,
 * also the tile of which only a part was written and the page whose content
 * is another's in the same request; and nothing of it is found or kept.
 */
static void test_no_memory(Fixture *self, gconstpointer unused)
{
    enum { ITEMS = 20, TILE = 10, ROOM = 12 };
    KsmPublish items[ITEMS];
    KsmAnswer answers[ITEMS];
    g_autofree guint8 *contents = g_malloc(ITEMS * PAGE);
    struct rlimit before, limit;
    guint32 first = group_publish(self->b, 1, 99, 0).slot + 1;
    KsmResult result;
    gboolean ok;
    guint i;

    (void)unused;
    for (i = 0; i < ITEMS; i++) {
        items[i] = (KsmPublish) { 100 + i, i == TILE ? 2 : 0 };
        proto_content(contents + i * PAGE, i == ITEMS - 1 ? i - 1 : i + 1);
    }
    group_lookup(self->b, 2, 3);        /* is told of what is written */
    group_lookup(self->b, 3, TILE + 1); /* and not of what is not */
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &before), ==, 0);
    limit = (struct rlimit) { (first + ROOM) * PAGE, before.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    ok = ksm_group_publish(self->a, items, ITEMS, contents, answers, NULL);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &before), ==, 0);
    g_assert_true(ok);
    for (i = 0; i < ITEMS; i++) {
        g_assert_cmpint(answers[i].kind, ==,
                        i < TILE ? KSM_ANSWER_SLOT : KSM_ANSWER_REFUSED);
        g_assert_cmpint(group_state(self->a, 100 + i), ==,
                        i < TILE ? KSM_PAGE_LINK_BOUND : KSM_PAGE_LINK_NOTHING);
        if (i < TILE) {
            group_assert_content(self, answers[i].slot, i + 1);
        }
    }
    g_assert_cmpuint(ksm_group_take_results(self->b, &result, 1), ==, 1);
    g_assert_cmpuint(result.slot, ==, answers[2].slot);
    g_assert_cmpuint(ksm_group_take_results(self->b, &result, 1), ==, 0);
    g_assert_cmpint(group_state(self->b, 3), ==, KSM_PAGE_LINK_LISTED);
    while (ksm_group_work(self->group)) {
    }
    g_assert_cmpuint(self->budget.used, ==, 1 + TILE);
    g_assert_cmpint(group_publish(self->a, 100 + TILE, TILE + 1, 2).kind, ==,
                    KSM_ANSWER_SLOT);
    g_assert_cmpuint(ksm_group_take_results(self->b, &result, 1), ==, 1);
    group_assert_content(self, result.slot, TILE + 1);
}

/* At the limit of the store content is refused; freed slots are used again. */
static void test_store_full(Fixture *self, gconstpointer unused)
{
    guint32 i;

    (void)unused;
    self->budget.limit = 100;
    for (i = 0; i < 100; i++) {
        g_assert_cmpint(group_publish(self->a, i, i + 1, 0).kind, ==,
                        KSM_ANSWER_SLOT);
    }
    g_assert_cmpint(group_publish(self->a, 200, 500, 0).kind, ==,
                    KSM_ANSWER_REFUSED);
    g_assert_cmpint(group_publish(self->a, 200, 500, 6).kind, ==,
                    KSM_ANSWER_REFUSED);
    ksm_member_release(self->a, 0, 64);
    g_assert_cmpint(group_publish(self->a, 200, 500, 6).kind, ==,
                    KSM_ANSWER_SLOT);
}

/* One member cannot fill the store with tiles that hold one page each. */
static void test_publish_cap(Fixture *self, gconstpointer unused)
{
    KsmMember *small = ksm_member_new(self->group, 100, NULL);
    guint32 i, refused = 0;

    (void)unused;
    self->budget.limit = 100000;
    for (i = 0; i < 100; i++) {
        refused += group_publish(small, i, i + 1, 6).kind == KSM_ANSWER_REFUSED;
    }
    g_assert_cmpuint(refused, >, 20);
    g_assert_cmpuint(small->published_slots, <=, 100 + 64 * 64);
    ksm_member_release(small, 0, 10);
    g_assert_cmpint(group_publish(small, 0, 500, 6).kind, ==, KSM_ANSWER_SLOT);
    group_member_end(small);
}

int main(int argc, char **argv)
{
    static const GroupTest tests[] = {
        { "/publish/content-changed", test_content_changed },
        { "/publish/known-content", test_known_content },
        { "/publish/wrong-fingerprint", test_wrong_fingerprint },
        { "/publish/tile", test_tile },
        { "/publish/tile-takes-over", test_tile_takes_over },
        { "/publish/contiguous", test_contiguous },
        { "/publish/zeros", test_zeros },
        { "/publish/no-memory", test_no_memory },
        { "/publish/store-full", test_store_full },
        { "/publish/publish-cap", test_publish_cap },
    };

    return group_run_tests(argc, argv, tests, G_N_ELEMENTS(tests));
}
