/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handover.pml: two guests and a broker, any of which may exit at any step.
 *
 * The guests are two processes, or (ONE_PROCESS) two engines of one process with
 * the same name.  In that case only an engine ends; the broker is not notified,
 * but a later one sees it by the mark of the engine's open file
 * (plugin/broker/store/roster.c).
 *
 * Each guest has one page.  It writes it, has it shared (isolated, compared,
 * mapped), gives it back, loses its connection, exits.  The broker replies,
 * frees slots, exits and is started again, and takes over the store of its
 * predecessor (plugin/broker/group/reclaim.c).
 *
 * A request with its reply is one step: a broker that exits before it never got
 * it.  A reply that is lost is a connection that is closed after it.  What a
 * guest does with a reply is in further steps.
 *
 * Whatever happens in whatever order:
 *   - a slot that a guest maps is neither freed nor written;
 *   - a guest reads what it wrote last;
 *   - a mapped page of a connected guest has its reference, exactly one, unless
 *     the broker replied that the guest's store is not taken over.
 *
 * MUTANT, from 1 on, leaves a rule out: then spin must find a failure.
 */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef BROKERS
#define BROKERS 3               /* one after the other; a new store each */
#endif

#ifndef ONE_PROCESS
#define ONE_PROCESS 0
#endif

#ifndef SLOTS
#define SLOTS   2               /* 1 or 2 of them are used */
#endif
#define GUESTS  2
#define NONE    7

#define PRIVATE 0               /* states of a page */
#define ISOLATED 1              /* and found equal to its slot */
#define SHARED  2
#define BROKEN  3               /* written since; the slot lies beneath */

#define OFF     0               /* of a connection, as the guest sees it */
#define HOLDING 1               /* is to report what it maps, */
#define HELD    2               /* has done so */
#define UP      3

#define REPLY_NEW     0         /* to HELLO */
#define REPLY_RESUMED 1
#define REPLY_HANDED  2
#define REPLY_REFUSED 3

typedef Guest {
    bool dead;
    bit value;                  /* what the page must hold */
    byte page = PRIVATE;
    byte map_store = NONE;      /* beneath, if SHARED or BROKEN */
    byte map_slot = NONE;
    bool lost;                  /* and in no broker's store any more */
    byte store = NONE;          /* its descriptor */
    byte link = OFF;
    byte peer;                  /* which broker it is with */
    byte answer = NONE;         /* a slot to be merged with */
    bool unbind;                /* has a RELEASE to send */
    byte session                /* that the broker has it use: its own */
}
Guest guest[GUESTS];

/* What outlives a broker: content of the slots, 0 a hole, else value + 1; and
   the roster, a bit for each guest. */
typedef Store {
    byte data[2];
    byte roster
}
Store stores[BROKERS];

/* What does not. */
bool running = true;
byte started;                   /* which broker it is */
byte current;                   /* the group's store */
bool adopted;
bool session[GUESTS];
bool holding[GUESTS];
bool claimant[GUESTS];
byte word[GUESTS] = NONE;       /* the slot that a page is bound to */
byte refs[2];
bool inherited[2];

#define BIT(g) (1 << (g))
#define UNUSED (stores[current].data[0] == 0 && stores[current].data[1] == 0)
#define PENDING (claimant[0] || claimant[1] || holding[0] || holding[1])
#define MAPS(g, st, s) (!guest[g].dead && guest[g].map_store == (st) && \
                        guest[g].map_slot == (s))
#define MAPPED(s) (MAPS(0, current, s) || MAPS(1, current, s))
#define ALIVE (!guest[g].dead)
#define MINE guest[g].session
/* whether the end of the process is seen by that of a session's engine */
#define GONE(s) (ONE_PROCESS -> guest[0].dead && guest[1].dead : \
                                guest[s].dead)
/* whether somebody is connected to that session, as the broker knows */
#define USES(g, s) (!guest[g].dead && guest[g].session == (s) && \
                    guest[g].link != OFF && guest[g].peer == started)
#define ORPHAN(s) (session[s] && !USES(0, s) && !USES(1, s))
#define TALKS(what) (!guest[g].dead && running && \
                     guest[g].peer == started && guest[g].link == what)

inline strike_out(g)
{
    stores[current].roster = stores[current].roster & ~BIT(g)
}

inline unref(its)
{
    if
    :: word[its] != NONE -> refs[word[its]]--; word[its] = NONE
    :: else
    fi
}

/* The store that guest `by` hands in takes the place of an unused one. */
inline adopt(by)
{
    current = guest[by].store;
    adopted = true;
    for (i : 0 .. GUESTS - 1) {
        if
        :: (stores[current].roster & BIT(i)) && guest[i].dead -> strike_out(i)
        :: (stores[current].roster & BIT(i)) && !guest[i].dead ->
            claimant[i] = true
        :: else
        fi;
        if                      /* whoever has the unused one comes again */
        :: i != by && session[i] -> guest[i].link = OFF
        :: else
        fi
    };
    for (i : 0 .. 1) {
        if
        :: stores[current].data[i] != 0 -> refs[i] = 1; inherited[i] = true
        :: else
        fi
    }
}

