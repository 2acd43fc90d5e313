/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reclaim.c: takes over a store that outlived its broker.
 *
 * The pages of a store exist as long as a client maps them or has a descriptor
 * of the store.  Two things were lost with the old broker: which pages refer to
 * which slot, and the fingerprints by which slots are found.  The fingerprints
 * are computed again from the slots.  The clients report the references
 * (RECLAIM).
 *
 * Invariant 4 (a slot is freed only when no process maps it) is at stake,
 * because a client may report late, or never.  So:
 *  - The roster (roster.c) lists every engine that was ever sent a descriptor
 *    of the store and may still map it.  The claimants are those engines whose
 *    process is alive and whose open file still exists.  A pidfd reports when a
 *    claimant's process exits.  An engine may also have ended by itself while
 *    no broker was running, so the claimants' marks are polled.
 *  - Each inherited slot has one reference on behalf of all claimants.  Each
 *    page that a client reports adds another, as usual.
 *  - The claimants' references are dropped when no claimant is left that may
 *    still report: each came back as a session and finished, or died.  There
 *    can be no new claimant later: an engine that is not in the roster maps
 *    nothing.
 *  - A returning client is matched with its claimant by the engine's number.
 *    An older client has no number; it is known by the mark of the descriptor
 *    that it hands in.  If the roster has neither (its first layout), the
 *    client may be any claimant of its process.  Then as many clients must
 *    return as there are claimants.  A client that returns and holds nothing
 *    is not counted, because it may never have been a claimant.  The only cost
 *    is that the store waits until that process exits.
 * Until then unused slots stay allocated; nothing ends that wait early.  If
 * this broker exits as well, the roster is still complete: a session takes over
 * the entry of its claimant, and the entry is removed when the session can map
 * nothing any more.
 *
 * All of this runs beside the requests of clients, in bounded steps: a HELLO,
 * LOOKUP or RECLAIM is answered at once.  (Filing takes 1.3 us for each slot,
 * that is 22 s for 64 GiB, and a client only waits for 5 s.)  The steps are:
 *  1. Find every slot that has memory (SEEK_DATA), and take it with the
 *     claimants' reference and unknown content.  All slots before the cursor
 *     were examined, and new pages only get slots before the cursor.  So a slot
 *     that a claimant maps is never mistaken for a free one.  A RECLAIM of a
 *     slot after the cursor examines that slot itself, and takes it.
 *  2. Read the slots and add them to the stable tree ("file" them).  None of
 *     these slots can be freed earlier, because each has the claimants'
 *     reference, which is only dropped after this step.  So a RELEASE in the
 *     meantime only changes a count, and neither RECLAIM nor RELEASE needs to
 *     know the content.
 * A slot that is not filed yet cannot be found: a LOOKUP lists the page, and
 * the same content may be published again.  Then both copies stay as long as
 * pages refer to them, and new pages find the one that was in the tree first.
 * That costs the memory published in that time, within the limits of the
 * store; no page gets wrong content.  At the end, pages that were listed in
 * the meantime get results for the filed slots (group->resend), because no
 * PUBLISH sends them.
 *
 * What a client can do wrong with RECLAIM: refer to slots that it does not map.
 * They stay allocated as long as it exists, as with any slot that it looked up.
 *
 * A hole that a client has read also has memory, but was never given to a
 * client.  If filing finds zeros, and the roster says that no zeros were ever
 * published in this store, the claimants' reference is dropped at once.  If
 * zeros were published, a slot that a claimant maps cannot be distinguished
 * from such a hole.  Then zeros are kept like any other page until all
 * claimants have reported.
 *
 * A tile is several contiguous slots with the same content, and is recognised
 * as such; the references that its copies got earlier are added up.
 *
 * Single-threaded, like all of the group.
 */
#include "group/reclaim.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "group/content.h"
#include "group/member.h"
#include "group/page-table.h"
#include "group/stable-tree.h"
#include "host/log.h"
#include "host/fd-watch.h"
#include "store/roster.h"
#include "store/store.h"
#include "tree/fp-tree.h"
#include "error.h"
#include "fingerprint.h"
#include "page-scan.h"

