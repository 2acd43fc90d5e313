# SPDX-License-Identifier: GPL-2.0-or-later
"""disk.py: what noting devices' accesses costs a guest's disk.

A guest that does hardly anything but keep transfers under way, and verify
them, with a disk in the host's memory: requests by QEMU's own count, with
memory-backend-ksm (every mapping for a device is noted) and with
memory-backend-ram, in turn.
"""

import os
import sys
import tempfile
import time

import table
from runner import BenchError
from workloads import Workload

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'guests'))
# pylint: disable=wrong-import-position
import merger                                                   # noqa: E402
from vm import Config, Guest                                    # noqa: E402

MEM_MIB = 32
SECONDS = 4
LINE = 'mem_mib=1 write_pct=0 pause_ms=0 report_every=1000 disk=32'
DISK_DIR = '/dev/shm'
# Name of a metric, side, backend, properties.
KINDS = (('', 'plain', 'none', {}),
         ('', 'ours', 'ksm', {'group': 'g', 'run': 'pause'}),
         ('_merging', 'ours', 'ksm', {'group': 'g', 'scan-cpu-percent': 100,
                                      'scan-interval': 10}))


def _requests(guest):
    stats = guest.qmp.command('query-blockstats')[0]['stats']
    return stats['rd_operations'] + stats['wr_operations']


def _cpu_seconds(guest):
    """Of the thread that serves the disk."""
    path = f'/proc/{guest.pid}/task/{guest.pid}/schedstat'
    with open(path, encoding='ascii') as file:
        return int(file.read().split()[0]) / 1e9


def _disk(directory):
    path = f'{directory}/disk'
    with open(path, 'wb') as file:
        file.truncate(MEM_MIB << 20)
    return ('-blockdev', f'driver=file,node-name=disk,filename={path},'
            'aio=io_uring',
            '-device', 'virtio-blk-pci,disable-legacy=off,drive=disk')


def _measure(build, backend, props):
    """(requests a second, the main thread's CPU for each in us)."""
    with tempfile.TemporaryDirectory(prefix='ksm-bench-',
                                     dir=DISK_DIR) as directory:
        broker = merger.Broker(f'{build}/plugin/guest-ksmd',
                               f'{directory}/broker.sock',
                               f'{directory}/broker.log',
                               options=['--max-cpu-percent=0'])
        guest = Guest(Config(f'{build}/qemu/qemu-system-x86_64', 'kvm',
                             f'{build}/guests/tiny.elf', MEM_MIB << 20,
                             directory, backend, broker.path, props, LINE,
                             qemu_args=_disk(directory)), 0)
        try:
            broker.start()
            guest.start()
            guest.wait_line('TINY disk blocks=', 60)
            time.sleep(1)
            start, done, cpu = (time.monotonic(), _requests(guest),
                                _cpu_seconds(guest))
            time.sleep(SECONDS)
            count = _requests(guest) - done
            return (count / (time.monotonic() - start),
                    (_cpu_seconds(guest) - cpu) * 1e6 / max(count, 1))
        finally:
            guest.kill()
            broker.kill()


def run(build, reps):
    """The kinds in turn."""
    if not os.access('/dev/kvm', os.W_OK):
        raise BenchError('the disk workload needs /dev/kvm')
    values = {}
    for rep in range(reps):
        for suffix, side, backend, props in KINDS:
            rate, cost = _measure(build, backend, props)
            metrics = values.setdefault(side, {})
            metrics.setdefault('requests_per_s' + suffix, []).append(rate)
            metrics.setdefault('cpu_us_per_request' + suffix, []).append(cost)
        print(f'  disk {rep + 1}/{reps}', file=sys.stderr, flush=True)
    names = [name + suffix for name in ('requests_per_s', 'cpu_us_per_request')
             for suffix in ('', '_merging')]
    load = Workload('disk', 'a guest under KVM that keeps 32 transfers under '
                    'way with a disk in memory: plain is '
                    'memory-backend-ram, ours memory-backend-ksm, paused and '
                    'merging at full speed', [], names)
    return table.summarise(load, values)
