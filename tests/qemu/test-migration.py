# SPDX-License-Identifier: GPL-2.0-or-later
"""test-migration.py: guests that share are migrated under load, and share on.

The oracle is in the guest's memory and moves with it: on the other side the
guest goes on verifying every page.  The engine there stands aside until all
memory has arrived, then shares again within two rounds; three guests of the
group stay behind and hold the pages.

Under KVM, which has a dirty log and faults of its own, those ways are tried in
which the guest runs while its memory is read or filled.
"""

import os
import sys

from migration import MIGRATION_SECONDS, set_up, status, wait_status
from tap import check, run, say, wait_until
from world import QmpError, World

ACCEL = sys.argv[1]
MEM_MIB = 32
# Word for word the same on both sides.
LOAD = 'share=60 zero=15 fill=5 write_pct=1 pause_ms=100'
INTERVAL_MS = 500               # seldom enough to see each single round
SHARED_AGAIN = 0.75             # of what was shared; the rest is being written
ROUNDS = 2


class Move:
    """A guest that shares with another, and its next QEMU."""

    def __init__(self, world, **more):
        self.world = world
        self.stays = world.add(LOAD)
        self.source = world.add(LOAD, scan_interval=INTERVAL_MS, **more)
        self.target = None
        world.wait_filled()
        wait_until(lambda: self.source.ksm_stats()['pages-sharing'] > 3500,
                   60, 'the source shares')

    def add_target(self):
        """The other side; its engine must stand aside from the start."""
        self.target = self.world.add(LOAD, qemu_args=['-incoming', 'defer'],
                                     scan_interval=INTERVAL_MS)
        wait_stand_aside(self.target, 'incoming migration')

    def both(self, *capabilities, **parameters):
        """Sets what both sides must agree on."""
        for guest in (self.source, self.target):
            set_up(guest, *capabilities, **parameters)

    def begin(self):
        """Over a socket; returns what the source shared."""
        uri = 'unix:' + os.path.join(self.world.run_dir, 'migration')
        self.target.qmp.command('migrate-incoming', uri=uri)
        sharing = self.source.ksm_stats()['pages-sharing']
        self.source.qmp.command('migrate', uri=uri)
        return sharing

    def finish(self, sharing):
        """All has arrived: shares again soon, and every byte is right."""
        wait_status(self.target, 'completed')
        watch_target(self.world, self.source, self.target)
        shares_within_two_rounds(self.target, sharing)
        self.world.wait_pass(self.target)
        self.world.check_intact([self.target, self.stays])


def wait_stand_aside(guest, reason):
    """Waits until the engine stands aside and says this why."""
    def aside():
        stats = guest.ksm_stats()
        return stats['state'] == 'stood-aside' and \
            reason in stats.get('stand-aside', '')
    wait_until(aside, 20, f'{guest.name} stands aside: {reason}')


def shares_within_two_rounds(guest, before, done=0):
    """From when the engine has come back; `done` rounds were before that."""
    stats = {}

    def two_rounds():
        stats.clear()
        stats.update(guest.ksm_stats())
        return stats['full-scans'] >= done + ROUNDS
    wait_until(two_rounds, 60, f'{guest.name}: {ROUNDS} rounds')
    say(f'{guest.name}: {stats["pages-sharing"]} pages shared, {before} '
        f'before, after {stats["full-scans"] - done} rounds')
    check(stats['state'] == 'running', f'state {stats["state"]}')
    check('stand-aside' not in stats, 'still has a reason to stand aside')
    check(stats['pages-sharing'] >= SHARED_AGAIN * before,
          f'only {stats["pages-sharing"]} pages shared, {before} before')


def watch_target(world, source, target):
    """The guest is another process now; what it said before still counts."""
    watch = world.watches.pop(source.name)
    watch.poll()
    check(not watch.mismatches, f'{watch.faults}')
    source.kill()
    world.watch(target)


def precopy(*capabilities, **parameters):
    """From one QEMU to the other over a socket, while the guest writes."""
    with World(ACCEL, MEM_MIB) as world:
        move = Move(world)
        move.add_target()
        move.both(*capabilities, **parameters)
        sharing = move.begin()
        wait_status(move.source, 'completed')
        move.finish(sharing)


def live_precopy():
    """The ordinary way."""
    precopy()


def live_multifd():
    """Pages come by several threads, past the usual loading of RAM."""
    precopy('multifd', multifd_channels=3)


def postcopy():
    """The guest runs on the other side before its memory is there."""
    with World(ACCEL, MEM_MIB) as world:
        move = Move(world)
        move.add_target()
        # Slow enough to be looked at in the midst of it.
        move.both('postcopy-ram', max_bandwidth=2 << 20,
                  max_postcopy_bandwidth=4 << 20)
        sharing = move.begin()
        wait_status(move.source, 'active')
        move.source.qmp.command('migrate-start-postcopy')
        wait_status(move.target, 'postcopy-active')
        wait_stand_aside(move.target, 'incoming postcopy migration')
        check(move.target.ksm_stats()['merges'] == 0, 'merged in postcopy')
        check(status(move.target) == 'postcopy-active', 'looked too late')
        wait_status(move.source, 'completed')
        move.finish(sharing)


