/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * roster.c: the engines that may map a store, recorded in the store's own file
 * behind the slots.
 *
 * A slot may only be reused when no process maps it.  A broker knows that while
 * it runs; a broker that takes over a store after another's exit must find out
 * which engines had a descriptor.  So each session is recorded here before it
 * gets one, and removed when it can map nothing any more: when its process has
 * exited, or with its last reference.  An entry becomes valid when its process
 * field is written, in one access after all other fields, and the memory
 * belongs to the kernel.  So there is no moment at which the broker's exit
 * would leave an engine out.
 *
 * Marks.  A process can outlive an engine that ended in it while no broker was
 * running.  So each open file that is given to a client has a mark: a read lock
 * of its own ("open file description lock") on the byte that represents the
 * entry, far beyond the end of the file.  The kernel drops the lock with the
 * last descriptor and the last mapping of that open file, in any process: a
 * mapping refers to the open file that it was created with.  While the lock
 * exists, a process may map the store by that open file; without it, none can.
 *   No mark is ever removed from an open file, because slots that the entry
 * stands for may be mapped by it.
 *   What a client can do: it can unlock its own mark, and then pages of its own
 * guest may be reused for others.  It can lock the bytes of other entries, and
 * then slots stay allocated as long as it exists, as with any RECLAIM.  It
 * cannot unlock the mark of another client.
 *   If the mark of an entry was never set, or its roster cannot record that
 *   (the
 * first layout), the entry never counts as gone: it waits for the process to
 * exit.
 *
 * The first layout, of brokers before engines had numbers, has the process of
 * each entry and nothing else.  A store that has it keeps it, because its size
 * is sealed.
 *
 * Zeros.  A broker that does not expect zeros in the store frees them when it
 * takes over the store (reclaim.c).  So with the first zeros the roster gets
 * another version number, which such brokers refuse, in either layout; the file
 * size determines the layout.
 *
 * A store has one owner.  If two brokers punched holes into it, a page in use
 * would be lost.  So a broker that takes over a store replaces an owner that
 * has exited by one atomic compare-and-exchange.  (A broker that hangs is
 * still the owner: it might continue at any moment.)
 *
 * Clients can read all this; only the broker's own user can write it, as with
 * the slots.
 */
#include "store/roster.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "store/store-file.h"

#define ROSTER_MAGIC 0x32726f74736f7267ull /* with the layout's version */
#define ROSTER_MAGIC_1 0x31726f74736f7267ull
#define ROSTER_MAGIC_ZEROS 0x33726f74736f7267ull /* either, with zeros */

#define MARKS_START ((off_t)1 << 61) /* beyond the end of any store's file */
#define MARKS_COUNT ((off_t)1 << 32)

#define ENTRY_MARKED 1u /* a flag */

typedef struct Head {
    guint64 magic;
    guint64 slots;
    guint64 pid_space[2]; /* the pid namespace of the identities */
    KsmIdentity owner;    /* 0: none */
    guint64 high;         /* entries from here on were never used */
    guint64 reserved[2];
} Head;

typedef struct Entry {
    KsmIdentity process; /* 0: free */
    KsmEngineId engine;
    guint64 flags;
} Entry;

#define ENTRIES ((KSM_ROSTER_BYTES - sizeof(Head)) / sizeof(Entry))
#define ENTRIES_1 ((KSM_ROSTER_BYTES_1 - sizeof(Head)) / sizeof(KsmIdentity))

struct KsmRoster {
    Head *head;
    Entry *entries; /* NULL: the first layout */
    KsmIdentity *entries_1;
    gsize bytes;
    guint64 most; /* maximum number of entries */
    int fd;       /* the store's own */
    KsmIdentity self;
    guint32 free; /* no entry below it is free */
};

G_STATIC_ASSERT(sizeof(Head) == 64);
G_STATIC_ASSERT(sizeof(Entry) == 32);
G_STATIC_ASSERT(ENTRIES >= G_MAXUINT16 && ENTRIES_1 >= G_MAXUINT16);

static void pid_space(guint64 space[2])
{
    struct stat status = { 0 };

    if (stat("/proc/self/ns/pid", &status) != 0) {
        status.st_ino = 0;
    }
    space[0] = (guint64)status.st_dev;
    space[1] = (guint64)status.st_ino;
}

static guint64 magic_of(const KsmRoster *roster)
{
    return roster->entries != NULL ? ROSTER_MAGIC : ROSTER_MAGIC_1;
}

/* Maps the roster; the file size determines the layout. */
static KsmRoster *roster_map(int fd, guint64 slots, GError **errp)
{
    KsmRoster *roster = g_new0(KsmRoster, 1);
    off_t start = (off_t)(slots * KSM_STORE_PAGE_BYTES);
    struct stat status = { 0 };

    roster->bytes = fstat(fd, &status) == 0 &&
                            status.st_size - start == KSM_ROSTER_BYTES_1 ?
                        KSM_ROSTER_BYTES_1 :
                        KSM_ROSTER_BYTES;
    roster->head = mmap(NULL, roster->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                        fd, start);
    if (roster->head == MAP_FAILED) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "mapping the store's roster: %s", g_strerror(errno));
        g_free(roster);
        return NULL;
    }
    if (roster->bytes == KSM_ROSTER_BYTES_1) {
        roster->entries_1 = (KsmIdentity *)(roster->head + 1);
        roster->most = ENTRIES_1;
    } else {
        roster->entries = (Entry *)(roster->head + 1);
        roster->most = ENTRIES;
    }
    roster->fd = fd;
    roster->self = ksm_identity_self();
    return roster;
}

static void roster_unmap(KsmRoster *roster)
{
    munmap(roster->head, roster->bytes);
    g_free(roster);
}

