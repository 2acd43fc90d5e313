# SPDX-License-Identifier: GPL-2.0-or-later
"""test-features.py: what else QEMU does with memory, while it is shared.

The rows of docs/qemu-features.md that no other test has: dumps of the guest,
memory kept out of the host's dumps, populated memory, virtio-mem, and what is
refused or warned of.
"""

import os
import re
import struct
import subprocess
import sys

from tap import Skip, check, run, say, wait_until
from world import MIB, QEMU, World, memory

ACCEL = sys.argv[1]
MEM_MIB = 32
LOAD = 'share=60 zero=15 fill=5 write_pct=1 pause_ms=100'


def sharing_pair(world, **props):
    """Two guests that share; returns the second, which has the properties."""
    world.add(LOAD)
    guest = world.add(LOAD, **props)
    world.wait_filled()
    wait_until(lambda: guest.ksm_stats()['pages-sharing'] > 3000, 60,
               'the guests share')
    return guest


def segments(path):
    """(guest address, bytes) of each part of memory in a dump (ELF)."""
    with open(path, 'rb') as file:
        header = file.read(64)
        offset, = struct.unpack_from('<Q', header, 32)
        size, count = struct.unpack_from('<HH', header, 54)
        for index in range(count):
            file.seek(offset + index * size)
            kind, _, at, _, address, length = struct.unpack_from(
                '<IIQQQQ', file.read(size))
            if kind == 1:
                file.seek(at)
                yield address, file.read(length)


def a_dump_of_the_guest_is_whole():
    """Shared, broken and zero pages as well: what the process reads."""
    with World(ACCEL, MEM_MIB) as world:
        guest = sharing_pair(world)
        before = guest.ksm_stats()['pages-sharing']
        guest.qmp.command('stop')
        path = os.path.join(world.run_dir, 'dump')
        guest.qmp.command('dump-guest-memory', paging=False,
                          protocol=f'file:{path}')
        found = 0
        for address, content in segments(path):
            length = min(len(content), MEM_MIB * MIB - address)
            if length > 0:
                real = memory.read_memory(
                    guest.pid, guest.ram()[0] + address, length)
                # From 640 KiB to 1 MiB it is not RAM that is dumped.
                check(content[:length] == real or address < MIB,
                      f'wrong content from {address:#x} on')
                found += length
        say(f'{found >> 20} MiB compared')
        check(found >= (MEM_MIB - 1) * MIB, f'only {found} bytes dumped')
        check(guest.ksm_stats()['pages-sharing'] >= before // 2,
              'the dump has unshared pages')
        guest.qmp.command('cont')
        world.wait_pass(guest)
        world.check_intact()


def flags(guest):
    """VmFlags of each mapping in guest RAM."""
    start, end = guest.ram()
    inside = False
    with open(f'/proc/{guest.pid}/smaps', encoding='utf-8') as file:
        for line in file:
            header = re.match(r'([0-9a-f]+)-([0-9a-f]+) ', line)
            if header:
                inside = int(header[1], 16) < end and int(header[2], 16) > start
            elif inside and line.startswith('VmFlags:'):
                yield line.split()[1:]


def dump_off_holds_for_shared_pages():
    """All mappings, those of the store too, stay out of a dump of QEMU."""
    with World(ACCEL, MEM_MIB) as world:
        guest = sharing_pair(world, dump='off')
        guest.set_property('run', 'pause')
        wait_until(lambda: guest.ksm_stats()['state'] == 'paused', 10,
                   'paused')
        found = list(flags(guest))
        check(len(found) > 10, f'{len(found)} mappings: hardly shared')
        check(all('dd' in one for one in found), 'a mapping would be dumped')
        # And none is inherited by a child.
        check(all('dc' in one for one in found), 'a child would inherit one')
        world.check_intact()


def populated_memory_is_shared_as_well():
    """prealloc=on: all is there at the start, and QEMU warns."""
    with World(ACCEL, MEM_MIB) as world:
        guest = sharing_pair(world, prealloc='on')
        with open(guest.qemu_log, encoding='utf-8') as log:
            check('prealloc=on' in log.read(), 'no warning')
        world.wait_pass(guest)
        world.check_intact()


