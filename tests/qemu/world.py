# SPDX-License-Identifier: GPL-2.0-or-later
"""world.py: a broker and tiny guests for one test, all ended with it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
BUILD = os.environ.get('KSM_BUILD', os.path.join(ROOT, 'build'))
sys.path.insert(0, os.path.join(ROOT, 'scripts', 'lib', 'guests'))

import memory                                       # noqa: E402,F401
from merger import Broker                           # noqa: E402
from qmp import QmpError                            # noqa: E402
from tap import Skip, check, say, wait_until        # noqa: E402
from vm import Config, Guest, GuestError, TinyWatch     # noqa: E402

QEMU = os.environ.get('KSM_TEST_QEMU',
                      os.path.join(BUILD, 'qemu', 'qemu-system-x86_64'))
BROKER = os.environ.get('GUEST_KSMD',
                        os.path.join(BUILD, 'plugin', 'guest-ksmd'))
MIB = 1 << 20


def need(accel):
    """Skips when QEMU, its backend or the accelerator is not there."""
    if not os.access(QEMU, os.X_OK):
        raise Skip('qemu', f'{QEMU} is not there: scripts/build-qemu')
    objects = subprocess.run([QEMU, '-object', 'help'], check=False,
                             stdout=subprocess.PIPE).stdout
    if b'memory-backend-ksm' not in objects:
        raise Skip('qemu', f'{QEMU} has no memory-backend-ksm')
    if accel == 'kvm' and not os.access('/dev/kvm', os.R_OK | os.W_OK):
        raise Skip('kvm', '/dev/kvm is not there or not permitted')


def tiny_image():
    """The tiny guest, compiled when it is older than its sources."""
    output = subprocess.run(
        [os.path.join(ROOT, 'guest-images', 'tiny', 'build')], check=True,
        stdout=subprocess.PIPE).stdout
    return output.decode().strip()


def image_of_packages(name, capability):
    """An image of guest-images, made from packages if it is not there."""
    made = subprocess.run(
        [os.path.join(ROOT, 'guest-images', name, 'build')], check=False,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if made.returncode:
        reason = made.stderr.decode(errors='replace').strip().splitlines()
        raise Skip(capability, f'no {name} image: ' + (reason or ['?'])[-1])
    return made.stdout.decode().strip().splitlines()[-1]


def debian_image():
    """The Debian guest."""
    return image_of_packages('debian', 'debian')


class World:
    """Use with `with`: ends every process on the way out."""

    def __init__(self, accel, mem_mib=64, image=None):
        need(accel.split(',')[0])
        self.accel = accel
        self.mem_bytes = mem_mib * MIB
        self.run_dir = tempfile.mkdtemp(prefix='ksm-qemu-')
        self.image = image or tiny_image()
        self.guests = []
        self.watches = {}
        # As fast as can be, unless a test says something else.
        self.broker = Broker(BROKER, os.path.join(self.run_dir, 'sock'),
                             os.path.join(self.run_dir, 'broker.log'),
                             options=['--max-cpu-percent=0'])

    def __enter__(self):
        self.broker.start()
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and issubclass(kind, Exception):
            self._tell()
        for guest in self.guests:
            guest.kill()
        self.broker.kill()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def _tell(self):
        """What the processes said, for the log of a failed test."""
        for name in sorted(os.listdir(self.run_dir)):
            if name.endswith('.log'):
                path = os.path.join(self.run_dir, name)
                with open(path, encoding='utf-8', errors='replace') as log:
                    lines = log.read().splitlines()
                say(f'--- {name}')
                say('\n'.join(lines[-12:]))

    def disk(self, name, *arguments):
        """A new disk (qcow2), made by qemu-img with these arguments."""
        tool = os.path.join(BUILD, 'qemu', 'qemu-img')
        if not os.access(tool, os.X_OK):
            raise Skip('qemu', f'{tool} is not there')
        path = os.path.join(self.run_dir, name)
        subprocess.run([tool, 'create', '-q', '-f', 'qcow2', path,
                        *arguments], check=True)
        return path

    def add(self, args='', trace='', qemu_args=(), disk='', **props):
        """Starts a guest; `args` for the guest, `props` for its backend."""
        settings = {'group': 'test', 'run': 'run', 'scan-interval': 20,
                    'scan-cpu-percent': 100}
        settings.update({key.replace('_', '-'): value
                         for key, value in props.items()})
        guest = Guest(Config(
            qemu=QEMU, accel=self.accel, image=self.image,
            mem_bytes=self.mem_bytes, run_dir=self.run_dir,
            broker=self.broker.path, props=settings, args=args,
            trace=trace, qemu_args=tuple(qemu_args), disk=disk),
            len(self.guests))
        self.guests.append(guest)
        guest.start()
        return guest

    def wait_filled(self, limit=120):
        """Waits until all guests have written their memory once."""
        for guest in self.guests:
            if guest.name not in self.watches:
                guest.wait_line('TINY filled', limit)
                self.watches[guest.name] = TinyWatch(guest)

    def watch(self, guest):
        """Watches a guest that was filled elsewhere (a migration)."""
        self.watches[guest.name] = TinyWatch(guest)

    # -- figures -----------------------------------------------------------

    def stats(self, guest):
        """query-ksm of one guest."""
        return guest.ksm_stats()

    def total(self, name):
        """The sum of a figure over the guests that run."""
        return sum(guest.ksm_stats()[name] for guest in self.guests
                   if guest.alive())

    def totals(self, *names):
        """Several sums at once."""
        all_stats = [guest.ksm_stats() for guest in self.guests
                     if guest.alive()]
        return {name: sum(stats[name] for stats in all_stats)
                for name in names}

    def all_say(self, name, value):
        """Whether all guests have that figure."""
        return all(guest.ksm_stats()[name] == value for guest in self.guests)

    def sharing(self):
        """Shared pages of each guest."""
        return [guest.ksm_stats()['pages-sharing'] for guest in self.guests]

    def wait_merges(self, limit, what):
        """Until more was merged than now."""
        before = self.total('merges')
        wait_until(lambda: self.total('merges') > before, limit, what)

    def passes(self):
        """Verified passes of all guests so far."""
        for watch in self.watches.values():
            watch.poll()
        return sum(watch.passes for watch in self.watches.values())

    def check_intact(self, alive=None):
        """No guest has seen a wrong byte, and all still run."""
        for guest in self.guests if alive is None else alive:
            check(guest.alive(), guest.why_ended() if not guest.alive()
                  else '')
        for watch in self.watches.values():
            watch.poll()
            check(not watch.faults and not watch.mismatches,
                  '\n'.join(watch.faults[:20]) or
                  f'{watch.guest.name}: {watch.mismatches} mismatches')

    def wait_pass(self, guest, limit=60):
        """Waits until a guest has written and verified all once more."""
        watch = self.watches[guest.name]
        watch.poll()
        goal = watch.passes + 2     # the one under way does not count

        def done():
            watch.poll()
            check(guest.alive(), f'{guest.name} has ended')
            return watch.passes >= goal
        wait_until(done, limit, f'a pass of {guest.name}')

    def run_for(self, seconds):
        """Lets the guests work, watching them; returns figures a second."""
        names = ('merges', 'zero-merges', 'breaks', 'rollbacks')
        before = self.totals(*names)
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            self.check_intact()
            time.sleep(0.25)
        took = time.monotonic() - start
        self.check_intact()
        after = self.totals(*names)
        deltas = {name: after[name] - before[name] for name in names}
        say(f'{took:.0f} s, {len(self.guests)} guests, {self.accel}: ' +
            ', '.join(f'{name} {value} ({value / took:.0f}/s)'
                      for name, value in deltas.items()) +
            f', passes {self.passes()}, writes '
            f'{sum(watch.writes for watch in self.watches.values())}')
        return deltas


__all__ = ["World", "QEMU", "BUILD", "debian_image", "Guest", "GuestError",
           "QmpError", "MIB", "memory"]
