# SPDX-License-Identifier: GPL-2.0-or-later
"""test-figures.py: the statistics that QEMU reports are correct.

Savings are checked against /proc/PID/smaps and the broker's store,
which know nothing of the engine; events and traces against what was done.
"""

import os
import subprocess
import sys
import time

from tap import check, run, say, wait_until
from world import BROKER, World, memory

ACCEL = sys.argv[1]
MEM_MIB = {'kvm': 96, 'tcg': 48}[ACCEL]
# Nothing is written once memory is filled, so that figures stand still.
STILL = 'share=55 zero=15 fill=5 write_pct=0 pause_ms=200 '
BUSY = 'share=60 zero=15 fill=5 write_pct=3 pause_ms=100 '
MAX_APART = 0.01
MAPPING = 256                   # bytes of kernel memory
# The guest's own stacks and counters, written now and then.
OWN_PAGES = 8
STATE = 'KSM_STATE_CHANGED'


def private_bytes(guest):
    """Memory of guest RAM that is this process's own, for the kernel."""
    return 1024 * sum(mapping['Anonymous']
                      for mapping in memory.smaps(guest.pid, *guest.ram()))


def saved_bytes(stats):
    """What query-ksm says that this guest does not hold itself."""
    return memory.PAGE * (stats['pages-sharing'] + stats['zero-pages'])


def close(claimed, real, what):
    """Within one per cent."""
    say(f'{what}: {claimed / 2**20:.2f} MiB claimed, '
        f'{real / 2**20:.2f} MiB by the kernel')
    check(real > 0 and abs(claimed - real) <= MAX_APART * real,
          f'{what}: {claimed} claimed, {real} by the kernel')


def wait_still(guests):
    """Waits until no figure of sharing has changed for some rounds."""
    seen = [None, 0]

    def still():
        now = [(stats['pages-sharing'], stats['zero-pages'],
                max(stats['pages-volatile'], OWN_PAGES),
                max(stats['pages-excluded'], OWN_PAGES))
               for stats in (guest.ksm_stats() for guest in guests)]
        if now != seen[0]:
            seen[:] = now, time.monotonic()
        # Excluded pages rest for up to 65 rounds of 20 to 80 ms.
        return now[0][0] > 0 and time.monotonic() - seen[1] > 6
    wait_until(still, 120, 'figures stand still')


def savings_are_what_the_kernel_says():
    """Each guest's and, by general-profit, the group's: within 1 %."""
    with World(ACCEL, MEM_MIB) as world:
        for index in range(2):
            world.add(STILL + f'shift={index * 37}', run='pause')
        world.wait_filled()
        before = [private_bytes(guest) for guest in world.guests]
        for guest in world.guests:
            guest.set_property('run', 'run')
        wait_still(world.guests)
        net = elsewhere = shrunk = 0
        for guest, was in zip(world.guests, before):
            stats = guest.ksm_stats()
            shrunk += was - private_bytes(guest)
            close(saved_bytes(stats), was - private_bytes(guest), guest.name)
            net += stats['general-profit']
            elsewhere += stats['metadata-bytes'] + MAPPING * stats['mappings']
            check(stats['general-profit'] < saved_bytes(stats),
                  'the slots and the metadata cost nothing')
        close(net + elsewhere, shrunk - world.broker.store_bytes(),
              'the group, its store counted')
        world.check_intact()


def changes(guest):
    """(state, broker) of the state events so far."""
    guest.ksm_stats()           # reads what has come
    return [(event['data']['state'], event['data']['broker'])
            for event in guest.qmp.events if event['event'] == STATE]


def wait_change(guest, state, broker, limit):
    """Waits until the last state event says so; query-ksm does as well."""
    took = wait_until(lambda: changes(guest)[-1:] == [(state, broker)], limit,
                      f'{guest.name} tells of {state}, broker {broker}')
    stats = guest.ksm_stats()
    check((stats['state'], stats['broker']) == (state, broker),
          f'{guest.name}: event {state}, {broker}, but query-ksm '
          f'{stats["state"]}, {stats["broker"]}')
    return took


def events_tell_of_the_broker():
    """It is killed and comes back under load: one event for each."""
    with World(ACCEL) as world:
        for _ in range(2):
            world.add(BUSY)
        world.wait_filled()
        for guest in world.guests:
            wait_until(lambda one=guest: one.ksm_stats()['state'] == 'running',
                       30, 'running')
            changes(guest)
            guest.qmp.events.clear()
        for _ in range(2):
            world.broker.kill()
            lost = max(wait_change(guest, 'no-broker', 'lost', 10)
                       for guest in world.guests)
            world.broker.start()
            back = max(wait_change(guest, 'running', 'connected', 10)
                       for guest in world.guests)
            say(f'told {lost:.2f} s after the end, {back:.2f} s after the '
                'new start')
        for guest in world.guests:
            check(changes(guest) == [('no-broker', 'lost'),
                                     ('running', 'connected')] * 2,
                  f'{guest.name}: {changes(guest)}')
            check(guest.ksm_stats()['broker-losses'] == 2, 'losses counted')
        world.check_intact()


