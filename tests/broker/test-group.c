/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-group.c: sharing inside a group, without sockets: what look-ups,
 * publishing and hints answer, and that every count fits the page words.
 */
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <xxhash.h>

#include "broker-error.h"
#include "group.h"

#define PAGE 4096u

typedef struct Fixture {
    KsmStoreBudget budget;
    KsmGroup *group;
    KsmMember *a, *b;
} Fixture;

static void on_cleaned(KsmMember *member, gpointer done)
{
    (void)member;
    *(gboolean *)done = TRUE;
}

static void member_end(KsmMember *member)
{
    gboolean done = FALSE;
    KsmGroup *group = member->group;

    ksm_member_clean(member, KSM_CLEANING_ALL, on_cleaned, &done);
    while (ksm_group_work(group)) {
    }
    g_assert_true(done);
    ksm_member_free(member);
}

static void set_up(Fixture *self, gconstpointer unused)
{
    (void)unused;
    self->budget = (KsmStoreBudget) { 4096, 0 };
    self->group = ksm_group_new("test", 4 * 4096, 1, &self->budget, NULL);
    self->a = ksm_member_new(self->group, 10000, NULL);
    self->b = ksm_member_new(self->group, 10000, NULL);
}

/* Ends all members: then nothing may be left in use. */
static void tear_down(Fixture *self, gconstpointer unused)
{
    (void)unused;
    if (self->a != NULL) {
        member_end(self->a);
    }
    if (self->b != NULL) {
        member_end(self->b);
    }
    while (ksm_group_work(self->group)) {
    }
    g_assert_cmpuint(self->group->listed, ==, 0);
    g_assert_cmpuint(self->group->bound, ==, 0);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 0);
    g_assert_cmpuint(ksm_fp_tree_count(self->group->stable), ==, 0);
    g_assert_cmpuint(self->budget.used, ==, 0);
    ksm_group_free(self->group);
}

/* A page whose content is told by a number; 0 is the zero page. */
static void content_fill(guint8 *page, guint32 number)
{
    guint i;

    for (i = 0; i < PAGE; i += 4) {
        guint32 word = number * (i + 1);

        memcpy(page + i, &word, 4);
    }
}

static KsmFingerprint content_fingerprint(guint32 number)
{
    guint8 page[PAGE];
    XXH128_hash_t hash;

    content_fill(page, number);
    hash = XXH3_128bits(page, PAGE);
    return (KsmFingerprint) { hash.high64, hash.low64 };
}

static KsmAnswer lookup(KsmMember *member, guint32 page, guint32 number)
{
    KsmLookup item = { content_fingerprint(number), page, 0 };
    KsmAnswer answer = { 99, 99 };
    GError *error = NULL;

    g_assert_true(ksm_group_lookup(member, &item, 1, &answer, &error));
    g_assert_no_error(error);
    return answer;
}

static KsmAnswer publish(KsmMember *member, guint32 page, guint32 number,
                         guint32 order)
{
    KsmPublish item = { page, order };
    KsmAnswer answer = { 99, 99 };
    guint8 content[PAGE];
    GError *error = NULL;

    content_fill(content, number);
    g_assert_true(ksm_group_publish(member, &item, 1, content, &answer,
                                    &error));
    g_assert_no_error(error);
    return answer;
}

static void assert_content(Fixture *self, guint32 slot, guint32 number)
{
    guint8 page[PAGE];

    content_fill(page, number);
    g_assert_cmpmem(ksm_store_page(self->group->store, slot), PAGE, page,
                    PAGE);
}

static KsmPageState state(const KsmMember *member, guint32 page)
{
    return ksm_page_state(member->table.words[page]);
}