#define FIND_STEP_SLOTS 2048u /* some 0.6 ms */
#define MARKS_SECONDS 1u
#define MARKS_AT_ONCE 64u    /* claimants; each walks all locks of a file */
#define FILE_STEP_SLOTS 512u /* some 0.7 ms */
#define FILE_STEP_SCAN (1u << 20) /* bits examined for that */
#define DROP_STEP_SLOTS 32768u
#define DROP_STEP_UNREFS 2048u

typedef enum Phase {
    PHASE_FINDING,
    PHASE_FILING,
    PHASE_WAITING,
    PHASE_DROPPING,
} Phase;

/* An engine that may map the store, and has not reported yet. */
typedef struct Claimant {
    KsmReclaim *reclaim;
    KsmRosterEntry who;
    gboolean taken; /* by a member: member->claimant_at */
    guint32 at;     /* index in the roster */
    int pidfd;
    KsmFdWatch watch;
} Claimant;

struct KsmReclaim {
    KsmGroup *group;
    Phase phase;
    guint8 *inherited; /* bitmap: slots with claimants' references */
    guint32 cursor;    /* next slot to find, to file, or to drop */
    guint32 found;
    GPtrArray *claimants;
    guint pending; /* claimants, and members that are reclaiming */
    guint marks_timer;
    guint marks_next; /* next claimant to check */
};

static void claimant_free(gpointer data)
{
    Claimant *claimant = data;

    ksm_fd_watch_clear(&claimant->watch);
    close(claimant->pidfd);
    g_free(claimant);
}

static void reclaim_free(KsmReclaim *self)
{
    if (self->marks_timer != 0) {
        g_source_remove(self->marks_timer);
    }
    g_ptr_array_unref(self->claimants);
    g_free(self->inherited);
    g_free(self);
}

static void one_less(KsmReclaim *self)
{
    g_assert(self->pending > 0);
    self->pending--;
    if (self->pending == 0 && self->phase == PHASE_WAITING) {
        self->phase = PHASE_DROPPING;
        self->cursor = 0;
        ksm_group_wake(self->group);
    }
}

/* The claimant maps nothing of the store any more. */
static void claimant_has_gone(Claimant *claimant)
{
    KsmReclaim *self = claimant->reclaim;

    ksm_roster_clear(ksm_store_roster(self->group->store), claimant->at);
    g_ptr_array_remove_fast(self->claimants, claimant);
    one_less(self);
}

static gboolean claimant_on_end(gint fd, GIOCondition condition, gpointer data)
{
    (void)fd;
    (void)condition;
    claimant_has_gone(data);
    return G_SOURCE_REMOVE;
}

/*
 * Looks for claimants whose open file no longer exists.  It cannot reappear:
 * without a descriptor or a mapping there is nothing to reopen it from.
 */
static gboolean reclaim_on_marks(gpointer data)
{
    KsmReclaim *self = data;
    guint left = MIN(self->claimants->len, MARKS_AT_ONCE);

    while (left-- > 0 && self->claimants->len > 0) {
        Claimant *claimant;

        self->marks_next %= self->claimants->len;
        claimant = g_ptr_array_index(self->claimants, self->marks_next);
        if (ksm_roster_is_gone(ksm_store_roster(self->group->store),
                               claimant->at)) {
            claimant_has_gone(claimant);
        } else {
            self->marks_next++;
        }
    }
    return G_SOURCE_CONTINUE;
}

static gboolean add_claimant(KsmReclaim *self, const KsmRosterEntry *who,
                             guint32 at, int pidfd)
{
    Claimant *claimant = g_new0(Claimant, 1);

    *claimant = (Claimant) {
        .reclaim = self,
        .who = *who,
        .at = at,
        .pidfd = pidfd,
    };
    g_ptr_array_add(self->claimants, claimant);
    return ksm_fd_watch_set(&claimant->watch, pidfd, G_IO_IN, claimant_on_end,
                            claimant);
}

/* Finds all engines in the roster whose process is alive; FALSE with errno set
 * if one of them cannot be watched. */
