# SPDX-License-Identifier: GPL-2.0-or-later
"""vm.py: one guest: its QEMU, its console, its memory."""

import dataclasses
import hashlib
import os
import re
import subprocess
import time

import memory
from qmp import Qmp, QmpError

RAM_ID = 'ram0'


class GuestError(Exception):
    """A guest did not start, ended, or did not get where it should."""


@dataclasses.dataclass
class Config:
    """What a guest is made of; the same for all guests of a run but args."""

    qemu: str
    accel: str
    image: str                  # tiny.elf, or the directory of a Debian guest
    mem_bytes: int
    run_dir: str
    backend: str = 'ksm'        # ksm, kernel or none
    broker: str = ''
    props: dict = dataclasses.field(default_factory=dict)
    args: str = ''              # more for the guest's command line
    trace: str = ''             # QEMU's trace events, into its log
    qemu_args: tuple = ()       # more of QEMU's own arguments
    disk: str = ''              # qcow2 over the Debian guest's, to be kept


class Guest:
    """A QEMU process with one guest; the caller stops it."""

    def __init__(self, config, index, name=None):
        self.config = config
        self.index = index
        self.name = name or f'vm{index + 1}'
        self.process = None
        self.qmp = None
        self.ram_id = RAM_ID    # of the object
        self.ram_block = RAM_ID
        self._log_at = 0
        self._log_rest = ''
        self._lines = []        # read, but not asked for yet
        self._ram = None
        base = os.path.join(config.run_dir, self.name)
        self.console_log = base + '.console.log'
        self.console_socket = base + '.console'
        self.qemu_log = base + '.qemu.log'
        self.qmp_socket = base + '.qmp'

    # -- command line ------------------------------------------------------

    def _backend(self):
        config = self.config
        size = f'id={RAM_ID},size={config.mem_bytes}'
        if config.backend == 'ksm':
            props = {'broker': config.broker, **config.props}
            extra = ''.join(f',{key}={value}' for key, value in props.items())
            return f'memory-backend-ksm,{size}{extra}'
        merge = 'on' if config.backend == 'kernel' else 'off'
        return f'memory-backend-ram,{size},merge={merge}'

    def _guest_arguments(self):
        config = self.config
        if not os.path.isdir(config.image):
            return ['-kernel', config.image, '-append',
                    f'seed={self.index + 1} {config.args}']
        drive = f'file={config.disk},cache=unsafe' if config.disk else \
            f'file={config.image}/disk.img,format=raw,snapshot=on'
        identity = hashlib.md5(self.name.encode()).hexdigest()
        return ['-kernel', f'{config.image}/vmlinuz',
                '-initrd', f'{config.image}/initrd.img',
                '-append', 'root=/dev/vda console=ttyS0 quiet no_timer_check '
                f'systemd.hostname={self.name} '
                f'systemd.machine_id={identity} {config.args}',
                '-drive', f'if=virtio,{drive}',
                '-device', 'virtio-rng-pci']

    def command(self):
        """QEMU's command line."""
        config = self.config
        return [config.qemu, '-name', f'{self.name},debug-threads=on',
                '-accel', config.accel,
                '-machine', f'pc,memory-backend={RAM_ID}',
                '-m', f'{config.mem_bytes >> 20}M',
                '-object', self._backend(),
                '-nodefaults', '-no-user-config', '-display', 'none',
                '-no-reboot',
                '-qmp', f'unix:{self.qmp_socket},server=on,wait=off',
                '-chardev', f'socket,id=console,path={self.console_socket},'
                f'server=on,wait=off,logfile={self.console_log}',
                '-serial', 'chardev:console',
                '-device', 'isa-debug-exit,iobase=0xf4',
                *(['-trace', config.trace] if config.trace else []),
                *config.qemu_args,
                *self._guest_arguments()]

    # -- life --------------------------------------------------------------

    def start(self):
        """Starts QEMU and connects to its monitor."""
        # No broker but the one we started: else an engine that loses it
        # would start another.
        environment = dict(os.environ, TMPDIR=self.config.run_dir,
                           GUEST_KSMD='/bin/false')
        with open(self.qemu_log, 'wb') as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env=environment, start_new_session=True)
        try:
            self.qmp = Qmp(self.qmp_socket, self.alive)
        except QmpError as error:
            raise GuestError(f'{error}; {self.why_ended()}') from error

    @property
    def pid(self):
        """QEMU's process."""
        return self.process.pid

    def alive(self):
        """Whether QEMU still runs."""
        return self.process is not None and self.process.poll() is None

    def why_ended(self):
        """The end of QEMU's own messages."""
        with open(self.qemu_log, encoding='utf-8', errors='replace') as log:
            lines = [line for line in log.read().splitlines()
                     if 'warning: ' not in line]
        status = self.process.poll()
        return f'{self.name}: QEMU status {status}: ' + '\n'.join(lines[-5:])

    def kill(self):
        """Ends QEMU at once (SIGKILL) and waits for it."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()

    # -- console -----------------------------------------------------------

    def _read_lines(self):
        try:
            with open(self.console_log, encoding='utf-8',
                      errors='replace') as log:
                log.seek(self._log_at)
                text = self._log_rest + log.read()
                self._log_at = log.tell()
        except FileNotFoundError:
            return
        *lines, self._log_rest = text.split('\n')
        self._lines += [line.rstrip('\r') for line in lines]

    def new_lines(self):
        """Lines of the console that were not asked for before."""
        self._read_lines()
        lines, self._lines = self._lines, []
        return lines

    def wait_line(self, pattern, timeout):
        """Waits for a console line; returns the match.

        Lines after it stay for the next call, lines before it are dropped.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._read_lines()
            while self._lines:
                match = re.search(pattern, self._lines.pop(0))
                if match:
                    return match
            if not self.alive():
                raise GuestError(self.why_ended())
            if time.monotonic() > deadline:
                raise GuestError(f'{self.name}: no "{pattern}" on the '
                                 f'console in {timeout} s')
            time.sleep(0.1)

    # -- figures -----------------------------------------------------------

    def ksm_stats(self):
        """This guest's object of query-ksm."""
        for entry in self.qmp.command('query-ksm'):
            if entry['id'].split('/')[-1] == self.ram_id:
                return entry
        raise GuestError(f'{self.name}: query-ksm does not know {self.ram_id}')

    def set_property(self, name, value):
        """Changes a property of the memory backend."""
        self.qmp.command('qom-set', path=f'/objects/{self.ram_id}',
                         property=name, value=value)

    def get_property(self, name):
        """A property of the memory backend."""
        return self.qmp.command('qom-get', path=f'/objects/{self.ram_id}',
                                property=name)

    def ram(self):
        """(start, end) of guest RAM in QEMU's address space."""
        if self._ram is None:
            self._ram = self._ram_of_monitor() or self._ram_of_maps()
        return self._ram

    def _ram_of_monitor(self):
        for line in self.qmp.monitor('info ramblock').splitlines():
            fields = line.split()
            if fields and fields[0].split('/')[-1] == self.ram_block:
                # The other columns are sizes and offsets, far smaller.
                for field in fields[1:]:
                    if re.fullmatch(r'0x[0-9a-f]+', field):
                        start = int(field, 16)
                        if start >= 1 << 40:
                            return start, start + self.config.mem_bytes
        return None

    def _ram_of_maps(self):
        """QEMU before 8.2 does not tell: the one mapping of that size."""
        for mapping in memory.smaps(self.pid, 0, 1 << 64):
            if mapping['end'] - mapping['start'] == self.config.mem_bytes:
                return mapping['start'], mapping['end']
        raise GuestError(f'{self.name}: found no mapping of guest RAM')

    def ram_pages(self):
        """Pages of guest RAM."""
        return self.config.mem_bytes // memory.PAGE

    def page_kinds(self):
        """What each page of guest RAM is for the host: see memory.py."""
        return memory.page_kinds(self.pid, self.ram()[0], self.ram_pages())

    def ram_pss_kb(self):
        """Real memory of guest RAM but the store, in kB."""
        return memory.ram_pss_kb(self.pid, *self.ram())


class TinyWatch:
    """Adds up what a tiny guest says on its console."""

    def __init__(self, guest):
        self.guest = guest
        self.passes = 0
        self.writes = 0
        self.mismatches = 0
        self.faults = []

    def poll(self):
        """Reads what is new."""
        for line in self.guest.new_lines():
            if line.startswith(('TINY MISMATCH', 'TINY FAULT')):
                self.faults.append(f'{self.guest.name}: {line}')
                self.mismatches = max(self.mismatches, 1)
            match = re.match(r'TINY pass=(\d+) .*writes=(\d+) '
                             r'mismatches=(\d+)', line)
            if match:
                self.passes, self.writes = int(match[1]), int(match[2])
                self.mismatches = max(self.mismatches, int(match[3]))
