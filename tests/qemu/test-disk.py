# SPDX-License-Identifier: GPL-2.0-or-later
"""test-disk.py: O_DIRECT transfers into memory that is merged around them.

The guest keeps transfers under way, both ways, between a virtio disk with
cache=none and the memory that it writes and verifies; what the disk brings is
checked by the guest's oracle like everything else.  Disks that answer at once,
and two that take seconds: one in QEMU, which holds the mapped memory while no
kernel knows (a throttle filter), one in the host's kernel, which holds pins (a
control group's limit).  Memory all around is shared, written, broken and given
back meanwhile; what devices may be writing to must be left alone, and counted.
"""

import os
import sys
import tempfile
import time

from device_watch import DeviceWatch
from tap import Skip, check, run, say, seconds, wait_until
from world import BUILD, MIB, World

ACCEL = sys.argv[1]
MEM_MIB = 32
# Written all the time, so that there is much to give back.
LOAD = 'share=60 zero=10 fill=10 write_pct=4 pause_ms=20 report_every=4 '
AIO = ('threads', 'native', 'io_uring')
SLOW_SECONDS = 1                # that long on average, by the host's clock
FAST_TRANSFERS = 8              # kept under way
SLOW_TRANSFERS = 16
BLKIO = '/sys/fs/cgroup/blkio'


class Disks:
    """Files for disks, in a directory whose file system has O_DIRECT."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix='ksm-disk-', dir=BUILD)
        self.count = 0

    def __enter__(self):
        path = self.file()
        try:
            os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
        except OSError as error:
            raise Skip('direct', f'no O_DIRECT in {BUILD}: {error}') from error
        return self

    def __exit__(self, kind, value, trace):
        self.dir.cleanup()

    def file(self):
        """A new disk's file."""
        self.count += 1
        path = os.path.join(self.dir.name, f'disk{self.count}')
        with open(path, 'wb') as file:
            file.truncate(MEM_MIB * MIB)
        return path

    def arguments(self, aio, limit='', scsi=False):
        """QEMU's arguments for a disk; `limit` of a throttle group."""
        node = (f'driver=raw,node-name=raw,file.driver=file,cache.direct=on,'
                f'file.cache.direct=on,file.aio={aio},'
                f'file.filename={self.file()}')
        device = 'virtio-blk-pci,disable-legacy=off,drive='
        if scsi:
            return ['-blockdev', node, '-device',
                    'virtio-scsi-pci,disable-legacy=off', '-device',
                    'scsi-hd,scsi-id=1,drive=raw']
        if not limit:
            return ['-blockdev', node, '-device', device + 'raw']
        return ['-object', f'throttle-group,id=slow,{limit}',
                '-blockdev', node, '-blockdev',
                'driver=throttle,node-name=slow,throttle-group=slow,file=raw',
                '-device', device + 'slow']


def tell(watch):
    """Says what happened to a guest; returns its query-ksm."""
    stats = watch.guest.ksm_stats()
    say(f'{watch.guest.name}: {watch.poll()}; ' + ', '.join(
        f'{name} {stats[name]}' for name in (
            'merges', 'breaks', 'given-back', 'rollbacks', 'refused-dma',
            'refused-pinned')))
    check(watch.figures['errors'] == 0, 'the disk has told of errors')
    return stats


def start(world, guests):
    """Guests with disks; each is waited for until it transfers."""
    watches = [DeviceWatch(world.add(LOAD + f'disk={disk}',
                                    qemu_args=arguments), 'disk')
               for disk, arguments in guests]
    world.wait_filled()
    for watch in watches:
        wait_until(lambda one=watch: one.poll().get('in', 0) > 0, 60,
                   f'{watch.guest.name} has read from its disk')
    return watches


