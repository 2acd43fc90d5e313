# SPDX-License-Identifier: GPL-2.0-or-later
"""demo.py: boots guests, merges their memory, shows and measures it.

Merging begins when all guests are idle, so that there is a before and an
after; with --from-start it runs from the first moment, as it does in use.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time

import memory
import merger as mergers
from domain import Domain, libvirt_version
from measure import Snapshot, measure
from qmp import QmpError
from table import Table, mib, step, summary
from vm import Config, Guest, GuestError, TinyWatch

POLL_SECONDS = 0.5
STABLE_SECONDS = 10.0           # that long without a change ...
STABLE_CHANGE = 0.002           # ... of more than this share of the savings
IDLE_LINE = {'debian': r'GUEST idle', 'tiny': r'TINY filled'}


def parse_size(text):
    """512M, 1G or bytes, as a multiple of 2 MiB."""
    units = {'K': 10, 'M': 20, 'G': 30}
    shift = units.get(text[-1:].upper())
    try:
        size = int(text[:-1]) << shift if shift else int(text)
    except ValueError:
        size = 0
    if size <= 0 or size % (2 << 20):
        raise argparse.ArgumentTypeError(f'{text}: not a size like 512M')
    return size


def parse_arguments():
    """The command line; scripts/demo passes it on as it is."""
    parser = argparse.ArgumentParser(
        prog='scripts/demo', description='Boots guests that are alike and '
        'shows their memory being shared.')
    parser.add_argument('--vms', type=int, default=3, metavar='N',
                        help='guests to boot (%(default)s)')
    parser.add_argument('--mem', type=parse_size, default='512M',
                        metavar='SIZE', help='RAM of each (%(default)s)')
    parser.add_argument('--guest', choices=('debian', 'tiny'),
                        default='debian', help='Debian 12, or a small test '
                        'guest that verifies its memory all the time')
    parser.add_argument('--accel', choices=('kvm', 'tcg'),
                        help='default: tcg for debian, kvm for tiny')
    parser.add_argument('--backend', choices=('ksm', 'kernel', 'none'),
                        default='ksm', help='who merges: memory-backend-ksm, '
                        "the kernel's KSM at full speed (root), nobody")
    parser.add_argument('--libvirt', action='store_true',
                        help='as domains of a libvirtd of its own, confined '
                        'as libvirt does it (root)')
    parser.add_argument('--json', metavar='FILE', help='write the figures')
    # scripts/demo sees to it, and does not hand it on.
    parser.add_argument('--dry-run', action='store_true',
                        help='install what is needed; say what would be done')
    parser.add_argument('--keep', action='store_true',
                        help='leave the guests running')
    parser.add_argument('--from-start', action='store_true',
                        help='merge while the guests boot; times count from '
                        'when the last one is idle')
    parser.add_argument('--seconds', type=int, default=None, metavar='N',
                        help='longest time to merge (600), for tiny guests '
                        'the time (60)')
    parser.add_argument('--guest-args', default='', metavar='ARGS',
                        help="more for the guests' kernel command line")
    for name in ('scan-cpu-percent', 'scan-interval', 'max-mappings',
                 'keep-huge'):
        parser.add_argument(f'--{name}', type=int, metavar='N',
                            help='property of memory-backend-ksm')
    options = parser.parse_args()
    if options.vms < 1:
        parser.error('--vms: at least 1')
    if options.libvirt and options.keep:
        parser.error('--keep: the libvirtd of --libvirt ends with the demo')
    if options.accel is None:
        options.accel = 'kvm' if options.guest == 'tiny' and \
            os.access('/dev/kvm', os.W_OK) else 'tcg'
    if options.seconds is None:
        options.seconds = 60 if options.guest == 'tiny' else 600
    return options


class Demo:
    """One run; owns the guests, the merger and the directory of both."""

    def __init__(self, options):
        self.options = options
        self.run_dir = tempfile.mkdtemp(
            prefix='ksm-demo-', dir=os.environ.get('KSM_LIBVIRT_DIR'))
        self.guests = []
        self.merger = None
        self.watches = []
        self.guest_class = Guest
        if options.libvirt:
            os.chmod(self.run_dir, 0o755)       # for QEMU's user
            self.guest_class = Domain
        self.table = Table()
        self.cpu_at_start = 0.0
        self.series = []        # (time, saved pages, CPU) as the merger tells

    def run(self):
        """All of it; returns the figures."""
        options = self.options
        self._start_merger()
        self._boot()
        before = None
        if not options.from_start:
            before = Snapshot(self.guests, self.merger)
            step(f'all idle; guest memory before merging: '
                 f'{before.pss_mib:.1f} MiB')
        started = time.monotonic()
        if not options.from_start:
            self.cpu_at_start = self.merger.cpu_seconds(self.guests)
            self.merger.set_run(self.guests, True)
        rows = self._watch(started)
        self._freeze()
        step('counting distinct pages of the stopped guests')
        result = {
            'backend': options.backend, 'vms': options.vms,
            'guest': options.guest, 'accel': options.accel,
            'mem_mib': options.mem >> 20, 'from_start': options.from_start,
            'libvirt': libvirt_version() if options.libvirt else None}
        result.update(measure(self.guests, self.merger, before,
                              sum(row['zero'] for row in rows),
                              self.run_dir))
        result.update(self._times(started))
        result['counters'] = self.merger.counters(self.guests)
        result.update(self._tiny_figures())
        result['max_map_count'] = int(
            open('/proc/sys/vm/max_map_count', encoding='utf-8').read())
        result['linux'] = platform.release()
        return result

    # -- set-up ------------------------------------------------------------

    def _start_merger(self):
        backend = self.options.backend
        if backend == 'ksm':
            path, user = os.path.join(self.run_dir, 'broker.sock'), None
            if self.options.libvirt:
                path, user = '/run/guest-ksm/broker.sock', 'guest-ksm'
            broker = mergers.Broker(
                os.environ['KSM_DEMO_BROKER'], path,
                os.path.join(self.run_dir, 'broker.log'), user,
                # A share for each guest that was asked for is the only limit.
                ['--max-cpu-percent=0'] if self.options.scan_cpu_percent else [])
            self.merger = mergers.KsmMerger(broker)
            broker.start()
        elif backend == 'kernel':
            self.merger = mergers.KernelMerger()
            self.cpu_at_start = self.merger.cpu_seconds([])
            if self.options.from_start:
                self.merger.set_run([], True)
        else:
            self.merger = mergers.NoMerger()

    def _config(self):
        options = self.options
        props = {'group': 'demo',
                 'run': 'run' if options.from_start else 'pause'}
        for name in ('scan_cpu_percent', 'scan_interval', 'max_mappings',
                     'keep_huge'):
            if getattr(options, name) is not None:
                props[name.replace('_', '-')] = getattr(options, name)
        broker = getattr(self.merger, 'broker', None)
        return Config(
            qemu=os.environ['KSM_DEMO_QEMU'], accel=options.accel,
            image=os.environ['KSM_DEMO_IMAGE'], mem_bytes=options.mem,
            run_dir=self.run_dir, backend=options.backend,
            broker=broker.path if broker else '', props=props,
            args=options.guest_args)

    def _boot(self):
        options = self.options
        step(f'booting {options.vms} {options.guest} guests of '
             f'{options.mem >> 20} MiB under {options.accel}')
        config = self._config()
        for index in range(options.vms):
            guest = self.guest_class(config, index)
            self.guests.append(guest)
            guest.start()
        if options.libvirt:
            for guest in self.guests:
                self._tell_confinement(guest)
        started = time.monotonic()
        waiting = list(self.guests)
        while waiting:
            for guest in list(waiting):
                try:
                    guest.wait_line(IDLE_LINE[options.guest], 0)
                except GuestError:
                    if not guest.alive():
                        raise
                    continue
                waiting.remove(guest)
                step(f'{guest.name} is idle after '
                     f'{time.monotonic() - started:.0f} s')
            if time.monotonic() - started > 300 + 100 * options.vms:
                raise GuestError(f'{waiting[0].name} did not boot; its '
                                 f'console: {self._console_tail(waiting[0])}')
            if options.from_start:
                rows = [self.merger.row(guest) for guest in self.guests]
                self._note(rows)
            time.sleep(0.2)
        if options.guest == 'tiny':
            self.watches = [TinyWatch(guest) for guest in self.guests]

    @staticmethod
    def _tell_confinement(guest):
        confined = guest.confinement()
        if not all(confined.values()):
            raise GuestError(f'{guest.name} is not confined: {confined}')
        step(f'{guest.name}: process {guest.pid}, ' + ', '.join(confined))

    @staticmethod
    def _console_tail(guest):
        with open(guest.console_log, encoding='utf-8',
                  errors='replace') as log:
            return log.read()[-500:]

    # -- merging -----------------------------------------------------------

    def _note(self, rows):
        saved = self.merger.saved_estimate(self.guests, rows)
        cpu = self.merger.cpu_seconds(self.guests) - self.cpu_at_start
        self.series.append((time.monotonic(), saved, cpu))
        return saved, cpu

    def _watch(self, started):
        """Draws the table until nothing changes; returns the last rows."""
        names = [guest.name for guest in self.guests]
        while True:
            for guest in self.guests:
                if not guest.alive():
                    raise GuestError(guest.why_ended())
            for watch in self.watches:
                watch.poll()
            rows = [self.merger.row(guest) for guest in self.guests]
            saved, cpu = self._note(rows)
            elapsed = time.monotonic() - started
            done = self._settled(elapsed)
            self.table.draw(elapsed, names, rows, saved, cpu, last=done)
            if done:
                return rows
            time.sleep(POLL_SECONDS)

    def _settled(self, elapsed):
        if self.options.backend == 'none' or elapsed > self.options.seconds:
            return True
        if self.options.guest == 'tiny' or elapsed < STABLE_SECONDS:
            return False
        now, last, _ = self.series[-1]
        recent = [saved for at, saved, _ in self.series
                  if at >= now - STABLE_SECONDS]
        return last > 0 and \
            max(recent) - min(recent) <= STABLE_CHANGE * last

    def _times(self, started):
        """When 95 % of the final savings were there, and when all was.

        The merger's CPU is what it took until then; the rate afterwards,
        in percent of one CPU, is what it costs to go on looking.
        """
        end, final, cpu_end = self.series[-1]

        def first(share):
            return next((at, cpu) for at, saved, cpu in self.series
                        if saved >= share * final)

        settled, cpu = first(1 - STABLE_CHANGE)
        rate = (cpu_end - cpu) / (end - settled) if end > settled else 0
        return {'merge_seconds': round(max(0.0, settled - started), 1),
                'seconds_to_95': round(max(0.0, first(0.95)[0] - started),
                                       1),
                'merger_cpu_seconds': round(cpu, 2),
                'merger_cpu_percent_after': round(100 * rate, 1),
                'merger_cpu_seconds_in_all': round(cpu_end, 2)}

    def _freeze(self):
        """Stops the guests, pauses the merger, waits until it is at rest."""
        for guest in self.guests:
            guest.qmp.command('stop')
        for watch in self.watches:
            watch.poll()
        self.merger.set_run(self.guests, False)
        last = None
        while True:
            rows = [self.merger.row(guest) for guest in self.guests]
            state = [(row['shared'], row['zero'], row['private'])
                     for row in rows]
            if state == last:
                return
            last = state
            time.sleep(1.5)

    def _tiny_figures(self):
        if not self.watches:
            return {}
        for watch in self.watches:
            for line in watch.faults:
                step(line)
        return {'passes': sum(watch.passes for watch in self.watches),
                'writes': sum(watch.writes for watch in self.watches),
                'mismatches': sum(watch.mismatches
                                  for watch in self.watches)}

    # -- end ---------------------------------------------------------------

    def keep(self):
        """Lets the guests go on, and says where they are."""
        for guest in self.guests:
            guest.qmp.command('cont')
        self.merger.set_run(self.guests, True)
        print('\nThe guests run on:')
        pids = []
        for guest in self.guests:
            pids.append(str(guest.pid))
            print(f'  {guest.name}  process {guest.pid}'
                  f'  console: socat -,raw,echo=0 '
                  f'UNIX:{guest.console_socket}'
                  f'  QMP: {guest.qmp_socket}')
            guest.qmp.close()
        if self.options.backend == 'ksm':
            pids.append(str(self.merger.broker.process.pid))
            print(f'  broker  process {pids[-1]}'
                  f'  socket {self.merger.broker.path}')
        if self.options.backend == 'kernel':
            print('  the kernel goes on merging: put back '
                  f'{mergers.KSM} when done; it was {self.merger.saved}')
        print(f'End them with: kill {" ".join(pids)}; '
              f'rm -r {self.run_dir}')

    def end(self):
        """Ends what this run started, and nothing else."""
        for guest in self.guests:
            guest.kill()
        if self.merger is not None:
            self.merger.restore()
        shutil.rmtree(self.run_dir, ignore_errors=True)


def write_json(path, result):
    """Writes the figures in one go."""
    with open(path + '.new', 'w', encoding='utf-8') as file:
        json.dump(result, file, indent=2)
        file.write('\n')
    os.replace(path + '.new', path)


def main():
    """Runs the demo; 0 when all is well."""
    options = parse_arguments()

    def interrupt(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    demo = Demo(options)
    kept = False
    try:
        result = demo.run()
        print(summary(result))
        if options.json:
            write_json(options.json, result)
        if options.keep:
            demo.keep()
            kept = True
        return 1 if result.get('mismatches') else 0
    except (GuestError, QmpError, mergers.MergerError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    finally:
        if not kept:
            demo.end()


if __name__ == '__main__':
    sys.exit(main())
