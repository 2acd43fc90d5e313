# SPDX-License-Identifier: GPL-2.0-or-later
"""merger.py: who merges: our broker and engines, the kernel's KSM, nobody.

Each merger can start and stop merging, tell how many pages of the guests
are saved as it sees it (for the live table and the times), how much memory
it keeps outside of guest RAM, and how much CPU it spent.
"""

import os
import socket
import subprocess
import time

import memory

KSM = '/sys/kernel/mm/ksm'


class MergerError(Exception):
    """The merger could not be started."""


class Broker:
    """A guest-ksmd of our own on a socket of our own."""

    def __init__(self, program, path, log, user=None, options=()):
        """USER: to run as, admitting the group of that name."""
        self.command = [program, '--listen', path, *options]
        if user:
            self.command = ['setpriv', f'--reuid={user}', f'--regid={user}',
                            '--clear-groups', *self.command,
                            f'--socket-group={user}']
        self.path = path
        self.log = log
        self.process = None

    def start(self):
        """Starts it and waits until it listens."""
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        deadline = time.monotonic() + 10
        while not self._listens():
            if self.process.poll() is not None or \
               time.monotonic() > deadline:
                raise MergerError(f'{self.command} does not listen on '
                                  f'{self.path}; see {self.log}')
            time.sleep(0.02)

    def _listens(self):
        with socket.socket(socket.AF_UNIX,
                           socket.SOCK_SEQPACKET) as sock:
            try:
                sock.connect(self.path)
            except OSError:
                return False
            return True

    def read_log(self):
        """What it has said, in all of its lives."""
        with open(self.log, encoding='utf-8', errors='replace') as log:
            return log.read()

    def kill(self):
        """Ends it at once."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()

    def store_bytes(self):
        """Memory that the stores of all groups hold in their slots.

        One page of each is the list of those who may map it.
        """
        stores = {}
        directory = f'/proc/{self.process.pid}/fd'
        for name in os.listdir(directory):
            path = f'{directory}/{name}'
            try:
                if os.readlink(path).startswith('/memfd:ksm-store'):
                    status = os.stat(path)
                    stores[status.st_ino] = status.st_blocks * 512 - 4096
            except FileNotFoundError:
                continue        # closed since
        return sum(stores.values())

    def own_kb(self):
        """The broker's private memory: trees, tables, buffers."""
        with open(f'/proc/{self.process.pid}/status',
                  encoding='utf-8') as file:
            for line in file:
                if line.startswith('RssAnon:'):
                    return int(line.split()[1])
        return 0


class KsmMerger:
    """memory-backend-ksm: the engines in the QEMUs and one broker."""

    name = 'ksm'

    def __init__(self, broker):
        self.broker = broker
        self._last = {}

    def stats(self, guest):
        """query-ksm of a guest."""
        self._last[guest.name] = guest.ksm_stats()
        return self._last[guest.name]

    def set_run(self, guests, running):
        """Starts or stops merging."""
        for guest in guests:
            guest.set_property('run', 'run' if running else 'pause')

    def row(self, guest):
        """The columns of the live table."""
        stats = self.stats(guest)
        return {
            'private': guest.page_kinds().count(memory.PRIVATE) -
            stats['pages-broken'],
            'shared': stats['pages-sharing'],
            'zero': stats['zero-pages'],
            'broken': stats['pages-broken'],
            'mappings': memory.mapping_count(guest.pid),
            'cpu': stats['cpu-ns'] / 1e9,
        }

    def saved_estimate(self, guests, rows):
        """Pages saved now, by the figures of the engines."""
        del guests
        return (sum(row['shared'] + row['zero'] for row in rows) -
                self.outside_pages())

    def outside_pages(self):
        """Pages of memory that hold content for guests: the store."""
        return self.broker.store_bytes() // memory.PAGE

    def cpu_seconds(self, guests):
        """CPU of the scanner threads and the broker."""
        return (sum(self.stats(guest)['cpu-ns'] for guest in guests) / 1e9 +
                memory.cpu_seconds(self.broker.process.pid))

    def counters(self, guests):
        """Sums over the guests of what happened."""
        names = ('merges', 'zero-merges', 'breaks', 'rollbacks',
                 'full-scans', 'mappings', 'metadata-bytes')
        all_stats = [self.stats(guest) for guest in guests]
        sums = {name.replace('-', '_'):
                sum(stats.get(name, 0) for stats in all_stats)
                for name in names}
        sums['broker_own_kb'] = self.broker.own_kb()
        return sums

    def restore(self):
        """Ends the broker."""
        self.broker.kill()