/* Whose session it is that comes: the engine's of that number. */
inline find_session(g)
{
    MINE = g;
#if MUTANT == 7
    /* any of that name that has lost its connection */
    if
    :: ORPHAN(0) -> MINE = 0
    :: !ORPHAN(0) && ORPHAN(1) -> MINE = 1
    :: else
    fi
#endif
}

/* Whether a store that guest g hands in was given to it. */
#if MUTANT == 8
#define GIVEN(g) (stores[guest[g].store].roster != 0)
#else
#define GIVEN(g) (stores[guest[g].store].roster & BIT(g))
#endif

/* And which claimant to the store: by number again. */
inline claim(g)
{
#if MUTANT == 8
    /* any of that process */
    i = (claimant[0] -> 0 : 1);
#else
    i = g;
#endif
    reply = (claimant[i] -> REPLY_HANDED : REPLY_NEW);
    holding[MINE] = claimant[i];
    claimant[i] = false;
    i = 0
}

inline hello(g)
{
    guest[g].peer = started;
    guest[g].answer = NONE;
    find_session(g);
    if
    :: session[MINE] && holding[MINE] -> reply = REPLY_HANDED
    :: session[MINE] && !holding[MINE] -> reply = REPLY_RESUMED
    :: !session[MINE] && guest[g].store != NONE &&
       guest[g].store != current && (adopted || !UNUSED || !GIVEN(g)) ->
        reply = REPLY_REFUSED
    :: else ->
        if
        :: guest[g].store != NONE && guest[g].store != current -> adopt(g)
        :: else
        fi;
        session[MINE] = true;
        claim(g)
    fi;
    if                          /* before anybody can map it */
    :: reply != REPLY_REFUSED && MUTANT != 1 ->
        stores[current].roster = stores[current].roster | BIT(g)
    :: else
    fi
}

inline welcome(g)
{
    if
    :: reply == REPLY_REFUSED ->
        guest[g].lost = (guest[g].map_store != NONE);
        guest[g].store = NONE
    :: reply == REPLY_NEW ||
       (reply == REPLY_RESUMED && current != guest[g].store) ->
        guest[g].link = UP;
        guest[g].lost = (guest[g].map_store != NONE);
        guest[g].store = current;
        guest[g].unbind = false
    :: reply == REPLY_RESUMED && current == guest[g].store ->
        guest[g].link = UP;
        guest[g].unbind = (guest[g].map_store == NONE || guest[g].lost)
    :: reply == REPLY_HANDED ->
        assert(current == guest[g].store);
        guest[g].link = HOLDING;
        guest[g].unbind = false
    fi
}

inline hold(g)
{
    if
    :: guest[g].map_store != NONE && !guest[g].lost && word[MINE] == NONE ->
        assert(inherited[guest[g].map_slot]);
        word[MINE] = guest[g].map_slot;
        refs[word[MINE]]++
    :: else
    fi;
    guest[g].link = HELD
}

/* The slot that has the content, or a free one that gets it; or none. */
inline look_up(g)
{
    assert(word[MINE] == NONE);
    if
    :: stores[current].data[0] == guest[g].value + 1 -> s = 0
    :: stores[current].data[0] != guest[g].value + 1 &&
       stores[current].data[1] == guest[g].value + 1 -> s = 1
    :: else ->
        if
        :: stores[current].data[0] == 0 -> s = 0
        :: stores[current].data[0] != 0 && stores[current].data[1] == 0 &&
           SLOTS == 2 -> s = 1
        :: else -> s = NONE
        fi;
        if
        :: s != NONE ->
            assert(!MAPPED(s));
            stores[current].data[s] = guest[g].value + 1
        :: else
        fi
    fi;
    if
    :: s != NONE -> word[MINE] = s; refs[s]++; guest[g].answer = s
    :: else
    fi;
    s = 0
}

inline unmap(g)
{
    guest[g].page = PRIVATE;
    guest[g].map_store = NONE;
    guest[g].map_slot = NONE;
    guest[g].lost = false
}

inline disconnect(g)
{
    guest[g].link = OFF;
    guest[g].peer = 0
}

