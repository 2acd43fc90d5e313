/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-listing.c: of several pages with the same content one is published, and
 * the others wait for it; none waits forever, whatever the publisher does.
 */
#include <glib.h>
#include <string.h>

#include "group-fixture.h"
#include "group/results.h"
#include "group/listing.h"
#include "group/member.h"

static gint64 now_us;

static gint64 test_clock(void)
{
    return now_us;
}

/* a:1 is listed with content 1, b:1 is to be published; c:1 waits. */
static void begin(Fixture *self)
{
    now_us = 1000 * G_USEC_PER_SEC;
    self->group->clock_us = test_clock;
    self->c = ksm_member_new(self->group, 100000, NULL);
    g_assert_cmpint(group_lookup(self->a, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpint(group_lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_PUBLISH);
    g_assert_cmpint(group_lookup(self->c, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpuint(self->group->listed, ==, 2);
}

static void expect_no_hint(KsmMember *member)
{
    KsmResult result;

    g_assert_cmpuint(ksm_group_take_results(member, &result, 1), ==, 0);
}

static void expect_hint(KsmMember *member, guint32 page, guint32 slot)
{
    KsmResult result;

    g_assert_cmpuint(ksm_group_take_results(member, &result, 1), ==, 1);
    g_assert_cmpuint(result.page, ==, page);
    g_assert_cmpuint(result.slot, ==, slot);
    g_assert_cmpint(group_state(member, page), ==,
                    slot == KSM_SLOT_NONE ? KSM_PAGE_LINK_NOTHING :
                                            KSM_PAGE_LINK_BOUND);
}

static void test_wait(Fixture *self, gconstpointer unused)
{
    guint32 slot;
    guint i;

    (void)unused;
    begin(self);
    g_assert_cmpint(group_lookup(self->c, 2, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpint(group_lookup(self->a, 2, 1).kind, ==, KSM_ANSWER_LISTED);
    for (i = 0; i < 3; i++) {
        expect_no_hint(self->a);
        expect_no_hint(self->c);
    }
    slot = group_publish(self->b, 1, 1, 0).slot;
    g_assert_cmpuint(ksm_fp_tree_count(self->group->unstable), ==, 0);
    expect_hint(self->a, 1, slot);
    expect_hint(self->a, 2, slot);
    expect_hint(self->c, 1, slot);
    expect_hint(self->c, 2, slot);
    expect_no_hint(self->a);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 1);
    g_assert_cmpuint(self->group->listed, ==, 0);
}

/* The publisher's own pages do not wait: it chooses which one to take. */
static void test_own_pages(Fixture *self, gconstpointer unused)
{
    guint32 slot;

    (void)unused;
    begin(self);
    g_assert_cmpint(group_lookup(self->b, 2, 1).kind, ==, KSM_ANSWER_PUBLISH);
    g_assert_cmpint(group_lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_PUBLISH);
    g_assert_cmpint(group_lookup(self->c, 2, 1).kind, ==, KSM_ANSWER_LISTED);
    slot = group_publish(self->b, 2, 1, 0).slot;
    expect_hint(self->a, 1, slot);
    expect_hint(self->c, 1, slot);
    expect_hint(self->c, 2, slot);
    g_assert_cmpint(group_lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_SLOT);
}

/* A page that waits may be withdrawn, or get other content. */
static void test_waiter_changes(Fixture *self, gconstpointer unused)
{
    (void)unused;
    begin(self);
    ksm_member_withdraw(self->c, 0, 100);
    g_assert_cmpint(group_lookup(self->a, 1, 2).kind, ==, KSM_ANSWER_LISTED);
    group_publish(self->b, 1, 1, 0);
    expect_no_hint(self->a);
    expect_no_hint(self->c);
    g_assert_cmpint(group_state(self->a, 1), ==, KSM_PAGE_LINK_LISTED);
    g_assert_cmpuint(self->group->bound, ==, 1);
    g_assert_cmpint(group_lookup(self->c, 1, 2).kind, ==, KSM_ANSWER_PUBLISH);
}

static void withdraws(Fixture *self)
{
    ksm_member_withdraw(self->b, 1, 1);
}

static void has_other_content(Fixture *self)
{
    g_assert_cmpint(group_publish(self->b, 1, 2, 0).kind, ==, KSM_ANSWER_SLOT);
}

static void looks_other_content_up(Fixture *self)
{
    g_assert_cmpint(group_lookup(self->b, 1, 2).kind, ==, KSM_ANSWER_LISTED);
}

static void is_refused(Fixture *self)
{
    self->budget.limit = 0;
    g_assert_cmpint(group_publish(self->b, 1, 1, 0).kind, ==,
                    KSM_ANSWER_REFUSED);
    self->budget.limit = 100;
}

static void on_cleaned(KsmMember *member, gpointer unused)
{
    (void)member;
    (void)unused;
}

static void loses_its_connection(Fixture *self)
{
    ksm_member_clean(self->b, KSM_CLEANING_LISTINGS, on_cleaned, NULL);
}

static void ends(Fixture *self)
{
    group_member_end(self->b);
    self->b = NULL;
}

static void is_replaced(Fixture *self)
{
    guint16 id = self->b->id;

    group_member_end(self->b);
    self->group->next_id = id;
    self->b = ksm_member_new(self->group, 10000, NULL);
    g_assert_cmpuint(self->b->id, ==, id);
}

static void says_nothing(Fixture *self)
{
    (void)self;
    now_us += KSM_LISTING_WAIT_US * 11 / 10;
}

/*
 * The publisher drops out: the first who asks for results is listed, the other
 * one told to look its page up again, and that one is the next publisher.
 */
static void check_drops_out(Fixture *self, void (*drop_out)(Fixture *self))
{
    KsmMember *first, *second;
    guint32 slot;

    begin(self);
    first = g_test_rand_bit() ? self->a : self->c;
    second = first == self->a ? self->c : self->a;
    expect_no_hint(first);
    now_us += KSM_LISTING_WAIT_US * 9 / 10;
    expect_no_hint(second);
    g_assert_cmpint(group_lookup(second, 50, 1).kind, ==, KSM_ANSWER_LISTED);
    ksm_member_withdraw(second, 50, 1);
    drop_out(self);

    expect_no_hint(first);
    g_assert_cmpint(group_state(first, 1), ==, KSM_PAGE_LINK_LISTED);
    expect_hint(second, 1, KSM_SLOT_NONE);
    expect_no_hint(second);
    g_assert_cmpint(group_lookup(second, 1, 1).kind, ==, KSM_ANSWER_PUBLISH);
    expect_no_hint(first);
    slot = group_publish(second, 1, 1, 0).slot;
    group_assert_content(self, slot, 1);
    expect_hint(first, 1, slot);
}

static void test_drops_out(Fixture *self, gconstpointer unused)
{
    static void (*const ways[])(Fixture * self) = {
        withdraws,   has_other_content,    looks_other_content_up,
        is_refused,  loses_its_connection, ends,
        is_replaced, says_nothing,
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(ways); i++) {
        check_drops_out(self, ways[i]);
        group_tear_down(self, unused);
        group_set_up(self, unused);
    }
}

/* The publisher is late, and another has published meanwhile. */
static void test_late(Fixture *self, gconstpointer unused)
{
    guint32 slot;

    (void)unused;
    begin(self);
    says_nothing(self);
    expect_no_hint(self->a);
    expect_hint(self->c, 1, KSM_SLOT_NONE);
    g_assert_cmpint(group_lookup(self->c, 1, 1).kind, ==, KSM_ANSWER_PUBLISH);
    slot = group_publish(self->b, 1, 1, 0).slot;
    expect_hint(self->a, 1, slot);
    g_assert_cmpuint(group_publish(self->c, 1, 1, 0).slot, ==, slot);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 1);
}

/* Who never publishes holds others up no more after a number of times. */
static void test_distrusted(Fixture *self, gconstpointer unused)
{
    guint32 number, waits = 0;
    KsmResult result;

    (void)unused;
    begin(self);
    for (number = 1000; number < 3000; number++) {
        group_lookup(self->a, 1, number);
        g_assert_cmpint(group_lookup(self->b, 1, number).kind, ==,
                        KSM_ANSWER_PUBLISH);
        if (group_lookup(self->c, 1, number).kind == KSM_ANSWER_PUBLISH) {
            break;
        }
        waits++;
        says_nothing(self);
        group_lookup(self->c, 1, number); /* finds that out */
        ksm_group_take_results(self->a, &result, 1);
    }
    g_assert_cmpuint(waits, >=, 10);
    g_assert_cmpuint(waits, <=, 300);
    now_us += 3600ll * G_USEC_PER_SEC;
    group_lookup(self->a, 1, 5000);
    group_lookup(self->b, 1, 5000);
    g_assert_cmpint(group_lookup(self->c, 1, 5000).kind, ==, KSM_ANSWER_LISTED);
}

/* Turns kept make up for those let pass: no client is always in time. */
static void test_mostly_kept(Fixture *self, gconstpointer unused)
{
    guint32 number;
    KsmResult result;

    (void)unused;
    begin(self);
    for (number = 1000; number < 3000; number++) {
        group_lookup(self->a, 2, number);
        group_lookup(self->b, 2, number);
        g_assert_cmpint(group_lookup(self->c, 2, number).kind, ==,
                        KSM_ANSWER_LISTED);
        if (number % 3 == 0) {
            says_nothing(self);
            group_lookup(self->c, 2, number);
        } else {
            group_publish(self->b, 2, number, 0);
            ksm_member_release(self->b, 2, 1);
        }
        while (ksm_group_take_results(self->a, &result, 1) == 1) {
            ksm_member_release(self->a, 2, 1);
        }
        while (ksm_group_take_results(self->c, &result, 1) == 1) {
            ksm_member_release(self->c, 2, 1);
        }
    }
}

/* No room for another result: told to publish, as if nobody else did. */
static void test_no_room(Fixture *self, gconstpointer unused)
{
    guint32 page, slot;
    KsmResult result;

    (void)unused;
    begin(self);
    for (page = 2; page <= KSM_RESULT_RING_MAX; page++) {
        g_assert_cmpint(group_lookup(self->c, page, 1).kind, ==,
                        KSM_ANSWER_LISTED);
    }
    g_assert_cmpint(group_lookup(self->c, page, 1).kind, ==,
                    KSM_ANSWER_PUBLISH);
    g_assert_cmpint(group_state(self->c, page), ==, KSM_PAGE_LINK_NOTHING);
    slot = group_publish(self->c, page, 1, 0).slot;
    g_assert_cmpuint(group_publish(self->b, 1, 1, 0).slot, ==, slot);
    for (page = 1; page <= KSM_RESULT_RING_MAX; page++) {
        g_assert_cmpuint(ksm_group_take_results(self->c, &result, 1), ==, 1);
        g_assert_cmpuint(result.slot, ==, slot);
    }
    expect_hint(self->a, 1, slot);
}

/* --- clients at random, each as a proper one, but of varying diligence --- */

#define CLIENTS 4u
#define PAGES 24u
#define CONTENTS 12u

typedef enum PageIs {
    PAGE_UNKNOWN,
    PAGE_CANDIDATE,
    PAGE_TO_PUBLISH,
    PAGE_SHARED,
} PageIs;

typedef struct Client {
    KsmMember *member;
    guint32 content[PAGES]; /* from 1 on */
    PageIs is[PAGES];
} Client;

static void client_file(Client *self, guint32 page, KsmAnswer answer)
{
    static const PageIs becomes[] = {
        [KSM_ANSWER_LISTED] = PAGE_CANDIDATE,
        [KSM_ANSWER_SLOT] = PAGE_SHARED,
        [KSM_ANSWER_PUBLISH] = PAGE_TO_PUBLISH,
        [KSM_ANSWER_REFUSED] = PAGE_UNKNOWN,
    };

    self->is[page] = becomes[answer.kind];
}

/* What an engine does with a page when it has a look at it. */
static void client_advance(Client *self, guint32 page)
{
    if (self->is[page] == PAGE_UNKNOWN) {
        client_file(self, page,
                    group_lookup(self->member, page, self->content[page]));
    } else if (self->is[page] == PAGE_TO_PUBLISH) {
        client_file(self, page,
                    group_publish(self->member, page, self->content[page], 0));
    }
}

static void client_fetch_hints(Client *self)
{
    KsmResult results[8];
    guint count = ksm_group_take_results(self->member, results, 8), i;

    for (i = 0; i < count; i++) {
        g_assert_cmpint(self->is[results[i].page], ==, PAGE_CANDIDATE);
        self->is[results[i].page] = results[i].slot == KSM_SLOT_NONE ?
                                        PAGE_UNKNOWN :
                                        PAGE_SHARED;
    }
}

/* The guest writes: a listed page is withdrawn, a shared one released. */
static void client_write(Client *self, guint32 page, guint32 content)
{
    if (self->is[page] == PAGE_CANDIDATE) {
        ksm_member_withdraw(self->member, page, 1);
    } else if (self->is[page] == PAGE_SHARED) {
        ksm_member_release(self->member, page, 1);
    }
    self->is[page] = PAGE_UNKNOWN;
    self->content[page] = content;
}

static void client_replace(Client *self, KsmGroup *group)
{
    guint32 page;

    group_member_end(self->member);
    self->member = ksm_member_new(group, PAGES, NULL);
    for (page = 0; page < PAGES; page++) {
        self->is[page] = PAGE_UNKNOWN;
    }
}

static void clients_step(Fixture *self, Client *clients, GRand *rand)
{
    Client *client = &clients[g_rand_int_range(rand, 0, CLIENTS)];
    guint32 page = (guint32)g_rand_int_range(rand, 0, PAGES);
    gint what = g_rand_int_range(rand, 0, 200);

    if (what < 100) {
        client_advance(client, page);
    } else if (what < 130) {
        client_fetch_hints(client);
    } else if (what < 160) {
        client_write(client, page,
                     (guint32)g_rand_int_range(rand, 1, CONTENTS + 1));
    } else if (what < 162) {
        client_replace(client, self->group);
    } else if (what < 170 && client->is[page] == PAGE_TO_PUBLISH) {
        client->is[page] = PAGE_UNKNOWN; /* it has no time for it */
    } else if (what < 180) {
        now_us += g_rand_int_range(rand, 0, KSM_LISTING_WAIT_US / 4);
    } else if (what < 190) {
        ksm_group_work(self->group);
        ksm_group_sweep(self->group);
    }
}

/* All have a look at every page, and fetch their results, some times. */
static void clients_settle(Client *clients)
{
    guint round, i;
    guint32 page;

    for (round = 0; round < 8; round++) {
        for (i = 0; i < CLIENTS; i++) {
            for (page = 0; page < PAGES; page++) {
                client_advance(&clients[i], page);
            }
            client_fetch_hints(&clients[i]);
            client_fetch_hints(&clients[i]);
            client_fetch_hints(&clients[i]);
        }
        now_us += KSM_LISTING_WAIT_US / 2;
    }
}

/* Contents that stand twice are shared, by all who have them; others not. */
static void clients_check(Fixture *self, const Client *clients)
{
    guint holders[CONTENTS + 1] = { 0 };
    guint i;
    guint32 page;

    for (i = 0; i < CLIENTS * PAGES; i++) {
        holders[clients[i / PAGES].content[i % PAGES]]++;
    }
    for (i = 0; i < CLIENTS; i++) {
        for (page = 0; page < PAGES; page++) {
            guint32 content = clients[i].content[page];
            guint32 word = clients[i].member->table.words[page];

            if (holders[content] > 1) {
                g_assert_cmpint(clients[i].is[page], ==, PAGE_SHARED);
            }
            if (clients[i].is[page] == PAGE_SHARED) {
                group_assert_content(self, ksm_page_link_value(word), content);
            }
        }
    }
}

static void test_nobody_is_stuck(Fixture *self, gconstpointer unused)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(41);
    Client clients[CLIENTS];
    guint run, step, i;

    (void)unused;
    self->group->clock_us = test_clock;
    for (run = 0; run < 300; run++) {
        for (i = 0; i < CLIENTS; i++) {
            guint32 page;

            clients[i].member = ksm_member_new(self->group, PAGES, NULL);
            for (page = 0; page < PAGES; page++) {
                clients[i].is[page] = PAGE_UNKNOWN;
                clients[i].content[page] =
                    (guint32)g_rand_int_range(rand, 1, CONTENTS + 1);
            }
        }
        for (step = 0; step < 1500; step++) {
            clients_step(self, clients, rand);
        }
        clients_settle(clients);
        clients_check(self, clients);
        for (i = 0; i < CLIENTS; i++) {
            group_member_end(clients[i].member);
        }
    }
}

int main(int argc, char **argv)
{
    static const GroupTest tests[] = {
        { "/listing/wait", test_wait },
        { "/listing/own-pages", test_own_pages },
        { "/listing/waiter-changes", test_waiter_changes },
        { "/listing/publisher-drops-out", test_drops_out },
        { "/listing/publisher-is-late", test_late },
        { "/listing/distrusted", test_distrusted },
        { "/listing/mostly-kept", test_mostly_kept },
        { "/listing/no-room", test_no_room },
        { "/listing/nobody-is-stuck", test_nobody_is_stuck },
    };

    return group_run_tests(argc, argv, tests, G_N_ELEMENTS(tests));
}