def work(world, watches, length, slow=0):
    """Lets them work so long; a transfer takes `slow` seconds on average.

    So many are under way all the time: it follows from how many are done.
    """
    done = [watch.fresh()['done'] for watch in watches]
    began = time.monotonic()
    world.run_for(length)
    for watch in watches:
        wait_until(lambda one=watch:
                   one.guest.ksm_stats()['given-back'] > 100, 120,
                   f'{watch.guest.name}: pages given back')
        world.wait_pass(watch.guest, 120)
    world.check_intact()
    took = time.monotonic() - began
    for watch, before in zip(watches, done):
        average = SLOW_TRANSFERS * took / (watch.poll()['done'] - before + 1)
        if slow:
            say(f'{watch.guest.name}: a transfer takes {average:.1f} s')
        check(not slow or average >= slow, f'they only take {average:.1f} s')


def transfers_of_every_kind():
    """As fast as they go: threads, Linux AIO, io_uring, an adapter of SCSI."""
    with Disks() as disks, World(ACCEL, MEM_MIB) as world:
        watches = start(world, [(FAST_TRANSFERS, disks.arguments(aio))
                                for aio in AIO] +
                        [(FAST_TRANSFERS, disks.arguments('native',
                                                          scsi=True))])
        work(world, watches, seconds(0.15, 6))
        held = 0
        for watch in watches:
            stats = tell(watch)
            check(watch.figures['in'] > 50, 'hardly a transfer')
            check(stats['merges'] > 500 and stats['breaks'] > 500, f'{stats}')
            held += stats['refused-dma'] + stats['refused-pinned']
        check(held > 0, 'nothing was ever held back')


def transfers_that_hang_in_qemu():
    """For seconds, with the memory mapped and nothing pinned."""
    with Disks() as disks, World(ACCEL, MEM_MIB) as world:
        watches = start(world, [
            (SLOW_TRANSFERS, disks.arguments(aio, 'x-iops-total=2'))
            for aio in AIO[1:]])
        work(world, watches, seconds(0.15, 6), SLOW_SECONDS)
        for watch in watches:
            stats = tell(watch)
            check(stats['refused-dma'] > 0, 'nothing was held back')


class Throttle:
    """A control group whose transfers to one host device are slow."""

    def __init__(self, path, bytes_per_second):
        device = os.stat(path).st_dev
        self.dir = f'{BLKIO}/ksm-test-{os.getpid()}'
        rule = f'{os.major(device)}:{os.minor(device)} {bytes_per_second}'
        try:
            os.mkdir(self.dir)
            for which in ('read', 'write'):
                self._write(f'blkio.throttle.{which}_bps_device', rule)
        except OSError as error:
            self.end()
            raise Skip('blkio', f'no control group can slow {path} down: '
                       f'{error}') from error

    def _write(self, name, text):
        with open(f'{self.dir}/{name}', 'w', encoding='utf-8') as file:
            file.write(text)

    def add(self, pid):
        """From now on this process is slow."""
        self._write('cgroup.procs', str(pid))

    def end(self):
        """Its processes have ended."""
        if os.path.isdir(self.dir):
            os.rmdir(self.dir)


def transfers_that_hang_in_the_kernel():
    """For seconds, with the pages pinned."""
    with Disks() as disks:
        throttle = Throttle(disks.file(), 32 << 10)
        try:
            with World(ACCEL, MEM_MIB) as world:
                watches = start(world, [(SLOW_TRANSFERS, disks.arguments(aio))
                                        for aio in AIO[1:]])
                for watch in watches:
                    throttle.add(watch.guest.pid)
                work(world, watches, seconds(0.15, 6), SLOW_SECONDS)
                for watch in watches:
                    stats = tell(watch)
                    check(stats['refused-dma'] > 0, 'nothing was held back')
                for watch in watches:   # before the group can go
                    watch.guest.kill()
        finally:
            wait_until(lambda: not open(f'{throttle.dir}/cgroup.procs',
                                        encoding='utf-8').read(), 30,
                       'the slow processes have ended')
            throttle.end()


run([transfers_of_every_kind, transfers_that_hang_in_qemu,
     transfers_that_hang_in_the_kernel])
