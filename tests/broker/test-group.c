/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-group.c: sharing inside a group, without sockets: what look-ups and
 * results answer, and that every count fits the page words.
 */
#include <glib.h>
#include <string.h>

#include "error.h"
#include "group-fixture.h"
#include "group/results.h"
#include "group/listing.h"
#include "group/lookup.h"
#include "group/member.h"
#include "group/publish.h"

static void test_share(Fixture *self, gconstpointer unused)
{
    KsmResult results[8];
    KsmAnswer answer;

    (void)unused;
    g_assert_cmpint(group_lookup(self->a, 5, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpint(group_lookup(self->a, 5, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpuint(self->group->listed, ==, 1);
    g_assert_cmpint(group_lookup(self->b, 7, 1).kind, ==, KSM_ANSWER_PUBLISH);
    answer = group_publish(self->b, 7, 1, 0);
    g_assert_cmpint(answer.kind, ==, KSM_ANSWER_SLOT);
    group_assert_content(self, answer.slot, 1);
    g_assert_cmpuint(ksm_fp_tree_count(self->group->unstable), ==, 0);

    g_assert_cmpint(group_state(self->a, 5), ==, KSM_PAGE_LINK_LISTED);
    g_assert_cmpuint(ksm_group_take_results(self->b, results, 8), ==, 0);
    g_assert_cmpuint(ksm_group_take_results(self->a, results, 8), ==, 1);
    g_assert_cmpuint(results[0].page, ==, 5);
    g_assert_cmpuint(results[0].slot, ==, answer.slot);
    g_assert_cmpint(group_state(self->a, 5), ==, KSM_PAGE_LINK_BOUND);

    g_assert_cmpint(group_lookup(self->a, 6, 1).kind, ==, KSM_ANSWER_SLOT);
    g_assert_cmpuint(self->group->bound, ==, 3);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 1);
    ksm_member_release(self->a, 0, 10);
    ksm_member_release(self->b, 0, 10);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 0);
    g_assert_cmpint(group_lookup(self->a, 6, 1).kind, ==, KSM_ANSWER_LISTED);
}

/* Two pages of one member: the first one is told by a result as well. */
static void test_share_alone(Fixture *self, gconstpointer unused)
{
    KsmResult result;

    (void)unused;
    g_assert_cmpint(group_lookup(self->a, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpint(group_lookup(self->a, 2, 1).kind, ==, KSM_ANSWER_PUBLISH);
    g_assert_cmpint(group_publish(self->a, 2, 1, 0).kind, ==, KSM_ANSWER_SLOT);
    g_assert_cmpuint(ksm_group_take_results(self->a, &result, 1), ==, 1);
    g_assert_cmpuint(result.page, ==, 1);
    g_assert_cmpuint(self->group->bound, ==, 2);
}

/* Listings that are true no more are not offered, and results neither. */
static void test_withdrawn(Fixture *self, gconstpointer unused)
{
    KsmResult result;

    (void)unused;
    group_lookup(self->a, 1, 1);
    ksm_member_withdraw(self->a, 1, 1);
    g_assert_cmpint(group_lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    group_lookup(self->a, 2, 2);
    group_lookup(self->a, 2, 3); /* other content by now */
    g_assert_cmpint(group_lookup(self->b, 2, 2).kind, ==, KSM_ANSWER_LISTED);

    group_lookup(self->a, 3, 4);
    group_lookup(self->b, 3, 4);
    group_publish(self->b, 3, 4, 0); /* a result for a:3 waits */
    ksm_member_withdraw(self->a, 3, 1);
    g_assert_cmpuint(ksm_group_take_results(self->a, &result, 1), ==, 0);
    g_assert_cmpint(group_state(self->a, 3), ==, KSM_PAGE_LINK_NOTHING);
}

/* The slot of a waiting result is freed: the page is listed as before. */
static void test_hint_outlives_slot(Fixture *self, gconstpointer unused)
{
    KsmResult result;

    (void)unused;
    group_lookup(self->a, 1, 1);
    group_publish(self->b, 1, 1, 0);
    ksm_member_release(self->b, 1, 1);
    while (ksm_group_work(self->group)) {
    }
    group_publish(self->b, 2, 2, 0); /* takes the slot's place */
    g_assert_cmpuint(ksm_group_take_results(self->a, &result, 1), ==, 0);
    g_assert_cmpint(group_state(self->a, 1), ==, KSM_PAGE_LINK_LISTED);
    g_assert_cmpint(group_lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_PUBLISH);
    group_publish(self->b, 1, 1, 0);
    g_assert_cmpuint(ksm_group_take_results(self->a, &result, 1), ==, 1);
    group_assert_content(self, result.slot, 1);
}

/* The same, and someone else has been listed in its place: they must meet. */
static void test_hint_replaced(Fixture *self, gconstpointer unused)
{
    KsmResult result;

    (void)unused;
    group_lookup(self->a, 1, 1);
    group_publish(self->b, 1, 1, 0);
    ksm_member_release(self->b, 1, 1);
    while (ksm_group_work(self->group)) {
    }
    g_assert_cmpint(group_lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpuint(ksm_group_take_results(self->a, &result, 1), ==, 1);
    g_assert_cmpuint(result.page, ==, 1);
    g_assert_cmpuint(result.slot, ==, KSM_SLOT_NONE);
    g_assert_cmpint(group_state(self->a, 1), ==, KSM_PAGE_LINK_NOTHING);
    g_assert_cmpint(group_lookup(self->a, 1, 1).kind, ==, KSM_ANSWER_PUBLISH);
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
        items[i] = (KsmLookup) { proto_fingerprint(9), 1 + i, 0 };
        proto_content(contents + i * PAGE, 9);
    }
    g_assert_true(ksm_group_lookup(self->a, items, 3, answers, NULL));
    g_assert_cmpint(answers[0].kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpint(answers[1].kind, ==, KSM_ANSWER_PUBLISH);
    g_assert_cmpint(answers[2].kind, ==, KSM_ANSWER_PUBLISH);
    g_assert_true(
        ksm_group_publish(self->a, pages, 3, contents, answers, NULL));
    g_assert_cmpuint(answers[0].slot, ==, answers[1].slot);
    g_assert_cmpuint(answers[0].slot, ==, answers[2].slot);
    g_assert_cmpuint(self->group->bound, ==, 3);
}

static void test_forbidden(Fixture *self, gconstpointer unused)
{
    KsmLookup item = { proto_fingerprint(1), 1, 0 };
    KsmPublish page = { 1, 0 };
    guint8 content[PAGE];
    KsmAnswer answer;
    GError *errors[6] = { NULL };
    guint i;

    (void)unused;
    proto_content(content, 1);
    group_publish(self->a, 1, 1, 0);
    ksm_group_lookup(self->a, &item, 1, &answer, &errors[0]);
    ksm_group_publish(self->a, &page, 1, content, &answer, &errors[1]);
    item.page = page.page = 10000;
    ksm_group_lookup(self->a, &item, 1, &answer, &errors[2]);
    ksm_group_publish(self->a, &page, 1, content, &answer, &errors[3]);
    item = (KsmLookup) { proto_fingerprint(1), 2, 1 };
    ksm_group_lookup(self->a, &item, 1, &answer, &errors[4]);
    page = (KsmPublish) { 2, 7 };
    ksm_group_publish(self->a, &page, 1, content, &answer, &errors[5]);
    for (i = 0; i < G_N_ELEMENTS(errors); i++) {
        g_assert_error(errors[i], KSM_ERROR, KSM_ERROR_PROTOCOL);
        g_clear_error(&errors[i]);
    }
}

/* The ring is full: the results that found no room come later all the same. */
static void test_lost_hints(Fixture *self, gconstpointer unused)
{
    enum { MORE = 3000, PAGES = KSM_RESULT_RING_MAX + MORE };
    g_autofree KsmResult *results = g_new(KsmResult, PAGES);
    guint32 i, got = 0;

    (void)unused;
    self->budget.limit = 1 << 20;
    group_member_end(self->a);
    group_member_end(self->b);
    ksm_group_free(self->group);
    self->group = ksm_group_new("test", 1 << 20, 1, &self->budget, NULL);
    self->a = ksm_member_new(self->group, PAGES, NULL);
    self->b = ksm_member_new(self->group, PAGES, NULL);
    for (i = 0; i < PAGES; i++) {
        group_lookup(self->a, i, i + 1);
        group_publish(self->b, i, i + 1, 0);
    }
    g_assert_cmpuint(self->a->results.count, ==, KSM_RESULT_RING_MAX);
    g_assert_true(self->a->results_lost);
    got = ksm_group_take_results(self->a, results, KSM_RESULT_RING_MAX);
    g_assert_cmpuint(got, ==, KSM_RESULT_RING_MAX);
    while (ksm_group_sweep(self->group)) {
    }
    got += ksm_group_take_results(self->a, results, PAGES);
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
    g_assert_cmpuint(most, <, 100000); /* without background turns */
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
    KsmResult result;
    guint32 slot;
    guint i;

    (void)unused;
    group_lookup(self->a, 1, 1);
    slot = group_publish(self->a, 2, 2, 0).slot;
    g_assert_cmpuint(group_lookup(self->b, 2, 2).slot, ==, slot);
    group_member_end(self->a);
    g_assert_cmpint(group_lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    for (i = 0; i < 3; i++) {
        self->group->next_id = 0;
        self->a = ksm_member_new(self->group, 100, NULL);
        g_assert_cmpuint(self->a->id, ==, 0);
        g_assert_cmpuint(self->a->published_slots, ==, 0);
        g_assert_cmpint(group_lookup(self->a, 5, 1).kind, ==,
                        KSM_ANSWER_PUBLISH);
        if (i < 2) {
            group_member_end(self->a);
            /* the page that waited for that one is listed again */
            g_assert_cmpuint(ksm_group_take_results(self->b, &result, 1), ==,
                             0);
        }
    }
    ksm_member_release(self->b, 2, 1);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 0);
}

typedef struct Model {
    guint32 content[2][64]; /* what the client has mapped; 0: nothing */
} Model;

static void model_check(Fixture *self, const Model *model)
{
    KsmMember *members[2] = { self->a, self->b };
    guint64 bound = 0;
    guint m, page;

    for (m = 0; m < 2; m++) {
        for (page = 0; page < 64; page++) {
            guint32 word = members[m]->table.words[page];
            gboolean is_bound = ksm_page_link(word) == KSM_PAGE_LINK_BOUND;

            g_assert_cmpint(is_bound, ==, model->content[m][page] != 0);
            bound += is_bound;
            if (is_bound) {
                group_assert_content(self, ksm_page_link_value(word),
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
    KsmResult results[64];
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
            answer = *mapped ? answer : group_lookup(members[m], page, number);
            break;
        case 1:
            answer = *mapped ?
                         answer :
                         group_publish(members[m], page, number,
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
            for (i = ksm_group_take_results(members[m], results, 64); i > 0;) {
                guint32 slot = results[--i].slot;

                if (slot != KSM_SLOT_NONE) {
                    memcpy(&model.content[m][results[i].page],
                           ksm_store_page(self->group->store, slot), 4);
                }
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

/* A group that nobody is in any more gives its slots back in turns, too. */
static void test_drop(Fixture *self, gconstpointer unused)
{
    KsmMember *member;
    guint turns = 0, i;
    guint64 before;
    gboolean more;

    (void)unused;
    group_member_end(g_steal_pointer(&self->a));
    group_member_end(g_steal_pointer(&self->b));
    while (ksm_group_work(self->group)) {
    }
    member = ksm_member_new(self->group, 10000, NULL);
    for (i = 0; i < 60; i++) {
        g_assert_cmpint(group_publish(member, i, 1 + i, 6).kind, ==,
                        KSM_ANSWER_SLOT);
    }
    ksm_member_release(member, 0, 60);
    ksm_member_free(member);
    g_assert_cmpuint(self->budget.used, ==, 60 * 64);
    do {
        before = self->budget.used;
        more = ksm_group_drop(self->group);
        g_assert_cmpuint(before - self->budget.used, <=, 2048);
        turns += before > self->budget.used;
    } while (more);
    g_assert_cmpuint(turns, ==, 2);
    g_assert_cmpuint(self->budget.used, ==, 0);
    ksm_group_free(self->group);
    self->budget = (KsmStoreBudget) { .limit = 4096 };
    self->group = ksm_group_new("test", 4 * 4096, 1, &self->budget, NULL);
}

int main(int argc, char **argv)
{
    static const GroupTest tests[] = {
        { "/group/share", test_share },
        { "/group/share-alone", test_share_alone },
        { "/group/withdrawn", test_withdrawn },
        { "/group/result-outlives-slot", test_hint_outlives_slot },
        { "/group/result-replaced", test_hint_replaced },
        { "/group/same-request", test_same_request },
        { "/group/forbidden", test_forbidden },
        { "/group/lost-results", test_lost_hints },
        { "/group/sweep", test_sweep },
        { "/group/member-ids", test_member_ids },
        { "/group/drop", test_drop },
        { "/group/random", test_random },
    };

    return group_run_tests(argc, argv, tests, G_N_ELEMENTS(tests));
}
