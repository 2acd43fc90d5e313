/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-filing.c: clients go on while a store is taken over, at every moment of
 * it: no slot that they map is reused or freed, and in the end all content is
 * found.
 */
#include <string.h>
#include <unistd.h>

#include "group/reclaim.h"
#include "group-fixture.h"
#include "group/results.h"
#include "group/listing.h"
#include "group/member.h"

#define SLOTS 12288u
#define FIRST 3000u   /* contents 1 .. FIRST in slots 0 .. */
#define TILE_AT 3008u /* 64 copies of TILE_NUMBER */
#define TILE_NUMBER 5000u
#define TILE_COPIES 64u
#define MORE_AT 4000u /* contents MORE_NUMBER .. in a row */
#define MORE_NUMBER 10001u
#define MORE 3000u
#define HOLE_AT 3500u
#define ZERO_AT 8000u  /* a hole that a client has read */
#define ZEROS_AT 9000u /* a tile that was published: write_zeros() */
#define NEW_NUMBER 50000u

/* The content of a slot of the store before; 0: none. */
static guint32 number_of(guint32 slot)
{
    if (slot < FIRST) {
        return slot + 1;
    }
    if (slot >= TILE_AT && slot < TILE_AT + TILE_COPIES) {
        return TILE_NUMBER;
    }
    return slot >= MORE_AT && slot < MORE_AT + MORE ?
               slot - MORE_AT + MORE_NUMBER :
               0;
}

static void write_slot(KsmStore *store, guint32 slot, guint32 number)
{
    guint8 content[PAGE] = { 0 };
    struct iovec page = { content, PAGE };

    if (number > 0) {
        proto_content(content, number);
    }
    g_assert_cmpuint(ksm_store_write(store, slot, &page, 1), ==, 1);
}

/* A tile of zeros that somebody published. */
static void write_zeros(KsmStore *store)
{
    guint32 i;

    for (i = 0; i < TILE_COPIES; i++) {
        write_slot(store, ZEROS_AT + i, 0);
    }
    ksm_roster_note_zeros(ksm_store_roster(store));
}

/*
 * Puts a store of before in the place of the group's, one where zeros were
 * published or not; a is its claimant.
 */
static void begin_with(Fixture *self, gboolean zeros)
{
    const KsmRosterEntry who = {
        .process = ksm_identity_self(),
        .engine = { { 1, 2 } },
    };
    g_autoptr(KsmStore) store = NULL;
    g_autoptr(GError) error = NULL;
    guint32 slot;
    int fd;

    self->budget.limit = 1 << 20;
    store = ksm_store_new("test", SLOTS, &self->budget, NULL);
    for (slot = 0; slot < SLOTS; slot++) {
        if (number_of(slot) != 0) {
            write_slot(store, slot, number_of(slot));
        }
    }
    write_slot(store, ZERO_AT, 0);
    if (zeros) {
        write_zeros(store);
    }
    g_assert_cmpuint(ksm_roster_add(ksm_store_roster(store), who.process,
                                    &who.engine),
                     !=, KSM_ROSTER_NONE);
    fd = ksm_store_open(store, NULL);
    g_clear_pointer(&store, ksm_store_free);
    ksm_reclaim_begin(self->group, fd, &who, &self->budget, &error);
    g_assert_no_error(error);
    g_assert_true(ksm_reclaim_claim(self->a, &who, fd));
    close(fd);
    g_assert_true(ksm_reclaim_is_filing(self->group));
}

static void begin(Fixture *self)
{
    begin_with(self, FALSE);
}

static gboolean hold(KsmMember *member, guint32 page, guint32 slot)
{
    return ksm_reclaim_range(member, page, slot, 1, NULL);
}

static void file_all(Fixture *self)
{
    while (ksm_reclaim_is_filing(self->group)) {
        ksm_group_work(self->group);
    }
}

static void finish(Fixture *self)
{
    if (self->a->reclaiming) {
        ksm_reclaim_done(self->a);
    }
    while (ksm_group_work(self->group)) {
    }
}

