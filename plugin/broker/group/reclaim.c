/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reclaim.c: a store that outlived its broker becomes this one's.
 *
 * Its pages are there as long as a client maps them or has the descriptor;
 * what has gone with the broker is who refers to which slot, and under which
 * fingerprint it can be found.  The fingerprints are computed anew, from what
 * lies in the slots.  The references are told by the clients (RECLAIM).
 *
 * Invariant 4 (a slot is freed only when no process maps it) is at stake, as
 * a client may tell late, or not at all.  So:
 *  - Everybody who was ever sent a descriptor of the store, and could still
 *    map it, stands in its roster (roster.c).  Those whose processes live, and
 *    whose open file is still there, are the claimants.  A pidfd tells when one's
 *    process has gone.  An engine may also have gone alone, while there was no
 *    broker to tell: so the marks of claimants are looked at, again and again.
 *  - Each content found has one reference of its own, the claimants'.  A page that
 *    a client holds adds one, as ever.
 *  - The claimants' references are given back when none is left who has not told
 *    everything: each claimant came back as a session and finished, or died.
 *    Nobody can become a claimant later: who is not in the roster maps nothing.
 *  - Who comes back as which claimant: by the engine's number.  An older client has
 *    none; it is known by the mark of the descriptor that it hands in.  Where a
 *    roster has neither (its first layout), any claimant of that process may be
 *    meant: then as many must come as there are, and who comes and holds
 *    nothing counts for none of them, as it may be somebody who never was
 *    one.  It costs no more than that the store waits for the end of that
 *    process.
 * Until then slots that nobody wants stay; nothing ends that wait early.  If
 * this broker ends as well, the roster still has all names: a session takes
 * the place of its claimant, and is struck out when it can map nothing any more.
 *
 * All of it goes on beside the requests of clients, in bounded turns: who says
 * HELLO, looks up or holds meanwhile is answered at once.  (1.3 us to file a
 * slot is 22 s for 64 GiB, and a client waits for 5 s.)  In this order:
 *  1. Every slot that has memory is found (SEEK_DATA), and taken with the
 *     claimants' reference, its content unknown.  The cursor stands behind those
 *     that were looked at, and new contents get slots before it only: so no
 *     slot that a claimant maps is ever taken for a free one.  A RECLAIM of a slot
 *     behind the cursor looks for itself, and takes it then.
 *  2. The contents are read and filed.  None of these slots can be freed
 *     before, as each has the claimants' reference, which is only given back
 *     after; so a RELEASE meanwhile changes a count, and a RECLAIM or a RELEASE
 *     needs not know the content.
 * What is not filed yet is not found: a LOOKUP lists the page, and a content
 * may be published a second time.  Then both stay as long as pages refer to
 * them, and new pages find the one that was in the tree first; that costs what
 * was published in that time, within the limits of the store, and no content
 * is wrong.  In the end the pages that were listed meanwhile hear of the
 * contents filed (group->resend), as nobody published those.
 *
 * What a client can do wrong by RECLAIM: refer to slots it does not map.  They
 * stay as long as it does, as any slot that it has looked up.
 *
 * A hole that a client has read has memory, too, but was never given.  When the
 * filing finds zeros, and the roster says that no zeros were ever published in
 * this store, the claimants' reference is given back at once.  Where some were, what
 * a claimant maps cannot be told from such a hole: then zeros are kept like any
 * content, until all have told what they hold.
 *
 * A tile is several slots with one content in a row, and found again as such:
 * references that its copies got before are added up.
 *
 * One thread, as all of the group.
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

#define FIND_STEP_SLOTS 2048u   /* some 0.6 ms */
#define MARKS_SECONDS 1u
#define MARKS_AT_ONCE 64u       /* claimants: each looks at all locks of the file */
#define FILE_STEP_SLOTS 512u    /* some 0.7 ms */
#define FILE_STEP_SCAN (1u << 20)       /* bits looked at for that */
#define DROP_STEP_SLOTS 32768u
#define DROP_STEP_UNREFS 2048u