class KernelMerger:
    """The kernel's KSM at full speed; the settings are put back."""

    name = 'kernel'
    SETTINGS = {'sleep_millisecs': '0', 'pages_to_scan': '1000000',
                'use_zero_pages': '1'}

    def __init__(self):
        if os.geteuid() != 0:
            raise MergerError('--backend kernel needs root, for '
                              f'the settings in {KSM}')
        self.saved = {name: self._read(name)
                      for name in ('run', *self.SETTINGS)}
        self._write('run', '0')
        for name, value in self.SETTINGS.items():
            self._write(name, value)
        self.thread = self._find_thread()

    @staticmethod
    def _read(name):
        with open(f'{KSM}/{name}', encoding='utf-8') as file:
            return file.read().strip()

    @staticmethod
    def _write(name, value):
        with open(f'{KSM}/{name}', 'w', encoding='utf-8') as file:
            file.write(value)

    @staticmethod
    def _find_thread():
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{pid}/comm', encoding='utf-8') as file:
                    if file.read() == 'ksmd\n':
                        return int(pid)
            except OSError:
                continue
        raise MergerError('found no ksmd: is the kernel built with KSM?')

    @staticmethod
    def set_run(guests, running):
        """Starts or stops merging."""
        del guests
        KernelMerger._write('run', '1' if running else '0')

    @staticmethod
    def row(guest):
        """The columns of the live table, from /proc/PID/ksm_stat."""
        figures = {}
        with open(f'/proc/{guest.pid}/ksm_stat', encoding='utf-8') as file:
            for line in file:
                fields = line.replace(':', ' ').split()
                if len(fields) == 2 and fields[1].isdigit():
                    figures[fields[0]] = int(fields[1])
        shared = figures.get('ksm_merging_pages', 0)
        zero = figures.get('ksm_zero_pages', 0)
        kinds = guest.page_kinds()
        return {'private': kinds.count(memory.PRIVATE) - shared,
                'shared': shared, 'zero': zero, 'broken': 0,
                'mappings': memory.mapping_count(guest.pid), 'cpu': 0.0}

    def saved_estimate(self, guests, rows):
        """Pages saved now: the kernel counts the whole host."""
        del guests, rows
        return int(self._read('pages_sharing')) + \
            int(self._read('ksm_zero_pages'))

    @staticmethod
    def outside_pages():
        """KSM pages are part of the guests' PSS."""
        return 0

    def cpu_seconds(self, guests):
        """ksmd's CPU since boot."""
        del guests
        return memory.cpu_seconds(self.thread)

    def counters(self, guests):
        """The kernel's own figures at the end."""
        del guests
        return {name: int(self._read(name))
                for name in ('pages_shared', 'pages_sharing',
                             'ksm_zero_pages', 'full_scans')}

    def restore(self):
        """Puts the settings back."""
        for name in (*self.SETTINGS, 'run'):
            self._write(name, self.saved[name])


class NoMerger:
    """Nobody merges: what the memory costs otherwise."""

    name = 'none'

    def set_run(self, guests, running):
        """Nothing to start."""

    @staticmethod
    def row(guest):
        """The columns of the live table."""
        kinds = guest.page_kinds()
        return {'private': kinds.count(memory.PRIVATE), 'shared': 0,
                'zero': 0, 'broken': 0,
                'mappings': memory.mapping_count(guest.pid), 'cpu': 0.0}

    @staticmethod
    def saved_estimate(guests, rows):
        """Nothing is saved."""
        del guests, rows
        return 0

    @staticmethod
    def outside_pages():
        """Nothing lies outside."""
        return 0

    @staticmethod
    def cpu_seconds(guests):
        """Nothing is spent."""
        del guests
        return 0.0

    @staticmethod
    def counters(guests):
        """Nothing happened."""
        del guests
        return {}

    def restore(self):
        """Nothing to put back."""