/* ---- at any moment ----------------------------------------------------- */

#define PAGES 10000u /* of each member: group-fixture.c */

typedef struct Model {
    guint32 a[PAGES], b[PAGES]; /* content of each bound page; 0: not bound */
} Model;

static guint32 any_old(void)
{
    guint32 slot;

    do {
        slot = (guint32)g_test_rand_int_range(0, SLOTS);
    } while (number_of(slot) == 0);
    return slot;
}

static void hold_any(Fixture *self, Model *model)
{
    guint32 page = (guint32)g_test_rand_int_range(0, PAGES);
    guint32 slot = any_old();

    if (self->a->reclaiming && model->a[page] == 0) {
        g_assert_true(hold(self->a, page, slot));
        model->a[page] = number_of(slot);
    }
}

static void release_any(KsmMember *member, guint32 *numbers)
{
    guint32 page = (guint32)g_test_rand_int_range(0, PAGES);

    ksm_member_release(member, page, 1);
    numbers[page] = 0;
}

/* A slot that was found or made has the content that was asked for. */
static void bound(Fixture *self, Model *model, guint32 page, guint32 slot,
                  guint32 number)
{
    group_assert_content(self, slot, number);
    if (number >= NEW_NUMBER) {
        g_assert_cmpuint(number_of(slot), ==, 0);
    }
    model->b[page] = number;
}

static void publish_any(Fixture *self, Model *model, guint32 page,
                        guint32 number)
{
    KsmAnswer answer = group_publish(self->b, page, number, 0);

    if (answer.kind == KSM_ANSWER_SLOT) {
        bound(self, model, page, answer.slot, number);
    }
}

static void look_up_any(Fixture *self, Model *model, guint32 number)
{
    guint32 page = (guint32)g_test_rand_int_range(0, PAGES);
    KsmAnswer answer;

    if (model->b[page] != 0) {
        return;
    }
    answer = group_lookup(self->b, page, number);
    if (answer.kind == KSM_ANSWER_SLOT) {
        bound(self, model, page, answer.slot, number);
    } else if (answer.kind == KSM_ANSWER_PUBLISH || number >= NEW_NUMBER ||
               g_test_rand_int_range(0, 2) == 0) {
        publish_any(self, model, page, number);
    }
}

/* Every page still sees its content. */
static void check_words(Fixture *self, const KsmMember *member,
                        const guint32 *numbers)
{
    guint64 count = 0;
    guint32 page;

    for (page = 0; page < PAGES; page++) {
        guint32 word = member->table.words[page];

        g_assert_cmpint(ksm_page_link(word) == KSM_PAGE_LINK_BOUND, ==,
                        numbers[page] != 0);
        if (numbers[page] != 0) {
            group_assert_content(self, ksm_page_link_value(word),
                                 numbers[page]);
            count++;
        }
    }
    g_assert_cmpuint(member->bound, ==, count);
}

static void test_any_moment(Fixture *self, gconstpointer unused)
{
    g_autofree Model *model = g_new0(Model, 1);
    guint32 new_number = NEW_NUMBER, slot;
    guint steps = 0, i;

    (void)unused;
    begin(self);
    for (i = 0; i < 40000 && ksm_reclaim_is_filing(self->group); i++) {
        switch (g_test_rand_int_range(0, 6)) {
        case 0:
            hold_any(self, model);
            break;
        case 1:
            release_any(self->a, model->a);
            break;
        case 2:
            release_any(self->b, model->b);
            break;
        case 3:
            look_up_any(self, model, number_of(any_old()));
            break;
        case 4:
            look_up_any(self, model, new_number++);
            break;
        default:
            if (g_test_rand_int_range(0, 100) == 0) {
                ksm_group_work(self->group);
                steps++;
            }
        }
        if (self->a->reclaiming && g_test_rand_int_range(0, 20000) == 0) {
            ksm_reclaim_done(self->a);
        }
    }
    g_test_message("%u steps beside %u requests", steps, i);
    g_assert_cmpuint(steps, >, 5);
    file_all(self);
    check_words(self, self->a, model->a);
    check_words(self, self->b, model->b);
    for (slot = 0; slot < SLOTS; slot++) {
        if (number_of(slot) != 0) { /* the claimants' reference keeps it */
            group_assert_content(self, slot, number_of(slot));
        }
    }
    finish(self);
    check_words(self, self->a, model->a);
    check_words(self, self->b, model->b);
    group_member_end(g_steal_pointer(&self->a));
    group_member_end(g_steal_pointer(&self->b));
    g_assert_cmpuint(ksm_store_next_data(self->group->store, 0), ==, SLOTS);
}