def virtio_mem_plugs_memory_of_its_own():
    """A second backend, which the device discards and populates."""
    with World(ACCEL, MEM_MIB) as world:
        guest = world.add(LOAD, qemu_args=[
            '-m', f'{MEM_MIB}M,maxmem=1G',
            '-object', f'memory-backend-ksm,id=more,size=256M,group=test,'
            f'broker={world.broker.path}',
            '-device', 'virtio-mem-pci,id=vm0,memdev=more,'
            'requested-size=128M'])
        world.add(LOAD)
        world.wait_filled()

        def states():
            return {entry['id'].split('/')[-1]: entry['state']
                    for entry in guest.qmp.command('query-ksm')}
        wait_until(lambda: states() == {'ram0': 'running', 'more': 'running'},
                   30, f'both backends run: {states()}')
        guest.qmp.command('qom-set', path='/machine/peripheral/vm0',
                          property='requested-size', value=0)
        wait_until(lambda: guest.ksm_stats()['pages-sharing'] > 3000, 60,
                   'the guests share')
        world.wait_pass(guest)
        world.check_intact()


def what_qemu_says(*arguments):
    """The messages of a QEMU that does not get far."""
    ended = subprocess.run(
        [QEMU, '-display', 'none', '-nodefaults', '-machine', 'none',
         *arguments], check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    check(ended.returncode == 1, f'status {ended.returncode}')
    return ended.stdout.decode()


def what_cannot_be_is_refused():
    """Each with the reason."""
    backend = 'memory-backend-ksm,id=m,size=4M,group=test'
    for arguments, reason in (
            (['-overcommit', 'mem-lock=on', '-object', backend],
             'locked memory must not be moved'),
            (['-object', backend + ',share=on'],
             'private copy-on-write mappings'),
            (['-object', backend + ',merge=on'], 'a second time'),
            (['-object', backend, '-object',
              'memory-backend-ksm,id=n,size=4M,group=other'],
             'must be in the same group')):
        said = what_qemu_says(*arguments)
        say(said.strip().splitlines()[-1])
        check(reason in said, f'{arguments}: {said}')


def policy_is_warned_of():
    """It does not reach shared pages, unless these are kept to the node."""
    backend = 'memory-backend-ksm,id=m,size=4M,group=test,policy=bind,'
    end = ('-device', 'no-such-device')
    said = what_qemu_says('-object', backend + 'host-nodes=0', *end)
    if 'not supported by this QEMU' in said:
        raise Skip('numa', 'QEMU was built without NUMA')
    say(said.strip().splitlines()[0])
    check('govern only memory that has not been shared' in said, said)
    said = what_qemu_says(
        '-object', backend + 'host-nodes=0,merge-across-nodes=off', *end)
    check('govern only' not in said, said)
    said = what_qemu_says('-object', 'memory-backend-ksm,id=m,size=4M,'
                          'group=test,merge-across-nodes=off', *end)
    say(said.strip().splitlines()[-1])
    check("'m' needs memory of one host node: set 'host-nodes'" in said, said)


def a_slow_cpu_of_either_maker_shares():
    """256 ns an instruction.  The tiny guest goes to user mode then, by an
    instruction that AMD's have not."""
    with World(ACCEL, MEM_MIB) as world:
        for vendor in 'AuthenticAMD', 'GenuineIntel':
            world.add(LOAD, qemu_args=['-icount', 'shift=8,sleep=off',
                                       '-cpu', f'qemu64,vendor={vendor}'])
        world.wait_filled()
        world.wait_merges(60, 'they share')
        for guest in world.guests:
            world.wait_pass(guest, 120)
        world.check_intact()


run([a_dump_of_the_guest_is_whole, dump_off_holds_for_shared_pages,
     populated_memory_is_shared_as_well, virtio_mem_plugs_memory_of_its_own,
     what_cannot_be_is_refused, policy_is_warned_of,
     a_slow_cpu_of_either_maker_shares])
