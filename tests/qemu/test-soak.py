# SPDX-License-Identifier: GPL-2.0-or-later
"""test-soak.py: Debian guests at work while brokers come and go.

Three guests read, write, run programs and verify all of it (guest-load in
guest-images/debian), report free pages and have a balloon that goes up and
down, with merging at full speed, and the broker killed every 20 seconds.
Nothing may be wrong in the guests, and nothing may be left over: the numbers of
descriptors, mappings, pages and slots stay the same.  At last one of the guests
is migrated to another QEMU, with free page hints: free pages are not sent.
"""

import os
import re
import sys
import time

from migration import set_up, wait_status
from tap import check, run, say, seconds, wait_until
from world import World, debian_image, memory

ACCEL = sys.argv[1]
CPUS = (2, 1, 1)                # of each guest
MEM_MIB = 384
TURN_SECONDS = 20               # from one death of the broker to the next
LONGEST_SECONDS = 1800
BOOT_SECONDS = 600
BALLOON = ('-object', 'iothread,id=hints', '-device',
           'virtio-balloon-pci,free-page-reporting=on,free-page-hint=on,'
           'iothread=hints')
BALLOON_MIB = 64                # taken away every other turn
# TCG keeps code that it has translated: bounded, so that growth would show.
CODE_MIB = 32
SLOW_BYTES = 32 << 20           # a second: free pages are told of in time
SLACK_MIB = 24
HINTED_PAGES = 1024             # at least: Linux tells of blocks of 4 MiB
WRONG = re.compile(r'LOAD MISMATCH|Oops|BUG:|segfault|general protection|'
                   r'EXT4-fs error|I/O error|Kernel panic')


class Load:
    """Follows what a guest says of its work."""

    def __init__(self, guest):
        self.guest = guest
        self.turns = 0

    def poll(self):
        """Reads on; whatever is wrong ends the test."""
        check(self.guest.alive(), self.guest.why_ended()
              if not self.guest.alive() else '')
        for line in self.guest.new_lines():
            check(not WRONG.search(line), f'{self.guest.name}: {line}')
            match = re.search(r'LOAD turn=(\d+)', line)
            if match:
                self.turns = int(match[1])
        return self.turns


def descriptors(pid):
    """Open descriptors of a process."""
    return len(os.listdir(f'/proc/{pid}/fd'))


def other_memory_mib(guest):
    """Anonymous memory of QEMU outside of guest RAM."""
    with open(f'/proc/{guest.pid}/smaps_rollup', encoding='utf-8') as file:
        all_kb = next(int(line.split()[1]) for line in file
                      if line.startswith('Anonymous:'))
    inside = sum(mapping['Anonymous']
                 for mapping in memory.smaps(guest.pid, *guest.ram()))
    return (all_kb - inside) >> 10


def sample(world):
    """Everything that could leak, as it is now, under a working broker."""
    broker = world.broker
    stats = [guest.ksm_stats() for guest in world.guests]
    return {
        'qemu descriptors': max(descriptors(guest.pid)
                                for guest in world.guests),
        'broker descriptors': descriptors(broker.process.pid),
        'qemu memory MiB': max(other_memory_mib(guest)
                               for guest in world.guests),
        'broker memory MiB': broker.own_kb() >> 10,
        'mappings': max(memory.mapping_count(guest.pid)
                        for guest in world.guests),
        'store pages': broker.store_bytes() // memory.PAGE,
        'shared pages': sum(one['pages-sharing'] for one in stats),
    }


def one_turn(world, loads, length):
    """A broker's life at work; returns the sample at its end."""
    end = time.monotonic() + length
    while time.monotonic() < end:
        for load in loads:
            load.poll()
        time.sleep(0.5)
    wait_until(lambda: world.all_say('broker', 'connected'), 60,
               'all connected')
    return sample(world)


def next_broker(world, turn):
    """The broker dies; guests work on without; another one comes."""
    world.broker.kill()
    for guest in world.guests:
        taken = BALLOON_MIB if turn % 2 else 0
        guest.qmp.command('balloon', value=(MEM_MIB - taken) << 20)
    wait_until(lambda: all(guest.ksm_stats()['broker'] == 'lost'
                           for guest in world.guests), 60, 'broker lost')
    world.broker.start()