/* ---- one by one -------------------------------------------------------- */

/* Nobody is given a slot of which it is not known whether somebody maps it. */
static void test_no_slot_before(Fixture *self, gconstpointer unused)
{
    KsmAnswer answer;
    guint steps = 0;

    (void)unused;
    begin(self);
    do {
        answer = group_publish(self->b, 1, NEW_NUMBER, 0);
        if (answer.kind == KSM_ANSWER_REFUSED) {
            ksm_group_work(self->group);
            g_assert_cmpuint(steps++, <, 10);
        }
    } while (answer.kind == KSM_ANSWER_REFUSED);
    g_assert_cmpuint(steps, >, 0);
    g_assert_true(ksm_reclaim_is_filing(self->group));
    g_assert_cmpuint(number_of(answer.slot), ==, 0);
    file_all(self);
    group_assert_content(self, answer.slot, NEW_NUMBER);
    g_assert_cmpuint(group_lookup(self->b, 2, 1).slot, ==, 0);
    finish(self);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 2);
}

/* Copies of a tile, held before it is known to be one. */
static void test_tile(Fixture *self, gconstpointer unused)
{
    const KsmSlot *head;
    guint32 i;

    (void)unused;
    begin(self);
    for (i = 0; i < 10; i++) {
        g_assert_true(hold(self->a, i, TILE_AT + 3 + i));
    }
    file_all(self);
    head = ksm_store_slot(self->group->store, TILE_AT);
    g_assert_cmpuint(head->order, ==, 6);
    g_assert_cmpuint(head->refs, ==, 10 + 1);
    g_assert_true(hold(self->a, 10, TILE_AT + 20));
    g_assert_cmpuint(group_lookup(self->b, TILE_COPIES + 5, TILE_NUMBER).slot,
                     ==, TILE_AT + 5);
    finish(self);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, TILE_COPIES);
    g_assert_cmpuint(head->refs, ==, 10 + 1 + 1);
    ksm_member_release(self->a, 0, 11);
    ksm_member_release(self->b, TILE_COPIES + 5, 1);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 0);
}

/* A page that was listed before its content was filed hears of it. */
static void test_listed(Fixture *self, gconstpointer unused)
{
    KsmResult results[4];

    (void)unused;
    begin(self);
    g_assert_cmpint(group_lookup(self->b, 7, MORE_NUMBER).kind, ==,
                    KSM_ANSWER_LISTED);
    file_all(self);
    while (ksm_group_sweep(self->group)) {
    }
    g_assert_cmpuint(ksm_group_take_results(self->b, results, 4), ==, 1);
    g_assert_cmpuint(results[0].page, ==, 7);
    g_assert_cmpuint(results[0].slot, ==, MORE_AT);
    finish(self);
}

/* Published before it was filed: both are right, and go with their pages. */
static void test_twice(Fixture *self, gconstpointer unused)
{
    guint32 slot;

    (void)unused;
    begin(self);
    g_assert_true(hold(self->a, 1, MORE_AT));
    while ((slot = group_publish(self->b, 1, MORE_NUMBER, 0).slot) ==
           KSM_SLOT_NONE) {
        ksm_group_work(self->group);
    }
    g_assert_cmpuint(slot, !=, MORE_AT);
    file_all(self);
    g_assert_cmpuint(group_lookup(self->b, 2, MORE_NUMBER).slot, ==, slot);
    finish(self);
    group_assert_content(self, MORE_AT, MORE_NUMBER);
    group_assert_content(self, slot, MORE_NUMBER);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 2);
    ksm_member_release(self->a, 1, 1);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 1);
    g_assert_cmpuint(group_lookup(self->b, 3, MORE_NUMBER).slot, ==, slot);
}

