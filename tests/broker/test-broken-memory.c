/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-broken-memory.c: memory of the broker that fails: slots that it reads,
 * and the memory that it shares with clients.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "group/reclaim.h"
#include "hwpoison.h"
#include "group-fixture.h"
#include "group/content.h"
#include "group/member.h"
#include "group/publish.h"
#include "safe-read.h"
#include "poison.h"

static int uffd = -1;

static gboolean of_the_broker(const siginfo_t *info)
{
    return ksm_safe_read_catch(info);
}

static gboolean can_poison(void)
{
    ksm_test_sigbus_install(of_the_broker);
    if (uffd < 0) {
        uffd = ksm_test_poison_open();
    }
    if (uffd < 0) {
        g_test_skip("no userfaultfd, or no UFFDIO_POISON (Linux 6.6)");
    }
    return uffd >= 0;
}

static guint8 *page_of(Fixture *self, guint32 slot)
{
    return (guint8 *)(gsize)ksm_store_page(self->group->store, slot);
}

/* Read when the same is published again: that gets another slot. */
static void test_slot(Fixture *self, gconstpointer unused)
{
    KsmAnswer first, again, third;

    (void)unused;
    if (!can_poison()) {
        return;
    }
    group_lookup(self->a, 1, 1);
    group_lookup(self->b, 1, 1);
    first = group_publish(self->b, 1, 1, 0);
    g_assert_cmpint(first.kind, ==, KSM_ANSWER_SLOT);
    ksm_test_poison(uffd, page_of(self, first.slot));
    again = group_publish(self->a, 2, 1, 0);
    g_assert_cmpint(again.kind, ==, KSM_ANSWER_SLOT);
    g_assert_cmpuint(again.slot, !=, first.slot);
    g_assert_cmpuint(self->group->retired, ==, 1);
    group_assert_content(self, again.slot, 1);
    third = group_lookup(self->b, 3, 1);
    g_assert_cmpint(third.kind, ==, KSM_ANSWER_SLOT);
    g_assert_cmpuint(third.slot, ==, again.slot);
    /* Still whose maps it: it is not freed before. */
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 2);
    ksm_member_release(self->b, 1, 1);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 1);
}

/* The kernel names an address before anybody reads there. */
static void test_told(Fixture *self, gconstpointer unused)
{
    KsmAnswer first, again;
    guint32 slot;

    (void)unused;
    first = group_publish(self->a, 1, 1, 2);
    g_assert_true(ksm_store_find_slot(self->group->store,
                                      page_of(self, first.slot + 1) + 77,
                                      &slot));
    g_assert_cmpuint(slot, ==, first.slot + 1);
    ksm_group_retire(self->group, slot);
    ksm_group_retire(self->group, slot);
    g_assert_cmpuint(self->group->retired, ==, 1);
    g_assert_cmpint(group_lookup(self->b, 1, 1).kind, ==, KSM_ANSWER_LISTED);
    again = group_publish(self->b, 1, 1, 0);
    g_assert_cmpuint(again.slot, !=, first.slot);
    ksm_group_retire(self->group, 4000); /* nobody's */
    g_assert_cmpuint(self->group->retired, ==, 1);
    g_assert_false(
        ksm_store_find_slot(self->group->store, (guint8 *)&slot, &slot));
}

/* Memory that the client shares with the broker: refused. */
static void test_content(Fixture *self, gconstpointer unused)
{
    KsmPublish items[2] = { { 1, 0 }, { 2, 0 } };
    KsmAnswer answers[2];
    guint8 *contents;

    (void)unused;
    if (!can_poison()) {
        return;
    }
    contents = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(contents != MAP_FAILED);
    proto_content(contents, 1);
    proto_content(contents + PAGE, 2);
    ksm_test_poison(uffd, contents);
    g_assert_true(
        ksm_group_publish(self->a, items, 2, contents, answers, NULL));
    g_assert_cmpint(answers[0].kind, ==, KSM_ANSWER_REFUSED);
    g_assert_cmpint(answers[1].kind, ==, KSM_ANSWER_SLOT);
    group_assert_content(self, answers[1].slot, 2);
    munmap(contents, 2 * PAGE);
}

/* What a broker leaves behind that gave contents 1 to @count to this process. */
static int make_store_of_before(Fixture *self, guint32 count)
{
    g_autoptr(KsmStore) store = ksm_store_new("test", 4096, &self->budget,
                                              NULL);
    KsmStoreExtent extent;
    guint32 i;

    g_assert_true(ksm_store_reserve(store, count, count, &extent));
    g_assert_cmpuint(extent.next, ==, 0);
    for (i = 0; i < count; i++) {
        guint8 content[PAGE];
        struct iovec page = { content, PAGE };

        proto_content(content, 1 + i);
        g_assert_cmpuint(ksm_store_write(store, i, &page, 1), ==, 1);
    }
    ksm_store_unreserve(store, &(KsmStoreExtent) { count, extent.end });
    g_assert_cmpuint(ksm_roster_add(ksm_store_roster(store),
                                    ksm_identity_self(),
                                    &(KsmEngineId) { { 1, 2 } }),
                     !=, KSM_ROSTER_NONE);
    return ksm_store_open(store, NULL);
}

/* A store taken up has a slot that nobody can read: kept for who maps it. */
static void test_taken_up(Fixture *self, gconstpointer unused)
{
    const KsmRosterEntry who = { ksm_identity_self(), { { 1, 2 } }, FALSE };
    g_autoptr(GError) error = NULL;
    int fd;

    (void)unused;
    if (!can_poison()) {
        return;
    }
    fd = make_store_of_before(self, 3);
    g_assert_true(
        ksm_reclaim_begin(self->group, fd, &who, &self->budget, &error));
    g_assert_no_error(error);
    ksm_test_poison(uffd, page_of(self, 1));
    while (ksm_reclaim_is_filing(self->group)) {
        ksm_group_work(self->group);
    }
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 3);
    g_assert_cmpuint(ksm_fp_tree_count(self->group->stable), ==, 2);
    g_assert_cmpuint(group_lookup(self->b, 1, 1).slot, ==, 0);
    g_assert_cmpint(group_lookup(self->b, 2, 2).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpuint(group_lookup(self->b, 3, 3).slot, ==, 2);
    g_assert_true(ksm_reclaim_claim(self->a, &who, fd));
    g_assert_true(ksm_reclaim_range(self->a, 10, 0, 3, &error));
    ksm_reclaim_done(self->a);
    close(fd);
    while (ksm_group_work(self->group)) {
    }
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 3);
    ksm_member_release(self->a, 10, 3);
    g_assert_cmpuint(ksm_store_used(self->group->store), ==, 2);
}

int main(int argc, char **argv)
{
    static const GroupTest tests[] = {
        { "/broken-memory/slot", test_slot },
        { "/broken-memory/told", test_told },
        { "/broken-memory/content", test_content },
        { "/broken-memory/taken-up", test_taken_up },
    };

    return group_run_tests(argc, argv, tests, G_N_ELEMENTS(tests));
}
