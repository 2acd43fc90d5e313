# SPDX-License-Identifier: GPL-2.0-or-later
"""test-life.py: guests under load while something else goes wrong.

Groups, the mapping budget, and the sudden end of the broker or of a guest.
"""

import sys
import time

from tap import check, run, say, wait_until
from world import World, memory

ACCEL = sys.argv[1]
LOAD = 'share=60 zero=15 fill=5 write_pct=3 pause_ms=100 '
# A window that is open cuts a mapping in three, and parts that are not yet
# registered again stand alone: both for milliseconds.
UNSETTLED_MAPPINGS = 16
STORE_SHRINKS_SECONDS = 1.0
SHARING_RESUMES_SECONDS = 10.0


def check_alone(guest, shares_zeros):
    """It has nothing of a store, but perhaps a tile of zeros of its own."""
    stats = guest.ksm_stats()
    if shares_zeros:
        check(stats['pages-shared'] == 64,
              f'{guest.name} has {stats["pages-shared"]} slots')
        return
    for name in ('pages-sharing', 'merges', 'deferred-results', 'publishes',
                 'pages-shared', 'group-pages-sharing'):
        check(stats[name] == 0, f'{guest.name} has {name} {stats[name]}')
    check(memory.STORE not in guest.page_kinds(),
          f'{guest.name} has a page of a store mapped')


def another_group_shares_nothing():
    """The same content, but a name of its own: nothing at any level."""
    # No page is twice in one guest, so what is shared is shared with others.
    load = 'share=60 zero=20 fill=0 write_pct=1 pause_ms=100'
    with World(ACCEL) as world:
        friends = [world.add(load), world.add(load)]
        stranger = world.add(load, group='other')
        world.wait_filled()
        wait_until(lambda: all(guest.ksm_stats()['pages-sharing'] > 5000
                               for guest in friends), 60,
                   'two guests of a group share')
        # It did look: it gave zero pages back, or shared them with itself where
        # the kernel has no zero page, and listed the others.
        zeros = 'zero-pages' if memory.has_zero_page() else 'pages-sharing'
        wait_until(lambda: stranger.ksm_stats()[zeros] > 1000 and
                   stranger.ksm_stats()['pages-unshared'] > 5000, 60,
                   'the stranger has scanned its memory')
        for guest in friends:
            world.wait_pass(guest)
        check_alone(stranger, zeros == 'pages-sharing')
        world.check_intact()


def ram_mappings(guest):
    """Mappings in guest RAM, by the kernel's count."""
    return len(list(memory.mappings(guest.pid, *guest.ram())))


def a_budget_of_100_mappings_is_kept():
    """It costs savings and nothing else, and is counted."""
    with World(ACCEL) as world:
        for _ in range(2):
            world.add(LOAD, max_mappings=100)
        world.wait_filled()
        wait_until(lambda: world.total('refused-budget') > 0 and
                   world.total('merges') > 100, 60, 'the budget is reached')
        for guest in world.guests:
            for _ in range(3):
                world.wait_pass(guest)
                inside = ram_mappings(guest)
                told = guest.ksm_stats()['mappings']
                check(told <= 100, f'{told} told')
                check(inside <= 100 + UNSETTLED_MAPPINGS,
                      f'{inside} mappings in guest RAM')
            guest.set_property('run', 'pause')
            wait_until(lambda one=guest: ram_mappings(one) <= 100, 10,
                       'at rest 100 mappings suffice')
            inside = ram_mappings(guest)
            stats = guest.ksm_stats()
            say(f'{guest.name}: {inside} mappings, '
                f'{stats["pages-sharing"]} pages shared, '
                f'{stats["refused-budget"]} refused')
        world.check_intact()


def guests_live_on_without_the_broker():
    """SIGKILL under load: pages stay, sharing resumes with the next."""
    load = LOAD + 'write_pct=1'         # the last one counts
    with World(ACCEL) as world:
        for _ in range(2):
            world.add(load)
        world.wait_filled()
        wait_until(lambda: world.total('merges') > 1000, 60, 'merging')
        for _ in range(2):
            world.broker.kill()
            for guest in world.guests:
                world.wait_pass(guest)
            world.check_intact()
            for guest in world.guests:
                check(guest.ksm_stats()['broker'] == 'lost',
                      'does not say that the broker is lost')
            world.broker.start()
            took = wait_until(lambda: world.all_say('broker', 'connected'),
                              SHARING_RESUMES_SECONDS, 'connected again')
            # New content for all, so that there is something to share.
            for guest in (world.add(load), world.add(load)):
                world.wait_filled()
                took += wait_until(
                    lambda one=guest: one.ksm_stats()['merges'] > 100,
                    SHARING_RESUMES_SECONDS - took, 'sharing resumes')
            say(f'sharing resumed {took:.1f} s after the broker came back')
        for guest in world.guests:
            world.wait_pass(guest)
        world.check_intact()


