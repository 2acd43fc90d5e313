#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""run.py: runs a command beside a libvirt daemon of its own.

usage: run.py [OPTION]... COMMAND [ARGUMENT]...
  --build DIR    a build directory of libvirt: its virtqemud and virsh, not
                 the system's libvirtd
  --dir DIR      for its files (a new one below /tmp, removed afterwards);
                 made when it is not there, and then not removed
  --conf LINE    for qemu.conf, as in 'spice_tls = 1'; more than once
  --without DEV  kvm or userfaultfd: QEMU's user may not use it

Ends with the command's status; 125 when the daemon did not start.
"""

import argparse
import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import uuid

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import place                    # noqa: E402 pylint: disable=C0413

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x20000
START_SECONDS = 60
BROKEN = 125
ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), '../../..'))
CACHE = os.environ.get('KSM_CACHE') or os.path.join(
    os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'),
    'guest-ksm')
LIBC = ctypes.CDLL(None, use_errno=True)


def parse_arguments():
    """The options; the command is what follows them."""
    parser = argparse.ArgumentParser(prog='run.py')
    parser.add_argument('--build', metavar='DIR')
    parser.add_argument('--dir', metavar='DIR')
    parser.add_argument('--conf', metavar='LINE', action='append', default=[])
    parser.add_argument('--without', metavar='DEV', action='append',
                        default=[], choices=place.DEVICES)
    parser.add_argument('command', nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.command[:1] == ['--']:
        del options.command[0]
    if not options.command:
        parser.error('a command is needed')
    if os.geteuid() != 0:
        parser.error('this needs root')
    if options.build:
        options.build = os.path.abspath(options.build)
    return options


def call(name, *arguments):
    """A function of the C library that fails with an errno."""
    if getattr(LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f'{name}: {os.strerror(number)}')


class Instance:
    """The daemons and the command; this process reaps what they leave.

    Process 1 may be slow to, and libvirt waits for the QEMUs that it asks
    for their capabilities to be gone.
    """

    def __init__(self, options, top):
        self.options = options
        self.top = top
        self.daemons = {}
        self.groups = []

    # -- surroundings ------------------------------------------------------

    def enter(self):
        """The namespace and all in it."""
        call('unshare', CLONE_NEWNS)
        place.mount('--make-rprivate', '/')
        place.open_way([ROOT, os.path.realpath(CACHE)])
        place.bind_directories(self.top)
        place.bind_accounts(self.top)
        place.own_broker_directory()
        place.bind_devices(self.top, self.options.without)
        place.configure(uuid.uuid4(), self.options.conf)
        # From outside of it the groups are removed.
        self.groups = place.bind_cgroups(f'ksm-libvirt-{os.getpid()}')

    def _program(self, name):
        # Where they keep it by default, all daemons would meet.
        options = ['--pid-file', f'/run/libvirt/{name}.pid']
        if not self.options.build:
            return [f'/usr/sbin/{name}', *options]
        return [os.path.join(self.options.build, 'run'),
                os.path.join(self.options.build, 'src', name), *options]

    def _environment(self):
        environment = dict(os.environ, KSM_LIBVIRT_DIR=self.top,
                           LIBVIRT_DEFAULT_URI='qemu:///system')
        if self.options.build:
            environment['LIBVIRT_DEFAULT_URI'] += '?mode=direct'
            path = os.path.join(self.top, 'bin')
            os.makedirs(path, exist_ok=True)
            wrapper = os.path.join(path, 'virsh')
            place.write(wrapper, '#!/bin/sh\n'
                        f'exec "{self.options.build}/run" '
                        f'"{self.options.build}/tools/virsh" "$@"\n')
            os.chmod(wrapper, 0o755)
            environment['PATH'] = path + ':' + environment['PATH']
        return environment

    # -- processes ---------------------------------------------------------

    def _spawn(self, command, environment, log=None):
        pid = os.fork()
        if pid:
            return pid
        try:
            if log:
                out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(os.open('/dev/null', os.O_RDONLY), 0)
                os.dup2(out, 1)
                os.dup2(out, 2)
                os.setsid()
            os.execvpe(command[0], command, environment)
        except OSError as error:
            print(f'run.py: {command[0]}: {error.strerror}', file=sys.stderr)
        os._exit(127)

    def _reap(self, flags):
        """(pid, status) of a child that has ended, or (0, 0)."""
        try:
            pid, status = os.waitpid(-1, flags)
        except ChildProcessError:
            return 0, 0
        if pid in self.daemons:
            name = self.daemons.pop(pid)
            print(f'run.py: {name} has ended, status {status}; '
                  f'{self.why(name)}', file=sys.stderr)
        return pid, status

    def why(self, name):
        """The last words of a daemon."""
        lines = []
        for log in (f'{name}.out', 'daemon.log'):
            try:
                with open(os.path.join(self.top, 'log', log),
                          encoding='utf-8', errors='replace') as file:
                    lines += file.read().splitlines()[-5:]
            except OSError:
                pass
        return '\n'.join(lines)

    def start(self):
        """The daemons; True when libvirt's answers."""
        daemon = 'virtqemud' if self.options.build else 'libvirtd'
        names = {'virtlogd': 'virtlogd-sock',
                 daemon: 'virtqemud-sock' if self.options.build
                 else 'libvirt-sock'}
        for name, sock in names.items():
            log = os.path.join(self.top, 'log', f'{name}.out')
            pid = self._spawn(self._program(name), dict(os.environ), log)
            self.daemons[pid] = name
            if not self._wait_socket(pid, f'/run/libvirt/{sock}'):
                print(f'run.py: {name} does not listen: {self.why(name)}',
                      file=sys.stderr)
                return False
        return True

    def _wait_socket(self, pid, path):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._reap(os.WNOHANG)
            if pid not in self.daemons:
                return False
            with socket.socket(socket.AF_UNIX) as sock:
                try:
                    sock.connect(path)
                    return True
                except OSError:
                    time.sleep(0.02)
        return False

    def run(self):
        """The command; returns its exit status."""
        command = self._spawn(self.options.command, self._environment())

        def forward(number, _):
            os.kill(command, number)
        signal.signal(signal.SIGTERM, forward)
        signal.signal(signal.SIGINT, signal.SIG_IGN)    # it gets its own
        while True:
            pid, status = self._reap(0)
            if pid == command:
                return os.waitstatus_to_exitcode(status)

    def _children(self):
        path = f'/proc/self/task/{os.getpid()}/children'
        with open(path, encoding='utf-8') as file:
            return [int(pid) for pid in file.read().split()]

    def end(self):
        """Everything that descends from us: daemons, QEMUs, brokers."""
        self.daemons.clear()
        while True:
            children = self._children()
            if not children:
                return
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            self._reap(0)


def inside(options, top, report):
    """In a process of its own, which has the namespace; its status."""
    instance = Instance(options, top)
    call('prctl', PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    instance.enter()
    os.write(report, '\n'.join(instance.groups).encode())
    os.close(report)
    try:
        return instance.run() if instance.start() else BROKEN
    finally:
        instance.end()


def main():
    """Makes and removes what is outside of the namespace."""
    options = parse_arguments()
    if options.dir:
        os.makedirs(options.dir, exist_ok=True)
    top = os.path.abspath(options.dir) if options.dir else \
        tempfile.mkdtemp(prefix='ksm-libvirt-')
    os.chmod(top, 0o755)
    from_child, report = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(from_child)
        status = BROKEN
        try:
            status = inside(options, top, report)
        finally:
            sys.stdout.flush()
            os._exit(status if status >= 0 else 128 - status)
    os.close(report)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
    with os.fdopen(from_child, encoding='utf-8') as file:
        groups = file.read().split('\n')
    _, status = os.waitpid(child, 0)
    place.remove_cgroups([group for group in groups if group])
    if not options.dir:
        shutil.rmtree(top, ignore_errors=True)
    return os.waitstatus_to_exitcode(status)


if __name__ == '__main__':
    sys.exit(main())
