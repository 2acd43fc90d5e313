# SPDX-License-Identifier: GPL-2.0-or-later
"""test-cgroup.py: control groups with too little memory.

Limits cost savings, and a process that the kernel kills takes no other with it.
"""

import contextlib
import json
import os
import subprocess

from inside import write
from merger import MergerError
from tap import check, run, say, wait_until
from world import MIB, World

TOP = '/sys/fs/cgroup'
CTL = os.environ['GUEST_KSMCTL']
LOAD = 'share=60 zero=15 fill=5 write_pct=1 pause_ms=100'
MEM_MIB = 24
SHARED = 2900                   # pages of each of two guests, at least
LIMIT = 15 * MIB                # less than these need, with the headroom
MORE = 8 * MIB                  # than its memory, for a guest that shares


class Group:
    """A control group below TOP, removed on the way out."""

    def __init__(self, name, limit='max'):
        write(f'{TOP}/cgroup.subtree_control', '+memory')
        self.path = os.path.join(TOP, name)
        os.makedirs(self.path)
        self.limit(limit)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()

    def _try_remove(self):
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True

    def remove(self):
        """What is charged to it, is so to the one above it afterwards."""
        wait_until(self._try_remove, 20, f'{self.path} is removed')

    @contextlib.contextmanager
    def inside(self):
        """What is started meanwhile is in it."""
        write(f'{self.path}/cgroup.procs', os.getpid())
        try:
            yield
        finally:
            write(f'{TOP}/cgroup.procs', os.getpid())

    def limit(self, limit):
        """Sets it."""
        write(f'{self.path}/memory.max', limit)

    def used(self, name='current'):
        """Bytes charged to it."""
        with open(f'{self.path}/memory.{name}', encoding='ascii') as file:
            return int(file.read())

    def kills(self):
        """How many the kernel has killed for want of memory."""
        with open(f'{self.path}/memory.events', encoding='ascii') as file:
            return int(dict(line.split() for line in file)['oom_kill'])


class Limited(World):
    """A world whose broker is in a control group."""

    def __init__(self, group):
        super().__init__('tcg', MEM_MIB)
        self.group = group
        self.broker.command += ['--max-store-mib', '1024']

    def __enter__(self):
        self.start_broker()
        return self

    def start_broker(self):
        """The first, or the next."""
        with self.group.inside():
            self.broker.start()

    def fill(self):
        """Two guests."""
        for _ in range(2):
            self.add(LOAD)
        self.wait_filled()

    def wait_shared(self, when):
        """Until all share what they can."""
        took = wait_until(lambda: min(self.sharing()) > SHARED, 60,
                          f'all is shared {when}')
        say(f'shared {when} after {took:.1f} s: {self.sharing()}; the store '
            f'has {self.broker.store_bytes() / MIB:.1f} MiB, charged are '
            f'{self.group.used() / MIB:.1f}')

    def verify(self):
        """A pass of each, to the byte."""
        for guest in self.guests:
            self.wait_pass(guest)
        self.check_intact()

    def left(self):
        """Bytes that the broker may take, as it says itself."""
        path = os.path.join(os.path.dirname(self.broker.path), 'control.sock')
        out = subprocess.run([CTL, '--socket', path, '--json', 'status'],
                             check=True, stdout=subprocess.PIPE).stdout
        return json.loads(out)['broker']['cgroup_room_bytes']


def the_broker_comes_near_its_limit():
    """It refuses content, tells why, and is not killed."""
    with Group('broker', LIMIT) as group, Limited(group) as world:
        world.fill()
        wait_until(lambda: world.all_say('degraded', 'broker'), 60,
                   'the guests know that they could share more')
        check(world.total('refused-broker') > 0, 'nothing was refused')
        say(f'{world.sharing()} pages are shared, peak '
            f'{group.used("peak") / MIB:.1f} of {LIMIT / MIB:.1f} MiB, left '
            f'{world.left() / MIB:.1f}')
        check('control group' in world.broker.read_log(),
              'the log does not say why')
        check(0 < world.left() < 10 * MIB, 'the status does not say why')
        check(min(world.sharing()) < SHARED, 'there was no want of memory')
        check(group.kills() == 0, 'somebody was killed')
        group.limit('max')
        world.wait_shared('with memory enough')
        world.verify()


def the_kernel_kills_the_broker():
    """Guests go on, and share again with the next one."""
    with Group('first') as first, Limited(first) as world:
        world.fill()
        world.wait_shared('at first')
        first.limit(first.used() // 2)
        wait_until(lambda: world.broker.process.poll() is not None, 20,
                   'the broker is killed')
        check(first.kills() == 1, f'{first.kills()} were killed')
        first.limit(LIMIT)
        world.verify()
        check(min(world.sharing()) > SHARED, 'sharing has ended')
        # The store is there as long as guests map it.
        say(f'still charged: {first.used() / MIB:.1f} MiB')
        with contextlib.suppress(MergerError):
            world.start_broker()        # it may have been seen to listen
        wait_until(lambda: world.broker.process.poll() is not None, 20,
                   'it does not start without room')
        log = world.broker.read_log()
        check('no memory for the start' in log, log)
        first.remove()
        with Group('second', LIMIT) as world.group:
            world.start_broker()
            wait_until(lambda: world.all_say('broker', 'connected'), 60,
                       'the guests know the next broker')
            world.wait_merges(60, 'the guests share anew')
            world.wait_shared('after that')
            world.check_intact()
            world.broker.kill()


def a_guest_has_no_memory_to_spare():
    """What sharing and its end take beside a guest's memory is little."""
    with Group('broker') as group, Group('guest') as small, \
         Limited(group) as world:
        world.add(LOAD)
        with small.inside():
            guest = world.add(LOAD, run='pause')
        world.wait_filled()
        need = small.used()
        small.limit(need + MORE)
        for mode, shared in (('run', True), ('unmerge', False)):
            guest.qmp.command('qom-set', path='/objects/ram0', property='run',
                              value=mode)
            wait_until(lambda s=shared: (guest.ksm_stats()['pages-sharing'] >
                                         SHARED) == s, 60, mode)
            say(f'{mode}: {small.used() / MIB:.1f} MiB, peak '
                f'{small.used("peak") / MIB:.1f}, before {need / MIB:.1f}')
        world.verify()
        check(small.kills() == 0, 'somebody was killed')


run([the_broker_comes_near_its_limit, the_kernel_kills_the_broker,
     a_guest_has_no_memory_to_spare])