/* Who says that it maps what it cannot: refused, or kept as long as it says. */
static void test_lies(Fixture *self, gconstpointer unused)
{
    (void)unused;
    begin(self);
    g_assert_false(hold(self->a, 1, HOLE_AT));
    g_assert_true(hold(self->a, 1, ZERO_AT));
    file_all(self);
    g_assert_false(hold(self->a, 2, ZERO_AT));
    g_assert_false(hold(self->a, 2, HOLE_AT));
    finish(self);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 1);
    ksm_member_release(self->a, 1, 1);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 0);
    while (ksm_group_work(self->group)) {
    }
    g_assert_cmpuint(ksm_store_next_data(self->group->store, 0), ==, SLOTS);
}

/*
 * Where zeros were published, what a claimant maps of them looks like a hole that
 * was read: they stay until all have told, and a tile of them is found.
 */
static void test_zeros(Fixture *self, gconstpointer unused)
{
    KsmAnswer answer;
    guint32 i;

    (void)unused;
    begin_with(self, TRUE);
    for (i = 0; i < 10; i++) { /* before it is filed */
        g_assert_true(hold(self->a, i, ZEROS_AT + 3 + i));
    }
    file_all(self);
    g_assert_cmpuint(ksm_store_slot(self->group->store, ZEROS_AT)->refs, ==,
                     10 + 1);
    g_assert_true(hold(self->a, 10, ZEROS_AT + 60)); /* and after */
    g_assert_true(hold(self->a, 11, ZERO_AT));
    g_assert_cmpuint(group_lookup(self->b, TILE_COPIES + 5, 0).slot, ==,
                     ZEROS_AT + 5);
    for (i = 0; i < 200; i++) {
        answer = group_publish(self->b, 1000 + i, NEW_NUMBER + i, 0);
        g_assert_cmpint(answer.kind, ==, KSM_ANSWER_SLOT);
        g_assert_cmpuint(answer.slot, !=, ZERO_AT);
        g_assert_false(answer.slot >= ZEROS_AT &&
                       answer.slot < ZEROS_AT + TILE_COPIES);
    }
    finish(self);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==,
                     TILE_COPIES + 1 + 200);
    ksm_member_release(self->a, 0, 12);
    ksm_member_release(self->b, 1000, 200);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, TILE_COPIES);
    ksm_member_release(self->b, TILE_COPIES + 5, 1);
    finish(self);
    g_assert_cmpuint(ksm_store_next_data(self->group->store, 0), ==, SLOTS);
}

/* A claimant that ends in the middle of it. */
static void test_heir_ends(Fixture *self, gconstpointer unused)
{
    guint32 slot;

    (void)unused;
    begin(self);
    for (slot = 0; slot < 100; slot++) {
        g_assert_true(hold(self->a, slot, MORE_AT + slot));
    }
    ksm_group_work(self->group);
    group_member_end(g_steal_pointer(&self->a));
    while (ksm_group_work(self->group)) {
    }
    g_assert_null(self->group->reclaim);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 0);
    g_assert_cmpuint(ksm_store_next_data(self->group->store, 0), ==, SLOTS);
}

int main(int argc, char **argv)
{
    static const GroupTest tests[] = {
        { "/filing/any-moment", test_any_moment },
        { "/filing/no-slot-before", test_no_slot_before },
        { "/filing/tile", test_tile },
        { "/filing/listed", test_listed },
        { "/filing/twice", test_twice },
        { "/filing/lies", test_lies },
        { "/filing/zeros", test_zeros },
        { "/filing/claimant-ends", test_heir_ends },
    };

    return group_run_tests(argc, argv, tests, G_N_ELEMENTS(tests));
}