def check_flat(samples):
    """What there was in the first turns is what there is in the last."""
    early, late = samples[:2], samples[-2:]

    def most(which, name):
        return max(one[name] for one in which)

    for name, slack in (('qemu descriptors', 3), ('broker descriptors', 1),
                        ('qemu memory MiB', CODE_MIB + SLACK_MIB),
                        ('broker memory MiB', 8)):
        say(f'{name}: {most(early, name)} early, {most(late, name)} late')
        check(most(late, name) <= most(early, name) + slack, f'{name} grow')
    limit = len(CPUS) * MEM_MIB * 256
    check(most(samples, 'store pages') <= limit, 'more slots than pages')
    with open('/proc/sys/vm/max_map_count', encoding='utf-8') as file:
        check(most(samples, 'mappings') < int(file.read()),
              'all mappings are used')


def start(world, cpus, *qemu_args, disk=''):
    """A guest that works."""
    return world.add('guest-load', disk=disk, scan_interval=200,
                     qemu_args=[*BALLOON, '-smp', str(cpus), *qemu_args])


def pages_not_to_be_sent(guest):
    """Neither sent nor left, in the first look over memory; None later."""
    ram = guest.qmp.command('query-migrate')['ram']
    if ram['dirty-sync-count'] > 1:
        return None
    return (ram['total'] - ram['remaining']) // memory.PAGE - \
        ram['normal'] - ram['duplicate']


def move(world, load, disk):
    """To another QEMU, without free pages; it works and shares on there."""
    source = load.guest
    target = start(world, CPUS[0], '-incoming', 'defer', disk=disk)
    uri = 'unix:' + os.path.join(world.run_dir, 'migration')
    target.qmp.command('migrate-incoming', uri=uri)
    set_up(source, max_bandwidth=SLOW_BYTES)
    sharing = source.ksm_stats()['pages-sharing']
    source.qmp.command('migrate', uri=uri)
    wait_status(source, 'active')
    seen = []

    def hinted():
        seen.append(pages_not_to_be_sent(source))
        return seen[-1] is None or seen[-1] >= HINTED_PAGES
    wait_until(hinted, 60, 'pages are hinted, or all were looked at')
    say(f'{source.name}: {seen[-1]} pages need not be sent')
    check(seen[-1] is not None, f'at most {seen[-2:-1]} pages were hinted')
    set_up(source, max_bandwidth=1 << 40)
    wait_status(source, 'completed')
    load.poll()
    source.kill()
    world.guests.remove(source)
    there = Load(target)
    wait_until(lambda: there.poll() > load.turns + 1, 300, 'it works on')
    wait_until(lambda: target.ksm_stats()['pages-sharing'] >= sharing / 2,
               60, 'it shares again')
    say(f'{target.name}: {target.ksm_stats()["pages-sharing"]} pages shared, '
        f'{sharing} before')


def check_undone(world):
    """Unmerged, guest RAM is a few mappings, and no slot is left."""
    for guest in world.guests:
        guest.qmp.command('stop')
        guest.set_property('run', 'unmerge')
    for guest in world.guests:
        wait_until(lambda one=guest: one.ksm_stats()['pages-sharing'] == 0
                   and one.ksm_stats()['pages-broken'] == 0, 120, 'unmerged')
        left = len(list(memory.mappings(guest.pid, *guest.ram())))
        say(f'{guest.name}: {left} mappings in guest RAM at last')
        check(left <= 64, f'{left} mappings are left in guest RAM')
    wait_until(lambda: world.broker.store_bytes() == 0, 60,
               'the store is empty')


def guests_work_on_and_nothing_leaks():
    """The longer the better; at least three brokers."""
    length = min(seconds(3, 60), LONGEST_SECONDS)
    accel = f'tcg,tb-size={CODE_MIB}' if ACCEL == 'tcg' else ACCEL
    with World(accel, MEM_MIB, debian_image()) as world:
        disk = world.disk('disk.qcow2', '-F', 'raw', '-b',
                          os.path.join(world.image, 'disk.img'))
        for cpus in CPUS:
            start(world, cpus, disk='' if world.guests else disk)
        loads = [Load(guest) for guest in world.guests]
        wait_until(lambda: all(load.poll() > 0 for load in loads),
                   BOOT_SECONDS, 'all guests work')
        say(f'all at work, brokers die for {length:.0f} s')
        samples = [one_turn(world, loads, TURN_SECONDS)]
        end = time.monotonic() + length
        while time.monotonic() < end:
            next_broker(world, len(samples))
            samples.append(one_turn(world, loads, TURN_SECONDS))
            say(f'{[load.turns for load in loads]} turns, {samples[-1]}')
        before = [load.turns for load in loads]
        wait_until(lambda: all(load.poll() > turns for load, turns in
                               zip(loads, before)), 300, 'one more turn each')
        check_flat(samples)
        move(world, loads[0], disk)
        check_undone(world)


run([guests_work_on_and_nothing_leaks])
