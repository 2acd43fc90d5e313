/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exchange.pml: a page, what is done to it, and devices that write to it by its
 * physical address.
 *
 * The page is some frame of memory.  The scanner puts another frame in its
 * place: by sharing it in a window (the page is absent meanwhile), or by giving a
 * copy back (the page is write-protected meanwhile).  A device takes the frame
 * that it finds, by a fault that waits while the page is absent or protected,
 * and writes to it later, whatever the page is by then.  What must hold: a
 * device writes to the frame that the guest reads.  (writers.c)
 *
 * One device pins for long (VFIO): it sets a flag before, and the kernel's move
 * sees the pin.  One takes a reference for a transfer that no move sees (O_DIRECT
 * on some file systems): it is recorded as in flight before.
 *
 * MUTANT: 1 give back asks before it protects, 2 give back does not ask for the
 * flag, 3 the flag is set after the pin, 4 a transfer is recorded after it has
 * taken the frame, 5 a window asks before it takes the page, 6 the move does not
 * check for pins, 7 give back does not ask for transfers.
 */
#ifndef MUTANT
#define MUTANT 0
#endif
#define FRAMES 4
#define NONE 255
#define ROUNDS 3

bool absent = false;            /* in a window */
bool protect = false;           /* while a copy is made */
bool shared = false;            /* it is a slot of the store's: frame 0 */
byte page = 1;                  /* the frame that the guest sees */
bool used[FRAMES];
bool flag = false;
byte pinned = NONE;             /* by the device that stays */
byte held = 0;
byte taken = NONE;              /* by the transfer */

/* A frame that nobody uses becomes the page's. */
inline new_frame()
{
    d_step {
        used[0] = true;
        used[1] = page == 1 || pinned == 1 || taken == 1;
        used[2] = page == 2 || pinned == 2 || taken == 2;
        used[3] = page == 3 || pinned == 3 || taken == 3;
        if
        :: !used[1] -> page = 1
        :: else ->
            if
            :: !used[2] -> page = 2
            :: else -> page = 3
            fi
        fi
    }
}

/* A fault for writing: it waits, and gives a shared page a copy first. */
inline write_fault()
{
    !absent && !protect;
    if
    :: shared -> new_frame(); shared = false
    :: else
    fi
}

/* Into the store, in a window. */
inline share()
{
    asked = held > 0;
    atomic {
        if
        :: MUTANT == 6 || page != pinned -> absent = true
        :: else
        fi
    }
    if
    :: absent ->
        if
        :: MUTANT != 5 -> asked = held > 0
        :: else
        fi;
        atomic {
            if
            :: !asked -> page = 0; shared = true
            :: else
            fi;
            absent = false
        }
    :: else
    fi
}

/* A copy in the place of what was written while it was shared. */
inline give_back()
{
    asked = (flag && MUTANT != 2) || (held > 0 && MUTANT != 7);
    protect = true;
    if
    :: MUTANT != 1 ->
        asked = (flag && MUTANT != 2) || (held > 0 && MUTANT != 7)
    :: else
    fi;
    atomic {
        if
        :: !asked -> new_frame()
        :: else
        fi;
        protect = false
    }
}

active proctype scanner()
{
    byte rounds = 0;
    bool asked = false;

    do
    :: rounds < ROUNDS ->
        rounds++;
        if
        :: !shared -> share()
        :: !shared -> give_back()
        :: shared
        fi
    :: else -> break
    od
}

active proctype guest()
{
    byte writes = 0;

    do
    :: writes < 2 -> atomic { write_fault(); writes++ }
    :: else -> break
    od
}

active proctype device()
{
    if
    :: MUTANT != 3 -> flag = true
    :: else
    fi;
    atomic { write_fault(); pinned = page };
    flag = true;
    /* It writes, and again later. */
    assert(pinned == page);
    assert(pinned == page);
    atomic { pinned = NONE; flag = false }
}

active proctype transfer()
{
    if
    :: MUTANT != 4 -> held++
    :: else
    fi;
    atomic { write_fault(); taken = page };
    if
    :: MUTANT == 4 -> held++
    :: else
    fi;
    assert(taken == page);
    atomic { taken = NONE; held-- }
}