def events_tell_of_steering():
    """Run modes in the midst of rounds, which are long ones here."""
    with World(ACCEL) as world:
        guest = world.add(BUSY, scan_cpu_percent=1)
        world.wait_filled()
        for mode, state in (('pause', 'paused'), ('run', 'running'),
                            ('unmerge', 'unmerged'), ('run', 'running')):
            guest.set_property('run', mode)
            took = wait_change(guest, state, 'connected', 2)
            say(f'{state} {took:.2f} s after run={mode}')
        world.check_intact()


def order(world, *words):
    """Has guest-ksmctl give an order, which must be confirmed."""
    program = os.path.join(os.path.dirname(BROKER), 'guest-ksmctl')
    done = subprocess.run(
        [program, '--socket', os.path.join(world.run_dir, 'control.sock'),
         *words], check=False, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, f'guest-ksmctl {words}: {done.stdout}')


def an_operators_orders_are_seen():
    """What guest-ksmctl changes, QEMU tells by event and property."""
    with World(ACCEL) as world:
        guest = world.add(BUSY)
        world.wait_filled()
        wait_until(lambda: guest.ksm_stats()['state'] == 'running', 30,
                   'running')
        order(world, 'pause', guest.name)
        wait_change(guest, 'paused', 'connected', 5)
        check(guest.get_property('run') == 'pause', 'run is not pause')
        order(world, 'set', guest.name, 'scan-cpu-percent=7',
              'scan-interval=444')
        check(guest.get_property('scan-cpu-percent') == 7, 'not 7 per cent')
        check(guest.get_property('scan-interval') == 444, 'not 444 ms')
        stats = guest.ksm_stats()
        check(stats['scan-cpu-percent'] == 7, 'query-ksm: not 7 per cent')
        check(stats['run'] == 'pause', 'query-ksm: not pause')
        order(world, 'run', guest.name)
        wait_change(guest, 'running', 'connected', 5)
        world.check_intact()


def a_budget_used_up_is_told():
    """KSM_DEGRADED, with figures that query-ksm bears out."""
    with World(ACCEL) as world:
        guests = [world.add(BUSY, max_mappings=60) for _ in range(2)]
        world.wait_filled()

        def told(guest):
            guest.ksm_stats()
            return [event['data'] for event in guest.qmp.events
                    if event['event'] == 'KSM_DEGRADED']
        for guest in guests:
            wait_until(lambda one=guest: told(one), 60, 'KSM_DEGRADED')
            first = told(guest)[0]
            check(first['reason'] == 'mappings', str(first))
            check(first['max-mappings'] == 60, str(first))
            check(0 < first['refused-budget'] <=
                  guest.ksm_stats()['refused-budget'], str(first))
        world.check_intact()


def traces_add_up():
    """What is traced sums up to what query-ksm counts."""
    with World(ACCEL) as world:
        guests = [world.add(BUSY, trace='ksm_backend_*') for _ in range(2)]
        world.wait_filled()
        for guest in guests:
            wait_until(lambda one=guest: one.ksm_stats()['merges'] > 1000, 60,
                       'a thousand merges')
            guest.set_property('run', 'pause')
            wait_until(lambda one=guest: one.ksm_stats()['state'] == 'paused',
                       10, 'paused')
        for guest in guests:
            stats = guest.ksm_stats()
            traced = sum(int(line.split(': ')[1].split()[0])
                         for line in trace_lines(guest, 'ksm_backend_merge'))
            check(traced == stats['merges'],
                  f'{traced} merges traced, {stats["merges"]} counted')
            rounds = len(trace_lines(guest, 'ksm_backend_round'))
            check(rounds == stats['full-scans'],
                  f'{rounds} rounds traced, {stats["full-scans"]} counted')
            check(trace_lines(guest, 'ksm_backend_request'), 'no requests')
            check(trace_lines(guest, 'ksm_backend_state'), 'no states')
        world.check_intact()


def trace_lines(guest, name):
    """Lines of one trace event: 'NAME TEXT'."""
    path = os.path.join(guest.config.run_dir, guest.name + '.qemu.log')
    with open(path, encoding='utf-8', errors='replace') as log:
        return [line for line in log if line.startswith(name + ' ')]


run([savings_are_what_the_kernel_says, events_tell_of_the_broker,
     events_tell_of_steering, an_operators_orders_are_seen,
     a_budget_used_up_is_told, traces_add_up])