typedef enum Phase {
    PHASE_FINDING,
    PHASE_FILING,
    PHASE_WAITING,
    PHASE_DROPPING,
} Phase;

/* An engine that may map the store, and has not been heard of. */
typedef struct Claimant {
    KsmReclaim *reclaim;
    KsmRosterEntry who;
    gboolean taken;             /* by a member: member->claimant_at */
    guint32 at;                 /* in the roster */
    int pidfd;
    KsmFdWatch watch;
} Claimant;

struct KsmReclaim {
    KsmGroup *group;
    Phase phase;
    guint8 *inherited;          /* a bit for each slot with claimants' references */
    guint32 cursor;             /* next slot to find, to file, or to drop */
    guint32 found;
    GPtrArray *claimants;
    guint pending;              /* claimants, and members that are holding */
    guint marks_timer;
    guint marks_next;           /* claimant to look at */
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

/* It maps nothing of the store any more. */
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
 * Looks for claimants whose open file has gone.  None can be given it anew: what
 * has no descriptor and no mapping has nothing to get one from.
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
        .reclaim = self, .who = *who, .at = at, .pidfd = pidfd,
    };
    g_ptr_array_add(self->claimants, claimant);
    return ksm_fd_watch_set(&claimant->watch, pidfd, G_IO_IN, claimant_on_end, claimant);
}

/* Everybody in the roster who lives; FALSE with errno when one cannot be
 * watched. */