static gboolean find_claimants(KsmReclaim *self, KsmRoster *roster)
{
    KsmRosterEntry entry;
    guint32 at = 0;

    while (ksm_roster_next(roster, &at, &entry)) {
        int pidfd = ksm_roster_is_gone(roster, at) ?
                        -ESRCH :
                        ksm_identity_open(entry.process);

        if (pidfd == -ESRCH) {
            ksm_roster_clear(roster, at);
        } else if (pidfd < 0) {
            errno = -pidfd;
            return FALSE;
        } else if (!add_claimant(self, &entry, at, pidfd)) {
            return FALSE;
        }
        at++;
    }
    self->pending = self->claimants->len;
    return TRUE;
}

/* Whether it cannot be distinguished from other engines of its process. */
static gboolean is_vague(const Claimant *claimant)
{
    return ksm_engine_id_is_none(&claimant->who.engine) &&
           !claimant->who.marked;
}

static gboolean is_claimant(const Claimant *claimant, const KsmRoster *roster,
                            const KsmRosterEntry *who, int fd)
{
    if (claimant->who.process != who->process || claimant->taken) {
        return FALSE;
    }
    if (!ksm_engine_id_is_none(&claimant->who.engine)) {
        return ksm_engine_id_equal(&claimant->who.engine, &who->engine);
    }
    return !claimant->who.marked ||
           ksm_roster_is_marked(roster, claimant->at, fd);
}

/*
 * The claimant to @store that @who is; NULL: none.  An engine that started over
 * (session.c) is in the roster twice.  It reports what it maps by @fd, so it is
 * the entry with the mark of that; the other one waits for the other open file.
 */
static Claimant *find_claimant(const KsmReclaim *self, const KsmStore *store,
                               const KsmRosterEntry *who, int fd)
{
    Claimant *found = NULL;
    guint i;

    for (i = 0; i < self->claimants->len; i++) {
        Claimant *claimant = g_ptr_array_index(self->claimants, i);

        if (is_claimant(claimant, ksm_store_roster(store), who, fd)) {
            if (ksm_roster_is_marked(ksm_store_roster(store), claimant->at,
                                     fd)) {
                return claimant;
            }
            if (found == NULL || is_vague(found)) {
                found = claimant;
            }
        }
    }
    return found;
}

static Claimant *find_taken(const KsmReclaim *self, guint32 at)
{
    guint i;

    for (i = 0; i < self->claimants->len; i++) {
        Claimant *claimant = g_ptr_array_index(self->claimants, i);

        if (claimant->at == at) {
            return claimant;
        }
    }
    return NULL;
}

/* The group's members hold nothing in the old store, and forget it. */
static void replace_store(KsmGroup *group, KsmStore *store)
{
    guint i;

    g_assert(group->bound == 0 && ksm_fp_tree_count(group->stable) == 0);
    for (i = 0; i < group->members->len; i++) {
        KsmMember *member = g_ptr_array_index(group->members, i);

        if (member != NULL) {
            member->roster_at = KSM_ROSTER_NONE;
            member->claimant_at = KSM_ROSTER_NONE;
            member->published_slots = 0;
        }
    }
    ksm_store_free(group->store);
    group->store = store;
}

static gboolean claimants_check(gboolean found, const Claimant *comer,
                                GError **errp)
{
    if (!found) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "cannot watch the processes that map the store: %s",
                    g_strerror(errno));
        return FALSE;
    }
    if (comer == NULL) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "the store was not given to this engine of this process");
        return FALSE;
    }
    return TRUE;
}

