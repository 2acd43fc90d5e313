# SPDX-License-Identifier: GPL-2.0-or-later
"""test-failing.py: memory under QEMU that fails, by the kernel's injection.

The guests do nothing: as with other memory, a guest that touches failed memory
gets the error.  No other process may get it, certainly not because the scanner
reads it.
"""

import os
import socket

from inside import write
from tap import check, run, say, wait_until
from world import BUILD, World, memory

LATE_KILL = os.path.join(BUILD, 'plugin', 'tests', 'lab', 'liblate-kill.so')
OFFLINE = '/sys/devices/system/memory/hard_offline_page'
LOAD = 'share=70 zero=10 fill=5 write_pct=1 pause_ms=200'
MEM_MIB = 16
SHARED = 1000


class Pen:
    """Writes a guest's memory as a device would, by QEMU's test protocol."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile('r')

    def fill(self, address, byte):
        """A page."""
        self.socket.sendall(b'memset %#x 4096 %#x\n' % (address, byte))
        line = self.lines.readline()
        check(line.startswith('OK'), line)


def add_guest(world):
    """A guest whose QEMU is told of failing memory when it touches it."""
    path = os.path.join(world.run_dir, f'pen{len(world.guests)}')
    os.environ['LD_PRELOAD'] = LATE_KILL
    try:
        guest = world.add(LOAD, qemu_args=[
            '-qtest', f'unix:{path},server=on,wait=off',
            '-qtest-log', '/dev/null'])
    finally:
        del os.environ['LD_PRELOAD']
    return guest, path


def fail(frame):
    """Takes that page of the host's memory away."""
    write(OFFLINE, hex(frame * memory.PAGE))


def frames(guest):
    """Where each page of the guest lies."""
    return memory.page_frames(guest.pid, guest.ram()[0], guest.ram_pages())


def content(guest, but):
    """All pages except some, which cannot be read."""
    start = guest.ram()[0]
    return {page: memory.read_memory(guest.pid, start + page * memory.PAGE,
                                     memory.PAGE)
            for page in range(guest.ram_pages()) if page not in but}


def figures(guest):
    """(pages whose failing was noticed, shared ones)."""
    stats = guest.ksm_stats()
    return stats['pages-hwpoison'], stats['pages-sharing']


def common_page(guests):
    """A page of each that lie in one frame, in which no other of theirs is."""
    lying = [frames(guest) for guest in guests]
    kinds = guests[0].page_kinds()
    for page, frame in enumerate(lying[0]):
        if frame and kinds[page] == memory.STORE and \
           all(where.count(frame) == 1 for where in lying):
            return frame, [where.index(frame) for where in lying]
    raise AssertionError('no page is shared by both')


def fail_private(guest, path, page):
    """It fails after it was written, and the engine is the first to read."""
    guest.set_property('run', 'pause')
    Pen(path).fill(page * memory.PAGE, 0x5a)
    frame = frames(guest)[page]
    check(frame, 'the page has no memory')
    fail(frame)
    guest.set_property('run', 'run')
    wait_until(lambda: figures(guest)[0] == 1, 60, 'the engine has met it')
    check(guest.alive(), 'QEMU has ended')


def qemus_live_with_memory_that_fails():
    """A page of one guest's own, then one that both share."""
    with World('tcg', MEM_MIB) as world:
        guests, paths = zip(*(add_guest(world) for _ in range(2)))
        world.wait_filled()
        wait_until(lambda: min(world.sharing()) > SHARED, 90, 'both share')
        for guest in guests:
            guest.qmp.command('stop')
        own = guests[0].ram_pages() - 100
        fail_private(guests[0], paths[0], own)
        frame, pages = common_page(guests)
        bad = [{own, pages[0]}, {pages[1]}]
        before = [content(guest, but) for guest, but in zip(guests, bad)]
        fail(frame)
        wait_until(lambda: 'the memory of slot' in world.broker.read_log(),
                   60, 'the broker has retired the slot')
        for guest in guests:
            guest.set_property('run', 'unmerge')
        wait_until(lambda: [figures(guest) for guest in guests] ==
                   [(2, 1), (1, 1)], 90, 'all is private but what failed')
        for guest, but, was in zip(guests, bad, before):
            check(guest.alive(), 'QEMU has ended')
            check(content(guest, but) == was, f'{guest.name} has changed')
            guest.set_property('run', 'run')
        wait_until(lambda: min(world.sharing()) > SHARED, 90,
                   'both share again')
        for guest, but, was in zip(guests, bad, before):
            check(content(guest, but) == was, f'{guest.name} has changed')
            say(f'{guest.name}: {figures(guest)}')


run([qemus_live_with_memory_that_fails])