static void test_share(Fixture *self, gconstpointer unused)
{
    KsmHint hints[8];
    KsmAnswer answer;

    (void)unused;
    g_assert_cmpint(lookup(self->a, 5, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpint(lookup(self->a, 5, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpuint(self->group->listed, ==, 1);
    g_assert_cmpint(lookup(self->b, 7, 1).kind, ==, KSM_ANSWER_PUBLISH);
    answer = publish(self->b, 7, 1, 0);
    g_assert_cmpint(answer.kind, ==, KSM_ANSWER_SLOT);
    assert_content(self, answer.slot, 1);
    g_assert_cmpuint(ksm_fp_tree_count(self->group->unstable), ==, 0);

    g_assert_cmpint(state(self->a, 5), ==, KSM_PAGE_LISTED);
    g_assert_cmpuint(ksm_group_take_hints(self->b, hints, 8), ==, 0);
    g_assert_cmpuint(ksm_group_take_hints(self->a, hints, 8), ==, 1);
    g_assert_cmpuint(hints[0].page, ==, 5);
    g_assert_cmpuint(hints[0].slot, ==, answer.slot);
    g_assert_cmpint(state(self->a, 5), ==, KSM_PAGE_BOUND);

    g_assert_cmpint(lookup(self->a, 6, 1).kind, ==, KSM_ANSWER_SLOT);
    g_assert_cmpuint(self->group->bound, ==, 3);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 1);
    ksm_member_release(self->a, 0, 10);
    ksm_member_release(self->b, 0, 10);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 0);
    g_assert_cmpint(lookup(self->a, 6, 1).kind, ==, KSM_ANSWER_LISTED);
}

/* Two pages of one member: the first one is told by a hint as well. */
static void test_share_alone(Fixture *self, gconstpointer unused)
{
    KsmHint hint;

    (void)unused;
    g_assert_cmpint(lookup(self->a, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpint(lookup(self->a, 2, 1).kind, ==, KSM_ANSWER_PUBLISH);
    g_assert_cmpint(publish(self->a, 2, 1, 0).kind, ==, KSM_ANSWER_SLOT);
    g_assert_cmpuint(ksm_group_take_hints(self->a, &hint, 1), ==, 1);
    g_assert_cmpuint(hint.page, ==, 1);
    g_assert_cmpuint(self->group->bound, ==, 2);
}

/* Listings that are true no more are not offered, and hints neither. */
static void test_withdrawn(Fixture *self, gconstpointer unused)
{
    KsmHint hint;

    (void)unused;
    lookup(self->a, 1, 1);
    ksm_member_withdraw(self->a, 1, 1);
    g_assert_cmpint(lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    lookup(self->a, 2, 2);
    lookup(self->a, 2, 3);                  /* other content by now */
    g_assert_cmpint(lookup(self->b, 2, 2).kind, ==, KSM_ANSWER_LISTED);

    lookup(self->a, 3, 4);
    lookup(self->b, 3, 4);
    publish(self->b, 3, 4, 0);              /* a hint for a:3 waits */
    ksm_member_withdraw(self->a, 3, 1);
    g_assert_cmpuint(ksm_group_take_hints(self->a, &hint, 1), ==, 0);
    g_assert_cmpint(state(self->a, 3), ==, KSM_PAGE_NOTHING);
}

/* The slot of a waiting hint is freed: the page is listed as before. */
static void test_hint_outlives_slot(Fixture *self, gconstpointer unused)
{
    KsmHint hint;

    (void)unused;
    lookup(self->a, 1, 1);
    publish(self->b, 1, 1, 0);
    ksm_member_release(self->b, 1, 1);
    while (ksm_group_work(self->group)) {
    }
    publish(self->b, 2, 2, 0);              /* takes the slot's place */
    g_assert_cmpuint(ksm_group_take_hints(self->a, &hint, 1), ==, 0);
    g_assert_cmpint(state(self->a, 1), ==, KSM_PAGE_LISTED);
    g_assert_cmpint(lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_PUBLISH);
    publish(self->b, 1, 1, 0);
    g_assert_cmpuint(ksm_group_take_hints(self->a, &hint, 1), ==, 1);
    assert_content(self, hint.slot, 1);
}

/* The same, and someone else has been listed in its place: they must meet. */
static void test_hint_replaced(Fixture *self, gconstpointer unused)
{
    KsmHint hint;

    (void)unused;
    lookup(self->a, 1, 1);
    publish(self->b, 1, 1, 0);
    ksm_member_release(self->b, 1, 1);
    while (ksm_group_work(self->group)) {
    }
    g_assert_cmpint(lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpuint(ksm_group_take_hints(self->a, &hint, 1), ==, 1);
    g_assert_cmpuint(hint.page, ==, 1);
    g_assert_cmpuint(hint.slot, ==, KSM_SLOT_NONE);
    g_assert_cmpint(state(self->a, 1), ==, KSM_PAGE_NOTHING);
    g_assert_cmpint(lookup(self->a, 1, 1).kind, ==, KSM_ANSWER_PUBLISH);
}

/* What was looked up is not what is published: the slot is what counts. */
static void test_content_changed(Fixture *self, gconstpointer unused)
{
    KsmAnswer answer;
    KsmHint hint;

    (void)unused;
    lookup(self->a, 1, 1);
    g_assert_cmpint(lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_PUBLISH);
    answer = publish(self->b, 1, 2, 0);
    assert_content(self, answer.slot, 2);
    g_assert_cmpuint(ksm_group_take_hints(self->a, &hint, 1), ==, 0);
    g_assert_cmpint(lookup(self->a, 2, 2).kind, ==, KSM_ANSWER_SLOT);
}

static void test_known_content(Fixture *self, gconstpointer unused)
{
    KsmAnswer first, second;

    (void)unused;
    first = publish(self->a, 1, 1, 0);
    second = publish(self->b, 1, 1, 0);
    g_assert_cmpuint(first.slot, ==, second.slot);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 1);
    g_assert_cmpint(publish(self->a, 2, 0, 0).kind, ==, KSM_ANSWER_REFUSED);
    g_assert_cmpint(publish(self->a, 2, 0, 6).kind, ==, KSM_ANSWER_REFUSED);
    ksm_group_work(self->group);
    g_assert_cmpuint(self->budget.used, ==, 1);
}

/* A fingerprint that lies: refused, or found out by the bytes. */
static void test_wrong_fingerprint(Fixture *self, gconstpointer unused)
{
    KsmLookup item = { content_fingerprint(1), 4, 0 };
    KsmAnswer answer;

    (void)unused;
    publish(self->a, 1, 1, 0);
    item.fingerprint.lo ^= 0x5555;
    g_assert_true(ksm_group_lookup(self->b, &item, 1, &answer, NULL));
    g_assert_cmpint(answer.kind, ==, KSM_ANSWER_REFUSED);
    lookup(self->a, 2, 2);
    item.fingerprint = content_fingerprint(2);
    item.fingerprint.lo ^= 0x5555;
    g_assert_true(ksm_group_lookup(self->b, &item, 1, &answer, NULL));
    g_assert_cmpint(answer.kind, ==, KSM_ANSWER_REFUSED);
}

static void test_tile(Fixture *self, gconstpointer unused)
{
    KsmAnswer answer = publish(self->a, 130, 1, 6);
    guint32 head = answer.slot - 130 % 64;
    guint32 page;

    (void)unused;
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 64);
    for (page = 0; page < 64; page++) {
        assert_content(self, head + page, 1);
    }
    for (page = 1000; page < 1200; page++) {
        answer = lookup(self->b, page, 1);
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
    KsmAnswer single = publish(self->a, 1, 1, 0);
    KsmAnswer tile = publish(self->b, 3, 1, 2);

    (void)unused;
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 5);
    g_assert_cmpuint(single.slot, !=, tile.slot);
    g_assert_cmpuint(lookup(self->a, 2, 1).slot, ==, tile.slot - 1);
    g_assert_cmpuint(publish(self->a, 4, 1, 1).slot, ==, tile.slot - 3);
    ksm_member_release(self->a, 1, 1);      /* the single page goes */
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 4);
    g_assert_cmpint(lookup(self->a, 1, 1).kind, ==, KSM_ANSWER_SLOT);
}

/* A request's items lie in a row; known and refused ones leave no gap. */
static void test_contiguous(Fixture *self, gconstpointer unused)
{
    enum { ITEMS = 100 };
    g_autofree guint8 *contents = g_malloc(ITEMS * PAGE);
    KsmPublish items[ITEMS];
    KsmAnswer answers[ITEMS];
    guint32 next, known = publish(self->b, 1, 40, 0).slot;
    guint i;

    (void)unused;
    for (i = 0; i < ITEMS; i++) {
        items[i] = (KsmPublish) { i, 0 };
        content_fill(contents + i * PAGE, i);   /* 0: zero, 40: known */
    }
    g_assert_true(ksm_group_publish(self->a, items, ITEMS, contents, answers,
                                    NULL));
    g_assert_cmpint(answers[0].kind, ==, KSM_ANSWER_REFUSED);
    g_assert_cmpuint(answers[40].slot, ==, known);
    next = answers[1].slot;
    for (i = 1; i < ITEMS; i++) {
        if (i != 40) {
            g_assert_cmpuint(answers[i].slot, ==, next++);
        }
        assert_content(self, answers[i].slot, i);
    }
    ksm_group_work(self->group);
    g_assert_cmpuint(self->budget.used, ==, 99);
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
    guint32 first = publish(self->b, 1, 99, 0).slot + 1;
    KsmHint hint;
    gboolean ok;
    guint i;

    (void)unused;
    for (i = 0; i < ITEMS; i++) {
        items[i] = (KsmPublish) { 100 + i, i == TILE ? 2 : 0 };
        content_fill(contents + i * PAGE, i == ITEMS - 1 ? i - 1 : i + 1);
    }
    lookup(self->b, 2, 3);                  /* is told of what is written */
    lookup(self->b, 3, TILE + 1);           /* and not of what is not */
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &before), ==, 0);
    limit = (struct rlimit) { (first + ROOM) * PAGE, before.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    ok = ksm_group_publish(self->a, items, ITEMS, contents, answers, NULL);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &before), ==, 0);
    g_assert_true(ok);
    for (i = 0; i < ITEMS; i++) {
        g_assert_cmpint(answers[i].kind, ==, i < TILE ? KSM_ANSWER_SLOT
                                                      : KSM_ANSWER_REFUSED);
        g_assert_cmpint(state(self->a, 100 + i), ==,
                        i < TILE ? KSM_PAGE_BOUND : KSM_PAGE_NOTHING);
        if (i < TILE) {
            assert_content(self, answers[i].slot, i + 1);
        }
    }
    g_assert_cmpuint(ksm_group_take_hints(self->b, &hint, 1), ==, 1);
    g_assert_cmpuint(hint.slot, ==, answers[2].slot);
    g_assert_cmpuint(ksm_group_take_hints(self->b, &hint, 1), ==, 0);
    g_assert_cmpint(state(self->b, 3), ==, KSM_PAGE_LISTED);
    while (ksm_group_work(self->group)) {
    }
    g_assert_cmpuint(self->budget.used, ==, 1 + TILE);
    g_assert_cmpint(publish(self->a, 100 + TILE, TILE + 1, 2).kind, ==,
                    KSM_ANSWER_SLOT);
    g_assert_cmpuint(ksm_group_take_hints(self->b, &hint, 1), ==, 1);
    assert_content(self, hint.slot, TILE + 1);
}