def sharing_resumes_for_the_guests_that_were_there():
    """The broker lost before all is shared: the rest is shared after it."""
    with World(ACCEL) as world:
        for _ in range(2):
            world.add(LOAD, run='pause')
        world.wait_filled()
        world.broker.kill()
        for guest in world.guests:
            guest.set_property('run', 'run')
        wait_until(lambda: all(guest.ksm_stats()['broker'] == 'lost'
                               for guest in world.guests), 10,
                   'the broker is lost')
        for guest in world.guests:
            world.wait_pass(guest)
        check(world.total('merges') == 0, 'merged without a broker')
        world.broker.start()
        took = wait_until(lambda: world.total('merges') > 1000,
                          SHARING_RESUMES_SECONDS, 'sharing resumes')
        say(f'a thousand merges {took:.1f} s after the broker came back')
        for guest in world.guests:
            world.wait_pass(guest)
        world.check_intact()


def wait_settled(witness):
    """Waits until the group's references hardly grow any more."""
    seen = [0]

    def settled():
        last = seen[0]
        seen[0] = witness.ksm_stats()['group-pages-sharing']
        time.sleep(0.5)         # the distance between two samples
        return 0 < seen[0] < last * 1.01
    wait_until(settled, 60, 'the group settles')


def a_killed_guest_leaves_nothing():
    """SIGKILL of guests: their references and slots go within a second."""
    with World(ACCEL) as world:
        pairs = []
        for shared_seed in (7, 7, 9, 9):
            pairs.append(world.add(LOAD + f'shared_seed={shared_seed}'))
        world.wait_filled()
        wait_until(lambda: min(world.sharing()) > 5000, 60,
                   'all guests share')
        witness = pairs[3]
        wait_settled(witness)
        refs = witness.ksm_stats()['group-pages-sharing']
        own = pairs[0].ksm_stats()['pages-sharing']
        pairs[0].kill()
        took = wait_until(
            lambda: witness.ksm_stats()['group-pages-sharing'] <
            refs - own // 2, STORE_SHRINKS_SECONDS, 'references are gone')
        say(f'references gone {took:.2f} s after the first was killed')

        store = world.broker.store_bytes() // memory.PAGE
        alone = pairs[1].ksm_stats()['pages-sharing']
        pairs[1].kill()
        took = wait_until(
            lambda: world.broker.store_bytes() // memory.PAGE <
            store - alone // 2, STORE_SHRINKS_SECONDS, 'the store shrinks')
        left = world.broker.store_bytes() // memory.PAGE
        say(f'store: {store} pages, {left} pages {took:.2f} s after the '
            'second was killed')
        rest = pairs[2:]
        for guest in rest:
            world.watches = {guest.name: world.watches[guest.name]
                             for guest in rest}
            world.wait_pass(guest)
        world.check_intact(rest)
        for guest in rest:
            guest.kill()
        wait_until(lambda: world.broker.store_bytes() == 0,
                   STORE_SHRINKS_SECONDS, 'the store is empty')


def guests_killed_and_born_all_the_time():
    """A guest that stays never sees a wrong byte of those that go."""
    with World(ACCEL, 32) as world:
        staying = world.add(LOAD)
        world.wait_filled()
        for _ in range(4):
            going = world.add(LOAD)
            world.wait_filled()
            watch = world.watches[going.name]
            wait_until(lambda guest=going:
                       guest.ksm_stats()['merges'] > 300, 60, 'merging')
            watch.poll()
            check(not watch.mismatches, f'{watch.faults}')
            going.kill()
            del world.watches[going.name]
            world.guests.remove(going)
            world.wait_pass(staying)
        world.check_intact()


run([another_group_shares_nothing, a_budget_of_100_mappings_is_kept,
     guests_live_on_without_the_broker,
     sharing_resumes_for_the_guests_that_were_there,
     a_killed_guest_leaves_nothing, guests_killed_and_born_all_the_time])