static gboolean find_claimants(KsmReclaim *self, KsmRoster *roster)
{
    KsmRosterEntry entry;
    guint32 at = 0;

    while (ksm_roster_next(roster, &at, &entry)) {
        int pidfd = ksm_roster_is_gone(roster, at)
            ? -ESRCH : ksm_identity_open(entry.process);

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

/* Whether nothing tells it from other engines of its process. */
static gboolean is_vague(const Claimant *claimant)
{
    return ksm_engine_id_is_none(&claimant->who.engine) && !claimant->who.marked;
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
    return !claimant->who.marked || ksm_roster_is_marked(roster, claimant->at, fd);
}

/* Who that is, of the claimants to @store. */
static Claimant *find_claimant(const KsmReclaim *self, const KsmStore *store,
                       const KsmRosterEntry *who, int fd)
{
    Claimant *vague = NULL;
    guint i;

    for (i = 0; i < self->claimants->len; i++) {
        Claimant *claimant = g_ptr_array_index(self->claimants, i);

        if (is_claimant(claimant, ksm_store_roster(store), who, fd)) {
            if (!is_vague(claimant)) {
                return claimant;
            }
            vague = claimant;
        }
    }
    return vague;
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

/* The group's members have nothing in its own store, and forget it. */
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
                    "those who map the store cannot be watched: %s",
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
                    "the group has another store in use already");
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
    self->marks_timer = g_timeout_add_seconds(MARKS_SECONDS,
                                              reclaim_on_marks, self);
    ksm_group_wake(group);
    return TRUE;
}

gboolean ksm_reclaim_is_filing(const KsmGroup *group)
{
    return group->reclaim != NULL &&
        (group->reclaim->phase == PHASE_FINDING ||
         group->reclaim->phase == PHASE_FILING);
}

gboolean ksm_reclaim_claim(KsmMember *member, const KsmRosterEntry *who,
                            int fd)
{
    KsmReclaim *self = member->group->reclaim;
    Claimant *claimant = self != NULL
        ? find_claimant(self, member->group->store, who, fd) : NULL;

    if (claimant == NULL) {
        return FALSE;
    }
    member->reclaiming = TRUE;
    if (is_vague(claimant)) {
        claimant->taken = TRUE;     /* until it is seen what it holds */
        member->claimant_at = claimant->at;
        self->pending++;
        return TRUE;
    }
    member->roster_at = claimant->at;       /* pending as the claimant was */
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

/* Whether a claimant may map it; if it has not been looked at yet, now. */
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

/* One page; a page that is held already may be told again. */
static gboolean hold_page(KsmMember *member, guint32 page, guint32 slot,
                          GError **errp)
{
    KsmGroup *group = member->group;
    guint32 word;
    KsmSlot *head;

    if (!ksm_page_table_touch(&member->table, page)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "no memory for what page %u holds", page);
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
    if (ksm_page_link(word) == KSM_PAGE_LINK_BOUND || head->refs == G_MAXUINT32) {
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

/* It said that it is a claimant of whom nothing but the process is known. */
static void vague_claimant_done(KsmReclaim *self, KsmMember *member)
{
    Claimant *claimant = find_taken(self, member->claimant_at);

    member->claimant_at = KSM_ROSTER_NONE;
    if (claimant != NULL && member->bound > 0) {
        claimant_has_gone(claimant);    /* the member has an entry of its own */
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

/* The order of the tile that begins with that page, of @most slots. */
static guint8 tile_order(const KsmStore *store, guint32 head, guint32 most)
{
    const guint8 *page = ksm_store_page(store, head);
    gboolean failed;
    guint8 order = 0;
    guint32 equal = 1;

    while (order < KSM_MAX_TILE_ORDER && 2u << order <= most) {
        while (equal < 2u << order &&
               ksm_read_equal(page + (gsize)equal * KSM_STORE_PAGE_BYTES,
                              page, 1, &failed)) {
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
 * Makes it findable, unless something as good already is.  At a limit of the
 * host's it stays unknown: shared by those who have it, but not with others.
 */
static void file_in_tree(KsmGroup *group, const KsmFingerprint *fingerprint,
                         const KsmStableEntry *entry)
{
    KsmStableEntry known;

    if ((!ksm_stable_find(group->stable, fingerprint->hi, &known) ||
         known.order < entry->order) && ksm_fp_tree_has_room(group->stable)) {
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
        if (!is_inherited(self, slot)) {        /* by a RECLAIM */
            inherit(self, slot);
        }
        found++;
    }
    ksm_store_open_to(store, self->cursor);
    return found == FIND_STEP_SLOTS;
}

/* Slots from the cursor on that may be a tile: none of them is filed. */
static guint32 inherited_in_a_row(const KsmReclaim *self)
{
    guint32 end = MIN(ksm_store_slots(self->group->store) - self->cursor,
                      1u << KSM_MAX_TILE_ORDER), count = 1;

    while (count < end && is_inherited(self, self->cursor + count)) {
        count++;
    }
    return count;
}

/* References to all of these slots, of which the claimants' become one. */
static guint64 sum_of_refs(const KsmGroup *group, guint32 first, guint32 count)
{
    guint64 refs = 1;
    guint32 i;

    for (i = 0; i < count; i++) {
        refs += ksm_store_slot(group->store, first + i)->refs - 1;
    }
    return refs;
}

/* The content at the cursor; returns how many slots have it. */
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
    /* Memory that failed is held by those who map it, and found by nobody. */
    if (scan.failed) {
        return 1;
    }
    if (scan.zero && !ksm_roster_has_zeros(ksm_store_roster(group->store))) {
        self->inherited[self->cursor / 8] &=
            (guint8)~(1u << self->cursor % 8);
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
    /* Zeros in a shorter row may be a hole, and are not published: publish.c. */
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

/* Gives claimants' references back. */
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

    ksm_log(KSM_LOG_INFO, "group %s: took up %u pages of a broker that has "
            "gone; %u sessions may map them", group->label, self->found,
            self->pending);
    self->phase = self->pending == 0 ? PHASE_DROPPING : PHASE_WAITING;
    self->cursor = 0;
    group->resend = TRUE;       /* to who was listed meanwhile */
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
        ksm_log(KSM_LOG_INFO, "group %s: everybody has told; %" G_GUINT64_FORMAT
                " pages are in use", group->label,
                ksm_store_used(group->store));
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

    return self == NULL ? 0 : sizeof(*self) +
        ksm_store_slots(group->store) / 8 +
        self->claimants->len * (sizeof(gpointer) + sizeof(Claimant));
}

guint ksm_reclaim_pending(const KsmGroup *group)
{
    return group->reclaim != NULL ? group->reclaim->pending : 0;
}
