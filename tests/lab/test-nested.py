# SPDX-License-Identifier: GPL-2.0-or-later
"""test-nested.py: a guest that runs guests of its own.

The lab's KVM is that of an AMD machine, as TCG has its virtualization; by hand:
`scripts/lab --accel tcg,thread=single`, see meson.build.  What a
hypervisor in the guest is to KVM, pages that are written by their physical
address, is not seen in any page table: nothing is moved from then on.
"""

import subprocess

from inside import moves
from tap import check, run, say, wait_until
from world import GuestError, World

LOAD = 'share=60 zero=15 fill=5 write_pct=1 pause_ms=100'
CPU = ['-cpu', 'host']
MEM_MIB = 16
SHARED = 500
PASS = 8                        # in which it runs a guest
REASON = 'the guest runs guests of its own'
TRIES = 3
START_SECONDS = 40              # it takes one


def add(world, args=LOAD, tries=TRIES):
    """Starts a guest.

    About one of a hundred stays in the firmware for ever on this KVM, with
    plain memory as well: that one is started again.  Until the guest's own
    code runs the engine is paused, so that it can't be the reason.
    """
    guest = world.add(args, qemu_args=CPU, run='pause')
    try:
        guest.wait_line('TINY start', START_SECONDS)
    except GuestError as error:
        if tries == 1 or not guest.alive():
            raise
        say(f'{error}; started again')
        guest.kill()
        world.guests.remove(guest)
        return add(world, args, tries - 1)
    guest.set_property('run', 'run')
    return guest


def wait_sharing(guest):
    """Until it shares."""
    took = wait_until(lambda: guest.ksm_stats()['pages-sharing'] > SHARED, 90,
                      f'{guest.name} shares')
    say(f'{guest.name} shares after {took:.1f} s')


def a_guest_that_runs_a_guest_shares_no_more():
    """Others go on."""
    subprocess.run(['modprobe', 'kvm_amd'], check=True)
    with World('kvm', MEM_MIB) as world:
        other = add(world)
        guest = add(world, f'{LOAD} nested={PASS}')
        world.wait_filled()
        guest.wait_line('TINY nested runs=1', 120)
        wait_until(lambda: guest.ksm_stats().get('stand-aside') == REASON, 20,
                   f'it says: {REASON}')
        before, others = moves(guest), moves(other)
        for _ in range(2):
            world.wait_pass(guest)
        wait_until(lambda: moves(other) > others, 60, 'the other goes on')
        check(moves(guest) == before, 'pages were moved')
        check(guest.ksm_stats()['state'] == 'stood-aside', 'it went on')
        world.check_intact()


def a_guest_that_could_shares():
    """That it has the instructions is no reason."""
    subprocess.run(['modprobe', 'kvm_amd'], check=True)
    with World('kvm', MEM_MIB) as world:
        guests = [add(world) for _ in range(2)]
        world.wait_filled()
        for guest in guests:
            wait_sharing(guest)
        world.check_intact()


run([a_guest_that_could_shares, a_guest_that_runs_a_guest_shares_no_more])