KsmRoster *ksm_roster_new(int fd, guint64 slots, GError **errp)
{
    KsmRoster *roster = roster_map(fd, slots, errp);

    if (roster != NULL) {
        roster->head->slots = slots;
        roster->head->owner = roster->self;
        pid_space(roster->head->pid_space);
        __atomic_store_n(&roster->head->magic, magic_of(roster),
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

/* Whether it is a roster, and its processes are of our pid namespace. */
static gboolean head_check(const KsmRoster *roster, guint64 slots,
                           GError **errp)
{
    const Head *head = roster->head;
    guint64 magic = __atomic_load_n(&head->magic, __ATOMIC_ACQUIRE);
    guint64 space[2];

    if ((magic != magic_of(roster) && magic != ROSTER_MAGIC_ZEROS) ||
        head->slots != slots) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "the store's roster is of another version");
        return FALSE;
    }
    pid_space(space);
    if (space[1] == 0 || head->pid_space[0] != space[0] ||
        head->pid_space[1] != space[1]) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
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
    if (!head_check(roster, slots, errp)) {
        roster_unmap(roster);
        return NULL;
    }
    owner = __atomic_load_n(&roster->head->owner, __ATOMIC_ACQUIRE);
    if (!owner_has_gone(owner) ||
        !__atomic_compare_exchange_n(&roster->head->owner, &owner, roster->self,
                                     FALSE, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "another broker still owns the store");
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

/* The word that makes an entry valid. */
static KsmIdentity *process_of(const KsmRoster *roster, guint64 at)
{
    return roster->entries != NULL ? &roster->entries[at].process :
                                     &roster->entries_1[at];
}

guint32 ksm_roster_add(KsmRoster *roster, KsmIdentity process,
                       const KsmEngineId *engine)
{
    guint32 at = roster->free;

    while (at < roster->most && at < roster->head->high &&
           *process_of(roster, at) != 0) {
        at++;
    }
    if (at >= roster->most) {
        return KSM_ROSTER_NONE;
    }
    roster->free = at + 1;
    if (at >= roster->head->high) {
        __atomic_store_n(&roster->head->high, at + 1, __ATOMIC_RELEASE);
    }
    if (roster->entries != NULL) {
        roster->entries[at].engine = *engine;
        roster->entries[at].flags = 0;
    }
    __atomic_store_n(process_of(roster, at), process, __ATOMIC_RELEASE);
    return at;
}

void ksm_roster_clear(KsmRoster *roster, guint32 at)
{
    __atomic_store_n(process_of(roster, at), 0, __ATOMIC_RELEASE);
    roster->free = MIN(roster->free, at);
}

gboolean ksm_roster_next(const KsmRoster *roster, guint32 *at,
                         KsmRosterEntry *entry)
{
    guint64 end = MIN(roster->head->high, roster->most);

    while (*at < end && *process_of(roster, *at) == 0) {
        (*at)++;
    }
    if (*at >= end) {
        return FALSE;
    }
    *entry = (KsmRosterEntry) { .process = *process_of(roster, *at) };
    if (roster->entries != NULL) {
        entry->engine = roster->entries[*at].engine;
        entry->marked = (roster->entries[*at].flags & ENTRY_MARKED) != 0;
    }
    return TRUE;
}

static struct flock mark_lock(short type, off_t start, off_t count)
{
    return (struct flock) {
        .l_type = type,
        .l_whence = SEEK_SET,
        .l_start = MARKS_START + start,
        .l_len = count,
    };
}

gboolean ksm_roster_mark(KsmRoster *roster, guint32 at, int fd)
{
    struct flock mark = mark_lock(F_RDLCK, at, 1);
    struct flock below = mark_lock(F_UNLCK, 0, at);
    struct flock above = mark_lock(F_UNLCK, (off_t)at + 1, MARKS_COUNT);

    if (fcntl(fd, F_OFD_SETLK, &mark) != 0) {
        return FALSE;
    }
    /*
     * In the first layout an engine gets another entry with each broker, so
     * this byte may have been another engine's before.  Marks are not used
     * there to find out which engines are gone, so none is needed.  (A lock
     * length of 0 would mean the rest of the file.)
     */
    if (roster->entries == NULL) {
        return (at == 0 || fcntl(fd, F_OFD_SETLK, &below) == 0) &&
               fcntl(fd, F_OFD_SETLK, &above) == 0;
    }
    /* Only after the lock is set: the flag says that there is a mark. */
    __atomic_or_fetch(&roster->entries[at].flags, ENTRY_MARKED,
                      __ATOMIC_RELEASE);
    return TRUE;
}

/* Whether an open file other than @fd has the mark; TRUE if unknown. */
static gboolean another_has(int fd, guint32 at)
{
    struct flock asked = mark_lock(F_WRLCK, at, 1);

    return fcntl(fd, F_OFD_GETLK, &asked) != 0 || asked.l_type != F_UNLCK;
}

gboolean ksm_roster_is_gone(const KsmRoster *roster, guint32 at)
{
    return roster->entries != NULL &&
           (roster->entries[at].flags & ENTRY_MARKED) != 0 &&
           !another_has(roster->fd, at);
}

gboolean ksm_roster_is_marked(const KsmRoster *roster, guint32 at, int fd)
{
    return another_has(roster->fd, at) && !another_has(fd, at);
}

void ksm_roster_note_zeros(KsmRoster *roster)
{
    __atomic_store_n(&roster->head->magic, ROSTER_MAGIC_ZEROS,
                     __ATOMIC_RELEASE);
}

gboolean ksm_roster_has_zeros(const KsmRoster *roster)
{
    return __atomic_load_n(&roster->head->magic, __ATOMIC_ACQUIRE) ==
           ROSTER_MAGIC_ZEROS;
}