gboolean ksm_reclaim_begin(KsmGroup *group, int fd, const KsmRosterEntry *who,
                           KsmStoreBudget *budget, GError **errp)
{
    KsmReclaim *self;
    KsmStore *store;
    gboolean found;

    if (group->reclaim != NULL || !ksm_store_is_unused(group->store)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "the group already uses another store");
        return FALSE;
    }
    store = ksm_store_take_up(fd, group->label, budget, errp);
    if (store == NULL) {
        return FALSE;
    }
    if (!ksm_store_bind(store, ksm_store_node(group->store), errp)) {
        ksm_store_free(store);
        return FALSE;
    }
    self = g_new0(KsmReclaim, 1);
    self->group = group;
    self->claimants = g_ptr_array_new_with_free_func(claimant_free);
    found = find_claimants(self, ksm_store_roster(store));
    if (!claimants_check(found, find_claimant(self, store, who, fd), errp)) {
        reclaim_free(self);
        ksm_store_free(store);
        return FALSE;
    }
    self->inherited = g_malloc0(ksm_store_slots(store) / 8);
    replace_store(group, store);
    group->reclaim = self;
    self->marks_timer = g_timeout_add_seconds(MARKS_SECONDS, reclaim_on_marks,
                                              self);
    ksm_group_wake(group);
    return TRUE;
}

gboolean ksm_reclaim_is_filing(const KsmGroup *group)
{
    return group->reclaim != NULL && (group->reclaim->phase == PHASE_FINDING ||
                                      group->reclaim->phase == PHASE_FILING);
}

gboolean ksm_reclaim_claim(KsmMember *member, const KsmRosterEntry *who, int fd)
{
    KsmReclaim *self = member->group->reclaim;
    Claimant *claimant =
        self != NULL ? find_claimant(self, member->group->store, who, fd) :
                       NULL;

    if (claimant == NULL) {
        return FALSE;
    }
    member->reclaiming = TRUE;
    if (is_vague(claimant)) {
        claimant->taken = TRUE; /* until it has reported what it holds */
        member->claimant_at = claimant->at;
        self->pending++;
        return TRUE;
    }
    member->roster_at = claimant->at; /* pending as the claimant was */
    g_ptr_array_remove_fast(self->claimants, claimant);
    return TRUE;
}

static gboolean is_inherited(const KsmReclaim *self, guint32 slot)
{
    return self->inherited[slot / 8] >> slot % 8 & 1;
}

static void inherit(KsmReclaim *self, guint32 slot)
{
    ksm_store_inherit(self->group->store, slot);
    self->found++;
    self->inherited[slot / 8] |= (guint8)(1u << slot % 8);
}

/* Whether a claimant may map @slot; examines it now if necessary. */
static gboolean may_be_held(KsmReclaim *self, guint32 slot)
{
    if (is_inherited(self, slot)) {
        return TRUE;
    }
    if (self->phase != PHASE_FINDING || slot < self->cursor ||
        ksm_store_next_data(self->group->store, slot) != slot) {
        return FALSE;
    }
    inherit(self, slot);
    return TRUE;
}

/* Reclaims one page; a page may be reported again. */
static gboolean hold_page(KsmMember *member, guint32 page, guint32 slot,
                          GError **errp)
{
    KsmGroup *group = member->group;
    guint32 word;
    KsmSlot *head;

    if (!ksm_page_table_touch(&member->table, page)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "RECLAIM of page %u: out of memory", page);
        return FALSE;
    }
    word = member->table.words[page];
    if (word == ksm_page_link_word(KSM_PAGE_LINK_BOUND, slot)) {
        return TRUE;
    }
    if (!may_be_held(group->reclaim, slot)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "RECLAIM of slot %u, which was never given", slot);
        return FALSE;
    }
    head = ksm_store_slot(group->store, ksm_store_head(group->store, slot));
    if (ksm_page_link(word) == KSM_PAGE_LINK_BOUND ||
        head->refs == G_MAXUINT32) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "RECLAIM of page %u, which is bound", page);
        return FALSE;
    }
    head->refs++;
    ksm_member_bind(member, page, slot);
    return TRUE;
}