/* Duplicates inside one request: of look-ups and of published pages. */
static void test_same_request(Fixture *self, gconstpointer unused)
{
    KsmLookup items[3];
    KsmAnswer answers[3];
    KsmPublish pages[3] = { { 1, 0 }, { 2, 0 }, { 3, 0 } };
    guint8 contents[3 * PAGE];
    guint i;

    (void)unused;
    for (i = 0; i < 3; i++) {
        items[i] = (KsmLookup) { content_fingerprint(9), 1 + i, 0 };
        content_fill(contents + i * PAGE, 9);
    }
    g_assert_true(ksm_group_lookup(self->a, items, 3, answers, NULL));
    g_assert_cmpint(answers[0].kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpint(answers[1].kind, ==, KSM_ANSWER_PUBLISH);
    g_assert_cmpint(answers[2].kind, ==, KSM_ANSWER_PUBLISH);
    g_assert_true(ksm_group_publish(self->a, pages, 3, contents, answers,
                                    NULL));
    g_assert_cmpuint(answers[0].slot, ==, answers[1].slot);
    g_assert_cmpuint(answers[0].slot, ==, answers[2].slot);
    g_assert_cmpuint(self->group->bound, ==, 3);
}

static void test_forbidden(Fixture *self, gconstpointer unused)
{
    KsmLookup item = { content_fingerprint(1), 1, 0 };
    KsmPublish page = { 1, 0 };
    guint8 content[PAGE];
    KsmAnswer answer;
    GError *errors[6] = { NULL };
    guint i;

    (void)unused;
    content_fill(content, 1);
    publish(self->a, 1, 1, 0);
    ksm_group_lookup(self->a, &item, 1, &answer, &errors[0]);
    ksm_group_publish(self->a, &page, 1, content, &answer, &errors[1]);
    item.page = page.page = 10000;
    ksm_group_lookup(self->a, &item, 1, &answer, &errors[2]);
    ksm_group_publish(self->a, &page, 1, content, &answer, &errors[3]);
    item = (KsmLookup) { content_fingerprint(1), 2, 1 };
    ksm_group_lookup(self->a, &item, 1, &answer, &errors[4]);
    page = (KsmPublish) { 2, 7 };
    ksm_group_publish(self->a, &page, 1, content, &answer, &errors[5]);
    for (i = 0; i < G_N_ELEMENTS(errors); i++) {
        g_assert_error(errors[i], KSM_BROKER_ERROR, KSM_ERROR_PROTOCOL);
        g_clear_error(&errors[i]);
    }
}

/* At the limit of the store content is refused; freed slots are used again. */
static void test_store_full(Fixture *self, gconstpointer unused)
{
    guint32 i;

    (void)unused;
    self->budget.limit = 100;
    for (i = 0; i < 100; i++) {
        g_assert_cmpint(publish(self->a, i, i + 1, 0).kind, ==,
                        KSM_ANSWER_SLOT);
    }
    g_assert_cmpint(publish(self->a, 200, 500, 0).kind, ==,
                    KSM_ANSWER_REFUSED);
    g_assert_cmpint(publish(self->a, 200, 500, 6).kind, ==,
                    KSM_ANSWER_REFUSED);
    ksm_member_release(self->a, 0, 64);
    g_assert_cmpint(publish(self->a, 200, 500, 6).kind, ==, KSM_ANSWER_SLOT);
}

/* One member cannot fill the store with tiles that hold one page each. */
static void test_publish_cap(Fixture *self, gconstpointer unused)
{
    KsmMember *small = ksm_member_new(self->group, 100, NULL);
    guint32 i, refused = 0;

    (void)unused;
    self->budget.limit = 100000;
    for (i = 0; i < 100; i++) {
        refused += publish(small, i, i + 1, 6).kind == KSM_ANSWER_REFUSED;
    }
    g_assert_cmpuint(refused, >, 20);
    g_assert_cmpuint(small->published_slots, <=, 100 + 64 * 64);
    ksm_member_release(small, 0, 10);
    g_assert_cmpint(publish(small, 0, 500, 6).kind, ==, KSM_ANSWER_SLOT);
    member_end(small);
}

/* The ring is full: the hints that found no room come later all the same. */
static void test_lost_hints(Fixture *self, gconstpointer unused)
{
    enum { MORE = 3000, PAGES = KSM_HINT_RING_MAX + MORE };
    g_autofree KsmHint *hints = g_new(KsmHint, PAGES);
    guint32 i, got = 0;

    (void)unused;
    self->budget.limit = 1 << 20;
    member_end(self->a);
    member_end(self->b);
    ksm_group_free(self->group);
    self->group = ksm_group_new("test", 1 << 20, 1, &self->budget, NULL);
    self->a = ksm_member_new(self->group, PAGES, NULL);
    self->b = ksm_member_new(self->group, PAGES, NULL);
    for (i = 0; i < PAGES; i++) {
        lookup(self->a, i, i + 1);
        publish(self->b, i, i + 1, 0);
    }
    g_assert_cmpuint(self->a->hints.count, ==, KSM_HINT_RING_MAX);
    g_assert_true(self->a->hints_lost);
    got = ksm_group_take_hints(self->a, hints, KSM_HINT_RING_MAX);
    g_assert_cmpuint(got, ==, KSM_HINT_RING_MAX);
    while (ksm_group_sweep(self->group)) {
    }
    got += ksm_group_take_hints(self->a, hints, PAGES);
    g_assert_cmpuint(got, ==, PAGES);
}

/* The unstable tree stays near what is listed, whatever clients do. */
static void test_sweep(Fixture *self, gconstpointer unused)
{
    guint64 most = 0;
    guint32 i;

    (void)unused;
    for (i = 0; i < 300000; i++) {
        KsmLookup item = { { i * 0x9e3779b97f4a7c15ull, i }, i % 100, 0 };
        KsmAnswer answer;

        ksm_group_lookup(self->a, &item, 1, &answer, NULL);
        most = MAX(most, ksm_fp_tree_count(self->group->unstable));
    }
    g_assert_cmpuint(self->group->listed, ==, 100);
    g_assert_cmpuint(most, <, 100000);      /* without background turns */
    while (ksm_group_sweep(self->group)) {
    }
    g_assert_cmpuint(ksm_fp_tree_count(self->group->unstable), <, 2000);
    for (i = 299900; i < 300000; i++) {
        KsmLookup item = { { i * 0x9e3779b97f4a7c15ull, i }, i % 100, 0 };
        KsmAnswer answer;

        ksm_group_lookup(self->b, &item, 1, &answer, NULL);
        g_assert_cmpint(answer.kind, ==, KSM_ANSWER_PUBLISH);
    }
}

/* A member that begins anew under the number of one that ended. */
static void test_member_ids(Fixture *self, gconstpointer unused)
{
    guint32 slot;
    guint i;

    (void)unused;
    lookup(self->a, 1, 1);
    slot = publish(self->a, 2, 2, 0).slot;
    g_assert_cmpuint(lookup(self->b, 2, 2).slot, ==, slot);
    member_end(self->a);
    g_assert_cmpint(lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    for (i = 0; i < 3; i++) {
        self->group->next_id = 0;
        self->a = ksm_member_new(self->group, 100, NULL);
        g_assert_cmpuint(self->a->id, ==, 0);
        g_assert_cmpuint(self->a->published_slots, ==, 0);
        g_assert_cmpint(lookup(self->a, 5, 1).kind, ==, KSM_ANSWER_PUBLISH);
        if (i < 2) {
            member_end(self->a);
        }
    }
    ksm_member_release(self->b, 2, 1);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 0);
}

typedef struct Model {
    guint32 content[2][64];     /* what the client has mapped; 0: nothing */
} Model;

static void model_check(Fixture *self, const Model *model)
{
    KsmMember *members[2] = { self->a, self->b };
    guint64 bound = 0;
    guint m, page;

    for (m = 0; m < 2; m++) {
        for (page = 0; page < 64; page++) {
            guint32 word = members[m]->table.words[page];
            gboolean is_bound = ksm_page_state(word) == KSM_PAGE_BOUND;

            g_assert_cmpint(is_bound, ==, model->content[m][page] != 0);
            bound += is_bound;
            if (is_bound) {
                assert_content(self, ksm_page_value(word),
                               model->content[m][page]);
            }
        }
    }
    g_assert_cmpuint(self->group->bound, ==, bound);
}

/* At random: a bound slot never changes while a page refers to it. */
static void test_random(Fixture *self, gconstpointer unused)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(37);
    KsmMember *members[2] = { self->a, self->b };
    Model model = { 0 };
    KsmHint hints[64];
    guint step, i;

    (void)unused;
    self->budget.limit = 256;
    for (step = 0; step < 60000; step++) {
        guint m = (guint)g_rand_int_range(rand, 0, 2);
        guint32 page = (guint32)g_rand_int_range(rand, 0, 64);
        guint32 number = (guint32)g_rand_int_range(rand, 1, 30);
        guint32 *mapped = &model.content[m][page];
        KsmAnswer answer = { KSM_ANSWER_LISTED, 0 };

        switch (g_rand_int_range(rand, 0, 6)) {
        case 0:
            answer = *mapped ? answer : lookup(members[m], page, number);
            break;
        case 1:
            answer = *mapped ? answer
                : publish(members[m], page, number,
                          (guint32)g_rand_int_range(rand, 0, 4));
            break;
        case 2:
            ksm_member_release(members[m], page, 1);
            *mapped = 0;
            break;
        case 3:
            ksm_member_withdraw(members[m], page, 1);
            break;
        case 4:
            for (i = ksm_group_take_hints(members[m], hints, 64); i > 0;) {
                guint32 slot = hints[--i].slot;

                memcpy(&model.content[m][hints[i].page],
                       ksm_store_page(self->group->store, slot), 4);
            }
            break;
        default:
            ksm_group_work(self->group);
            ksm_group_sweep(self->group);
            break;
        }
        if (answer.kind == KSM_ANSWER_SLOT) {
            *mapped = number;
        }
        if (step % 64 == 0) {
            model_check(self, &model);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*run)(Fixture *self, gconstpointer unused);
    } tests[] = {
        { "/group/share", test_share },
        { "/group/share-alone", test_share_alone },
        { "/group/withdrawn", test_withdrawn },
        { "/group/hint-outlives-slot", test_hint_outlives_slot },
        { "/group/hint-replaced", test_hint_replaced },
        { "/group/content-changed", test_content_changed },
        { "/group/known-content", test_known_content },
        { "/group/wrong-fingerprint", test_wrong_fingerprint },
        { "/group/tile", test_tile },
        { "/group/tile-takes-over", test_tile_takes_over },
        { "/group/contiguous", test_contiguous },
        { "/group/no-memory", test_no_memory },
        { "/group/same-request", test_same_request },
        { "/group/forbidden", test_forbidden },
        { "/group/store-full", test_store_full },
        { "/group/publish-cap", test_publish_cap },
        { "/group/lost-hints", test_lost_hints },
        { "/group/sweep", test_sweep },
        { "/group/member-ids", test_member_ids },
        { "/group/random", test_random },
    };
    guint i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].run,
                   tear_down);
    }
    return g_test_run();
}