proctype run_guest(byte g)
{
    byte i, s, reply;

end:
    do
    /* it writes, whenever it is not kept from the page */
#if MUTANT == 5
    :: d_step { ALIVE ->
#else
    :: d_step { ALIVE && guest[g].page != ISOLATED ->
#endif
        guest[g].value = 1 - guest[g].value;
        if
        :: guest[g].page == SHARED -> guest[g].page = BROKEN
        :: else
        fi }

    /* connecting; by then it has done with what it was told before */
    :: d_step { ALIVE && running && guest[g].link == OFF &&
        guest[g].page != ISOLATED -> hello(g); welcome(g); i = 0; reply = 0 }
    :: d_step { TALKS(HOLDING) -> hold(g) }
    :: d_step { TALKS(HELD) ->
        holding[MINE] = false;
        guest[g].link = UP;
        /* told of over a connection that ended, and given back meanwhile */
        guest[g].unbind = (MUTANT != 6 && guest[g].map_store == NONE) }

    /* sharing: what came by an answer goes on without a broker, too */
    :: d_step { TALKS(UP) && guest[g].page == PRIVATE &&
        guest[g].answer == NONE && !guest[g].unbind -> look_up(g) }
    :: d_step { ALIVE && guest[g].answer != NONE && guest[g].page == PRIVATE ->
        if
        :: stores[guest[g].store].data[guest[g].answer] ==
           guest[g].value + 1 -> guest[g].page = ISOLATED
        :: else -> guest[g].answer = NONE; guest[g].unbind = true
        fi }
    :: d_step { ALIVE && guest[g].page == ISOLATED ->
        guest[g].page = SHARED;
        guest[g].map_store = guest[g].store;
        guest[g].map_slot = guest[g].answer;
        guest[g].answer = NONE }

    /* giving back, and then releasing */
    :: d_step { ALIVE && guest[g].page == BROKEN && guest[g].link != HOLDING &&
        guest[g].link != HELD ->
        guest[g].unbind = guest[g].unbind || !guest[g].lost;
        unmap(g) }
    :: d_step { TALKS(UP) && guest[g].unbind ->
        i = MINE;
        unref(i);
        i = 0;
        guest[g].unbind = false }
#if MUTANT == 2
    /* releases what it still maps */
    :: d_step { TALKS(UP) && guest[g].page == SHARED && !guest[g].lost ->
        i = MINE;
        unref(i);
        i = 0;
        guest[g].unbind = false }
#endif

    /* what it reads */
    :: d_step { ALIVE && guest[g].page == SHARED ->
        assert(stores[guest[g].map_store].data[guest[g].map_slot] ==
               guest[g].value + 1) }
    :: d_step { TALKS(UP) && guest[g].map_store != NONE && !guest[g].lost ->
        assert(guest[g].map_store == current &&
               word[MINE] == guest[g].map_slot) }

    /* the end of a connection, and its own */
    :: d_step { ALIVE && guest[g].link != OFF -> disconnect(g) }
    :: d_step { ALIVE ->
        guest[g].dead = true;
        disconnect(g);
        unmap(g);
        guest[g].value = 0;
        guest[g].answer = NONE;
        guest[g].unbind = false;
        guest[g].store = NONE }
    od
}

inline drop_session(g)
{
    unref(g);
    session[g] = false;
    holding[g] = false;
    strike_out(g)
}

inline crash()
{
    running = false;
    adopted = false;
    for (i : 0 .. GUESTS - 1) {
        session[i] = false;
        holding[i] = false;
        claimant[i] = false;
        word[i] = NONE
    };
    for (i : 0 .. 1) {
        refs[i] = 0;
        inherited[i] = false
    };
    i = 0
}

/* What the broker does on its own. */
proctype run_broker()
{
    byte i;

end:
    do
    :: d_step { running && started < BROKERS - 1 -> crash() }
    :: d_step { !running -> started++; current = started; running = true }
    od
}

/* The same, for one guest. */
proctype mind_guest(byte g)
{
end:
    do
    :: d_step { running && claimant[g] && guest[g].dead ->
        claimant[g] = false; strike_out(g) }
    :: d_step { running && session[g] && GONE(g) -> drop_session(g) }
    :: d_step { running && ORPHAN(g) && !GONE(g) && word[g] == NONE &&
        !holding[g] -> drop_session(g) }
#if MUTANT == 1
    /* the roster is written when there is time */
    :: d_step { TALKS(UP) && session[g] ->
        stores[current].roster = stores[current].roster | BIT(g) }
#endif
#if MUTANT == 3
    /* a lost connection counts as the end of the process */
    :: d_step { running && ORPHAN(g) ->
        drop_session(g) }
#endif
    od
}

/* For one slot. */
proctype mind_slot(byte s)
{
end:
    do
#if MUTANT == 4
    /* does not wait for those who have not told */
    :: d_step { adopted && inherited[s] ->
#else
    :: d_step { adopted && inherited[s] && !PENDING ->
#endif
        inherited[s] = false;
        refs[s]-- }
    :: d_step { running && refs[s] == 0 && stores[current].data[s] != 0 ->
        assert(!MAPPED(s));
        stores[current].data[s] = 0 }
    od
}

init
{
    atomic {
        run run_guest(0);
        run run_guest(1);
        run run_broker();
        run mind_guest(0);
        run mind_guest(1);
        run mind_slot(0);
        run mind_slot(1)
    }
}