gboolean ksm_reclaim_range(KsmMember *member, guint32 page, guint32 slot,
                           guint32 count, GError **errp)
{
    guint32 i;

    g_assert(member->reclaiming);
    if ((guint64)slot + count > ksm_store_slots(member->group->store)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "RECLAIM of %u slots from %u", count, slot);
        return FALSE;
    }
    for (i = 0; i < count; i++) {
        if (!hold_page(member, page + i, slot + i, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* A member finished that was matched with a claimant by its process alone. */
static void vague_claimant_done(KsmReclaim *self, KsmMember *member)
{
    Claimant *claimant = find_taken(self, member->claimant_at);

    member->claimant_at = KSM_ROSTER_NONE;
    if (claimant != NULL && member->bound > 0) {
        claimant_has_gone(claimant); /* the member has an entry of its own */
    } else if (claimant != NULL) {
        claimant->taken = FALSE;
    }
}

void ksm_reclaim_done(KsmMember *member)
{
    KsmReclaim *self = member->group->reclaim;

    member->reclaiming = FALSE;
    if (member->claimant_at != KSM_ROSTER_NONE) {
        vague_claimant_done(self, member);
    }
    one_less(self);
}

/* The order of the tile that begins at @head, with at most @most slots. */
static guint8 tile_order(const KsmStore *store, guint32 head, guint32 most)
{
    const guint8 *page = ksm_store_page(store, head);
    gboolean failed;
    guint8 order = 0;
    guint32 equal = 1;

    while (order < KSM_MAX_TILE_ORDER && 2u << order <= most) {
        while (equal < 2u << order &&
               ksm_read_equal(page + (gsize)equal * KSM_STORE_PAGE_BYTES, page,
                              1, &failed)) {
            equal++;
        }
        if (equal < 2u << order) {
            break;
        }
        order++;
    }
    return order;
}

/*
 * Adds the page to the stable tree, unless an entry of the same or a higher
 * order exists.  If a memory limit prevents that, the slot stays unknown: the
 * pages that refer to it keep sharing it, but no others can.
 */
static void file_in_tree(KsmGroup *group, const KsmFingerprint *fingerprint,
                         const KsmStableEntry *entry)
{
    KsmStableEntry known;

    if ((!ksm_stable_find(group->stable, fingerprint->hi, &known) ||
         known.order < entry->order) &&
        ksm_fp_tree_has_room(group->stable)) {
        ksm_fp_tree_insert(group->stable, fingerprint->hi,
                           ksm_stable_pack(entry));
    }
}

static gboolean find_step(KsmReclaim *self)
{
    KsmStore *store = self->group->store;
    guint found = 0;

    while (found < FIND_STEP_SLOTS) {
        guint32 slot = ksm_store_next_data(store, self->cursor);

        self->cursor = MIN(slot + 1, ksm_store_slots(store));
        if (slot == ksm_store_slots(store)) {
            break;
        }
        if (!is_inherited(self, slot)) { /* by a RECLAIM */
            inherit(self, slot);
        }
        found++;
    }
    ksm_store_open_to(store, self->cursor);
    return found == FIND_STEP_SLOTS;
}

/* Number of slots from the cursor on that may be a tile: none is filed yet. */
static guint32 inherited_in_a_row(const KsmReclaim *self)
{
    guint32 end = MIN(ksm_store_slots(self->group->store) - self->cursor,
                      1u << KSM_MAX_TILE_ORDER),
            count = 1;

    while (count < end && is_inherited(self, self->cursor + count)) {
        count++;
    }
    return count;
}

/* Sum of the references to these slots; the claimants' count as one. */
static guint64 sum_of_refs(const KsmGroup *group, guint32 first, guint32 count)
{
    guint64 refs = 1;
    guint32 i;

    for (i = 0; i < count; i++) {
        refs += ksm_store_slot(group->store, first + i)->refs - 1;
    }
    return refs;
}

/* Files the content at the cursor; returns how many slots have it. */
static guint32 file_content(KsmReclaim *self)
{
    KsmGroup *group = self->group;
    KsmPageScan scan = {
        .content = ksm_store_page(group->store, self->cursor),
    };
    KsmStableEntry entry = { .head = self->cursor };
    KsmSlot slot = { .owner = KSM_SLOT_OWNER_NOBODY };
    KsmFingerprint fingerprint;
    guint64 refs;

    ksm_scan_pages(&scan, 1);
    /* Failed memory stays with the processes that map it, and is not filed. */
    if (scan.failed) {
        return 1;
    }
    if (scan.zero && !ksm_roster_has_zeros(ksm_store_roster(group->store))) {
        self->inherited[self->cursor / 8] &= (guint8) ~(1u << self->cursor % 8);
        ksm_group_unref_slot(group, self->cursor);
        return 1;
    }
    fingerprint = ksm_page_scan_fingerprint(&scan);
    entry.tag = ksm_fingerprint_tag(&group->tag_key, &fingerprint);
    entry.order = tile_order(group->store, self->cursor,
                             inherited_in_a_row(self));
    refs = sum_of_refs(group, self->cursor, 1u << entry.order);
    if (refs > G_MAXUINT32) {
        entry.order = 0;
        refs = ksm_store_slot(group->store, self->cursor)->refs;
    }
    slot.key = fingerprint.hi;
    slot.order = entry.order;
    slot.refs = (guint32)refs;
    ksm_store_describe(group->store, self->cursor, &slot);
    /* Fewer zero pages may be a hole, and are never published: publish.c. */
    if (!scan.zero || entry.order == KSM_MAX_TILE_ORDER) {
        file_in_tree(group, &fingerprint, &entry);
    }
    return 1u << entry.order;
}

static gboolean file_step(KsmReclaim *self)
{
    guint32 slots = ksm_store_slots(self->group->store), filed = 0;
    guint32 end = MIN(slots, self->cursor + FILE_STEP_SCAN);

    while (self->cursor < end && filed < FILE_STEP_SLOTS) {
        if (self->cursor % 8 == 0 && self->inherited[self->cursor / 8] == 0) {
            self->cursor += 8;
        } else if (!is_inherited(self, self->cursor)) {
            self->cursor++;
        } else {
            guint32 copies = file_content(self);

            self->cursor += copies;
            filed += copies;
        }
    }
    return self->cursor < slots;
}

/* Drops claimants' references. */
static gboolean drop_step(KsmReclaim *self)
{
    KsmGroup *group = self->group;
    guint32 slots = ksm_store_slots(group->store);
    guint32 end = MIN(slots, self->cursor + DROP_STEP_SLOTS);
    guint32 unrefs = 0;

    for (; self->cursor < end && unrefs < DROP_STEP_UNREFS; self->cursor++) {
        guint32 slot = self->cursor;

        if (is_inherited(self, slot) &&
            ksm_store_head(group->store, slot) == slot) {
            ksm_group_unref_slot(group, slot);
            unrefs++;
        }
    }
    return self->cursor < slots;
}

static void filed(KsmReclaim *self)
{
    KsmGroup *group = self->group;

    ksm_log(KSM_LOG_INFO,
            "group %s: took over %u pages of a previous broker; "
            "%u sessions may map them",
            group->label, self->found, self->pending);
    self->phase = self->pending == 0 ? PHASE_DROPPING : PHASE_WAITING;
    self->cursor = 0;
    group->resend = TRUE; /* to pages listed in the meantime */
    ksm_group_wake(group);
}

gboolean ksm_reclaim_step(KsmGroup *group)
{
    KsmReclaim *self = group->reclaim;

    if (self == NULL) {
        return FALSE;
    }
    if (self->phase == PHASE_FINDING && !find_step(self)) {
        self->phase = PHASE_FILING;
        self->cursor = 0;
    } else if (self->phase == PHASE_FILING && !file_step(self)) {
        filed(self);
    } else if (self->phase == PHASE_DROPPING && !drop_step(self)) {
        ksm_log(KSM_LOG_INFO,
                "group %s: all sessions have reported their "
                "slots; %" G_GUINT64_FORMAT " pages are in use",
                group->label, ksm_store_used(group->store));
        ksm_reclaim_free(group);
        return FALSE;
    }
    return self->phase != PHASE_WAITING;
}

void ksm_reclaim_free(KsmGroup *group)
{
    g_clear_pointer(&group->reclaim, reclaim_free);
}

guint64 ksm_reclaim_bytes(const KsmGroup *group)
{
    const KsmReclaim *self = group->reclaim;

    return self == NULL ?
               0 :
               sizeof(*self) + ksm_store_slots(group->store) / 8 +
                   self->claimants->len * (sizeof(gpointer) + sizeof(Claimant));
}

guint ksm_reclaim_pending(const KsmGroup *group)
{
    return group->reclaim != NULL ? group->reclaim->pending : 0;
}