def to_file_and_back(mode, suffix='', *capabilities, **parameters):
    """A whole migration into a file, then a new QEMU from it."""
    with World(ACCEL, MEM_MIB) as world:
        move = Move(world)
        uri = 'file:' + os.path.join(world.run_dir, 'state' + suffix)
        set_up(move.source, *capabilities, mode=mode, **parameters)
        sharing = move.source.ksm_stats()['pages-sharing']
        move.source.qmp.command('migrate', uri=uri)
        wait_status(move.source, 'completed')
        move.add_target()
        set_up(move.target, *capabilities, mode=mode, **parameters)
        move.target.qmp.command('migrate-incoming', uri=uri)
        move.finish(sharing)


def cpr_reboot():
    """To a file and back, as for an update of the host."""
    to_file_and_back('cpr-reboot')


def mapped_ram_with_direct_io():
    """Each page has its place in the file; read and written by O_DIRECT."""
    to_file_and_back('normal', '-mapped', 'mapped-ram', 'multifd',
                     direct_io=True, multifd_channels=2)


def cpr_transfer_is_refused():
    """It hands memory over by descriptors, which private memory has none."""
    with World(ACCEL, MEM_MIB) as world:
        move = Move(world, qemu_args=['-machine', 'aux-ram-share=on'])
        set_up(move.source, mode='cpr-transfer')
        try:
            move.source.qmp.command('migrate', channels=[
                {'channel-type': name, 'addr': {
                    'transport': 'socket', 'type': 'unix',
                    'path': os.path.join(world.run_dir, name)}}
                for name in ('main', 'cpr')])
        except QmpError as error:
            say(error)
            check('ram0' in str(error) and 'share=on' in str(error), error)
        else:
            check(False, 'cpr-transfer was not refused')
        world.wait_pass(move.source)
        world.check_intact()


def background_snapshot():
    """The guest runs on; the engine stands aside, nothing is unshared."""
    with World(ACCEL, MEM_MIB) as world:
        move = Move(world)
        path = os.path.join(world.run_dir, 'snapshot')
        set_up(move.source, 'background-snapshot', max_bandwidth=8 << 20)
        before = move.source.ksm_stats()
        move.source.qmp.command('migrate', uri=f'exec:cat > {path}')
        wait_stand_aside(move.source, 'a background snapshot')
        check(status(move.source) != 'completed', 'looked too late')
        done = move.source.ksm_stats()['full-scans']
        wait_status(move.source, 'completed')
        check(move.source.ksm_stats()['full-scans'] <= done + 1,
              'scanned while the snapshot was taken')
        wait_until(lambda: move.source.ksm_stats()['state'] == 'running', 20,
                   'the engine comes back')
        shares_within_two_rounds(move.source, before['pages-sharing'], done)
        world.wait_pass(move.source)
        world.check_intact()
        move.add_target()
        move.target.qmp.command('migrate-incoming', uri=f'exec:cat {path}')
        move.finish(before['pages-sharing'])


def job(guest, command, **arguments):
    """Runs a job of QEMU's to its end."""
    guest.qmp.command(command, job_id='snap', tag='one', vmstate='disk',
                      devices=['disk'], **arguments)
    found = {}

    def concluded():
        found.clear()
        found.update(guest.qmp.command('query-jobs')[0])
        return found['status'] == 'concluded'
    wait_until(concluded, MIGRATION_SECONDS, command)
    check('error' not in found, f'{command}: {found.get("error")}')
    guest.qmp.command('job-dismiss', id='snap')


def savevm_and_loadvm():
    """Into a disk image and back over shared memory, in one process."""
    with World(ACCEL, MEM_MIB) as world:
        path = world.disk('disk.qcow2', '64M')
        move = Move(world, qemu_args=[
            '-blockdev', 'driver=qcow2,node-name=disk,file.driver=file,'
            f'file.filename={path}'])
        source = move.source
        job(source, 'snapshot-save')
        world.wait_pass(source)
        sharing = source.ksm_stats()['pages-sharing']
        for _ in range(2):
            source.qmp.command('stop')
            breaks = source.ksm_stats()['breaks']
            job(source, 'snapshot-load')
            done = source.ksm_stats()['full-scans']
            source.qmp.command('cont')
            world.watches[source.name].passes = 0   # it went back in time
            # Loading has written to every page: all are broken, and rest.
            wait_until(lambda: source.ksm_stats()['breaks'] > breaks + 2000
                       and source.ksm_stats()['pages-sharing'] >=
                       sharing / 2, 60, 'shares again')
            say(f'shares again {source.ksm_stats()["full-scans"] - done} '
                'rounds after loading')
            world.wait_pass(source)
        world.check_intact()


LIVE = [live_precopy, live_multifd, postcopy, background_snapshot,
        savevm_and_loadvm]
run(LIVE if ACCEL == 'kvm' else
    LIVE + [cpr_reboot, mapped_ram_with_direct_io, cpr_transfer_is_refused])
