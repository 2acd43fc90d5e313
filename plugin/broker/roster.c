/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * roster.c: who may map a store, kept in the store's own file behind the slots.
 *
 * A slot may be reused when no process maps it.  A broker knows that as long
 * as it lives; one that takes a store up after another's end must find out who
 * had a descriptor.  So each session is entered here before it gets one, and
 * struck out when it can map nothing any more: when its process has gone, or
 * with its last reference.  An entry is one word, written at once, and the
 * memory is the kernel's: there is no moment at which the broker's end would
 * leave somebody out.
 *
 * A store has one owner.  Two brokers that both punched holes into it would be
 * the end of somebody's page: so whoever takes it puts itself in the place of
 * an owner that has gone, by one comparison and exchange.  (A broker that
 * hangs still is the owner: it might go on at any moment.)
 *
 * Clients can read all this; only the broker's own user can write it, as with
 * the slots.
 */
#include "roster.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker-error.h"
#include "store.h"

#define ROSTER_MAGIC 0x31726f74736f7267ull      /* with the layout's version */

typedef struct Head {
    guint64 magic;
    guint64 slots;
    guint64 pid_space[2];       /* the namespace that pids are of */
    KsmIdentity owner;          /* 0: nobody */
    guint64 high;               /* entries from here on were never used */
    guint64 reserved[2];
} Head;

#define ENTRIES ((KSM_ROSTER_BYTES - sizeof(Head)) / sizeof(KsmIdentity))

struct KsmRoster {
    Head *head;
    KsmIdentity *entries;
    KsmIdentity self;
    guint32 free;               /* no entry below it is free */
};

G_STATIC_ASSERT(sizeof(Head) == 64);
G_STATIC_ASSERT(ENTRIES >= G_MAXUINT16);

static void pid_space(guint64 space[2])
{
    struct stat status = { 0 };

    if (stat("/proc/self/ns/pid", &status) != 0) {
        status.st_ino = 0;
    }
    space[0] = (guint64)status.st_dev;
    space[1] = (guint64)status.st_ino;
}

static KsmRoster *roster_map(int fd, guint64 slots, GError **errp)
{
    KsmRoster *roster = g_new0(KsmRoster, 1);

    roster->head = mmap(NULL, KSM_ROSTER_BYTES, PROT_READ | PROT_WRITE,
                        MAP_SHARED, fd, (off_t)(slots * KSM_STORE_PAGE_BYTES));
    if (roster->head == MAP_FAILED) {
        g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_LIMIT,
                    "mapping the store's roster: %s", g_strerror(errno));
        g_free(roster);
        return NULL;
    }
    roster->entries = (KsmIdentity *)(roster->head + 1);
    roster->self = ksm_identity_self();
    return roster;
}

static void roster_unmap(KsmRoster *roster)
{
    munmap(roster->head, KSM_ROSTER_BYTES);
    g_free(roster);
}

KsmRoster *ksm_roster_new(int fd, guint64 slots, GError **errp)
{
    KsmRoster *roster = roster_map(fd, slots, errp);

    if (roster != NULL) {
        roster->head->slots = slots;
        roster->head->owner = roster->self;
        pid_space(roster->head->pid_space);
        __atomic_store_n(&roster->head->magic, ROSTER_MAGIC,
                         __ATOMIC_RELEASE);
    }
    return roster;
}

static gboolean owner_has_gone(KsmIdentity owner)
{
    int pidfd = owner == 0 ? -ESRCH : ksm_identity_open(owner);

    if (pidfd >= 0) {
        close(pidfd);
    }
    return pidfd == -ESRCH;
}

/* Whether it is a roster, and of processes that can be told from here. */
static gboolean head_check(const Head *head, guint64 slots, GError **errp)
{
    guint64 space[2];

    if (__atomic_load_n(&head->magic, __ATOMIC_ACQUIRE) != ROSTER_MAGIC ||
        head->slots != slots) {
        g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_INVALID,
                    "the store's roster is of another version");
        return FALSE;
    }
    pid_space(space);
    if (space[1] == 0 || head->pid_space[0] != space[0] ||
        head->pid_space[1] != space[1]) {
        g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_INVALID,
                    "the store's roster is of another pid namespace");
        return FALSE;
    }
    return TRUE;
}

KsmRoster *ksm_roster_take(int fd, guint64 slots, GError **errp)
{
    KsmRoster *roster = roster_map(fd, slots, errp);
    KsmIdentity owner;

    if (roster == NULL) {
        return NULL;
    }
    if (!head_check(roster->head, slots, errp)) {
        roster_unmap(roster);
        return NULL;
    }
    owner = __atomic_load_n(&roster->head->owner, __ATOMIC_ACQUIRE);
    if (!owner_has_gone(owner) ||
        !__atomic_compare_exchange_n(&roster->head->owner, &owner,
                                     roster->self, FALSE, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_INVALID,
                    "another broker still has the store");
        roster_unmap(roster);
        return NULL;
    }
    return roster;
}

void ksm_roster_free(KsmRoster *roster)
{
    __atomic_store_n(&roster->head->owner, 0, __ATOMIC_RELEASE);
    roster_unmap(roster);
}

guint32 ksm_roster_enter(KsmRoster *roster, KsmIdentity identity)
{
    guint32 at = roster->free;

    while (at < ENTRIES && at < roster->head->high &&
           roster->entries[at] != 0) {
        at++;
    }
    if (at >= ENTRIES) {
        return KSM_ROSTER_NONE;
    }
    roster->free = at + 1;
    if (at >= roster->head->high) {
        __atomic_store_n(&roster->head->high, at + 1, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&roster->entries[at], identity, __ATOMIC_RELEASE);
    return at;
}

void ksm_roster_clear(KsmRoster *roster, guint32 at)
{
    __atomic_store_n(&roster->entries[at], 0, __ATOMIC_RELEASE);
    roster->free = MIN(roster->free, at);
}

KsmIdentity ksm_roster_next(const KsmRoster *roster, guint32 *at)
{
    guint64 end = MIN(roster->head->high, ENTRIES);

    while (*at < end && roster->entries[*at] == 0) {
        (*at)++;
    }
    return *at < end ? roster->entries[*at] : 0;
}
