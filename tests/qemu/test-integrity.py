# SPDX-License-Identifier: GPL-2.0-or-later
"""test-integrity.py: guests that verify themselves, merged under load.

The oracle is inside the guest: it knows from seeds what every page holds
and reads all of its memory in every pass.  About 5 % of the pages are
overwritten in a pass, half of them back to content that others hold too, so
pages are merged and broken all the time.
"""

import sys
import time


from tap import Skip, check, run, say, seconds, wait_until
from world import World, memory

LOAD = 'share=55 zero=15 fill=10 write_pct=5 pause_ms=150 '
ACCEL = sys.argv[1]
GUESTS = {'kvm': 3, 'tcg': 2}[ACCEL]
LIFE_SECONDS = 10
COUNTER_BREAKS = 200
KEEP_HUGE = 64
# One write of eight makes a page zero, and six change that again: of a hot
# guest's blocks a seventh are zeros in the end, 73 pages of 512.  So it keeps
# its huge pages for more than that, however long it wrote before merging.
KEEP_HOT = 128
HUGE_KB = 2048
MEM_MIB = {'kvm': 96, 'tcg': 48}[ACCEL]


def huge_kb(guest):
    """Memory of guest RAM in huge pages."""
    return sum(mapping['AnonHugePages']
               for mapping in memory.smaps(guest.pid, *guest.ram()))


def the_guest_tells_a_changed_word():
    """Without this the other tests would prove nothing."""
    with World(ACCEL, 32) as world:
        guest = world.add('passes=2 pause_ms=0 corrupt=1', run='pause')
        world.wait_filled()
        guest.wait_line('TINY MISMATCH page=.* word=7 ', 60)
        guest.wait_line('TINY done fail', 60)


def one_life(length):
    """Boots guests, merges under load for so long, verifies, ends them."""
    with World(ACCEL, MEM_MIB) as world:
        for index in range(GUESTS):
            # Different places of one common content.
            world.add(LOAD + f'shift={index * 37}', run='pause')
        world.wait_filled()
        for guest in world.guests:
            say(f'{guest.name}: {huge_kb(guest) >> 10} of {MEM_MIB} MiB in '
                'huge pages before merging')
            guest.set_property('run', 'run')
        deltas = world.run_for(length)
        for guest in world.guests:
            world.wait_pass(guest)
        world.check_intact()
        return deltas


def no_byte_is_wrong_under_load():
    """Merges and breaks by the thousand, from huge pages on.

    In several lives: a page that was shared and then written is not shared
    again by the same engine, so that a guest that writes everywhere has
    little left to merge after a while.
    """
    left = seconds(0.3, 5)
    began = time.monotonic()
    sums = {}
    while left > 0:
        length = min(left, LIFE_SECONDS)
        left -= length
        for name, value in one_life(length).items():
            sums[name] = sums.get(name, 0) + value
    say(f'in all, in {time.monotonic() - began:.0f} s with boots: {sums}')
    check(sums['merges'] >= 1000, f'only {sums}')
    check(sums['breaks'] >= 1000, f'only {sums}')
    check((sums['zero-merges'] > 0) == memory.has_zero_page(),
          f'{sums["zero-merges"]} zero pages given back')


def several_cpus_write_at_once():
    """Each verifies what another wrote; all add to the same counter pages.

    The second guest has nothing but counters that can be shared, so what it
    merges and breaks is written by three vCPUs at the same moment.
    """
    with World(ACCEL, 32) as world:
        loads = {2: LOAD.replace('pause_ms=150', 'pause_ms=0'),
                 3: 'share=0 zero=0 fill=0 write_pct=0 mem_mib=4 pause_ms=0 '}
        for cpus, load in loads.items():
            guest = world.add(f'{load} cpus={cpus}',
                              qemu_args=['-smp', str(cpus)])
            guest.wait_line(f'TINY start .* cpus={cpus}$', 120)
        world.wait_filled()
        counters = world.guests[1]
        start = counters.ksm_stats()
        wait_until(lambda: counters.ksm_stats()['breaks'] >=
                   start['breaks'] + COUNTER_BREAKS, 120,
                   'the counters are shared and broken')
        world.run_for(seconds(0.2, 3))
        for guest in world.guests:
            world.wait_pass(guest)
        world.check_intact()
        say(f'of counters: {counters.ksm_stats()["merges"]} merges, '
            f'{counters.ksm_stats()["breaks"]} breaks')


def hot_memory_stays_huge():
    """With keep-huge: what is written and has no duplicates; others merge."""
    with World(ACCEL, MEM_MIB // 2) as world:
        hot = world.add('share=0 zero=0 fill=0 write_pct=30 pause_ms=0',
                        run='pause', keep_huge=KEEP_HOT)
        calm = [world.add(LOAD, keep_huge=KEEP_HUGE) for _ in range(2)]
        world.wait_filled()
        at_first = huge_kb(hot)
        if not at_first:
            raise Skip('thp', 'guest memory gets no huge pages')
        hot.set_property('run', 'run')
        wait_until(lambda: hot.ksm_stats()['collapses'] >=
                   at_first // HUGE_KB, 60, 'huge pages are made again')
        wait_until(lambda: min(guest.ksm_stats()['merges']
                               for guest in calm) > 1000, 60,
                   'a thousand merges each')
        wait_until(lambda: huge_kb(hot) > at_first * 3 // 4, 60,
                   'hot memory is huge')
        for guest in world.guests:
            world.wait_pass(guest)
        world.check_intact()
        stats = hot.ksm_stats()
        say(f'{huge_kb(hot) >> 10} of {at_first >> 10} MiB huge, '
            f'{stats["collapses"]} collapses, {stats["pages-parked"]} pages '
            'rest')


def unmerge_and_run_again():
    """All shared pages become private and stay right, in the midst of it."""
    with World(ACCEL, MEM_MIB // 2) as world:
        for _ in range(2):
            world.add(LOAD)
        world.wait_filled()
        for _ in range(2):
            wait_until(lambda: world.total('pages-sharing') > 1000, 30,
                       'a thousand shared pages')
            for guest in world.guests:
                guest.set_property('run', 'unmerge')
            wait_until(lambda: world.total('pages-sharing') == 0, 30,
                       'all pages unshared')
            merges = world.total('merges')
            for guest in world.guests:
                world.wait_pass(guest)
            check(world.total('merges') == merges, 'merged while unmerged')
            for guest in world.guests:
                guest.set_property('run', 'run')
        wait_until(lambda: world.total('merges') > merges, 30,
                   'merging again')
        world.check_intact()


run([the_guest_tells_a_changed_word, no_byte_is_wrong_under_load,
     several_cpus_write_at_once, hot_memory_stays_huge,
     unmerge_and_run_again])
