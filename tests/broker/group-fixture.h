/* SPDX-License-Identifier: GPL-2.0-or-later */
/* group-fixture.h: a group with members, for tests without sockets. */
#ifndef TEST_GROUP_FIXTURE_H
#define TEST_GROUP_FIXTURE_H

#include <glib.h>

#include "group/group.h"
#include "proto-client.h" /* contents */

#define PAGE 4096u

typedef struct Fixture {
    KsmStoreBudget budget;
    KsmGroup *group;
    KsmMember *a, *b, *c; /* c: NULL unless a test makes it */
} Fixture;

typedef struct GroupTest {
    const char *path;
    void (*run)(Fixture *self, gconstpointer unused);
} GroupTest;

void group_set_up(Fixture *self, gconstpointer unused);

/** Ends all members; asserts that nothing is left in use then. */
void group_tear_down(Fixture *self, gconstpointer unused);

/** What main() is to return. */
int group_run_tests(int argc, char **argv, const GroupTest *tests, guint count);

/** Ends a member as the end of its process does, and frees it. */
void group_member_end(KsmMember *member);

/* One item, with content as proto_content() makes it; must be allowed. */
KsmAnswer group_lookup(KsmMember *member, guint32 page, guint32 number);
KsmAnswer group_publish(KsmMember *member, guint32 page, guint32 number,
                        guint32 order);

void group_assert_content(Fixture *self, guint32 slot, guint32 number);
KsmPageLink group_state(const KsmMember *member, guint32 page);

#endif /* TEST_GROUP_FIXTURE_H */
