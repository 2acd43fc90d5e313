/* SPDX-License-Identifier: GPL-2.0-or-later */
/* group-fixture.c: a group with members, for tests without sockets. */
#include "group-fixture.h"

#include "group/reclaim.h"
#include "group/lookup.h"
#include "group/member.h"
#include "group/publish.h"

static void on_cleaned(KsmMember *member, gpointer done)
{
    (void)member;
    *(gboolean *)done = TRUE;
}

void group_member_end(KsmMember *member)
{
    gboolean done = FALSE;
    KsmGroup *group = member->group;

    ksm_member_clean(member, KSM_CLEANING_ALL, on_cleaned, &done);
    while (ksm_group_work(group)) {
    }
    g_assert_true(done);
    if (member->reclaiming) {
        ksm_reclaim_done(member);
    }
    ksm_member_free(member);
}

void group_set_up(Fixture *self, gconstpointer unused)
{
    (void)unused;
    self->budget = (KsmStoreBudget) { .limit = 4096 };
    self->group = ksm_group_new("test", 4 * 4096, 1, &self->budget, NULL);
    self->a = ksm_member_new(self->group, 10000, NULL);
    self->b = ksm_member_new(self->group, 10000, NULL);
    self->c = NULL;
}

/* Ends all members: then nothing may be left in use. */
void group_tear_down(Fixture *self, gconstpointer unused)
{
    (void)unused;
    if (self->a != NULL) {
        group_member_end(self->a);
    }
    if (self->b != NULL) {
        group_member_end(self->b);
    }
    if (self->c != NULL) {
        group_member_end(self->c);
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

KsmAnswer group_lookup(KsmMember *member, guint32 page, guint32 number)
{
    KsmLookup item = { proto_fingerprint(number), page, 0 };
    KsmAnswer answer = { 99, 99 };
    GError *error = NULL;

    g_assert_true(ksm_group_lookup(member, &item, 1, &answer, &error));
    g_assert_no_error(error);
    return answer;
}

KsmAnswer group_publish(KsmMember *member, guint32 page, guint32 number,
                        guint32 order)
{
    KsmPublish item = { page, order };
    KsmAnswer answer = { 99, 99 };
    guint8 content[PAGE];
    GError *error = NULL;

    proto_content(content, number);
    g_assert_true(
        ksm_group_publish(member, &item, 1, content, &answer, &error));
    g_assert_no_error(error);
    return answer;
}

void group_assert_content(Fixture *self, guint32 slot, guint32 number)
{
    guint8 page[PAGE];

    proto_content(page, number);
    g_assert_cmpmem(ksm_store_page(self->group->store, slot), PAGE, page, PAGE);
}

KsmPageLink group_state(const KsmMember *member, guint32 page)
{
    return ksm_page_link(member->table.words[page]);
}

int group_run_tests(int argc, char **argv, const GroupTest *tests, guint count)
{
    guint i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < count; i++) {
        g_test_add(tests[i].path, Fixture, NULL, group_set_up, tests[i].run,
                   group_tear_down);
    }
    return g_test_run();
}
