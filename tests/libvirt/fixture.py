# SPDX-License-Identifier: GPL-2.0-or-later
"""fixture.py: a libvirt daemon for a test program, a broker, domains.

`run(tests)` starts the program again beside a daemon, once; there its tests
are run.  Where that is not possible all of them skip.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, '..', '..')
sys.path.insert(0, os.path.join(HERE, '..', 'qemu'))

import tap                                          # noqa: E402
from tap import Skip, check, say, wait_until        # noqa: E402
from world import BROKER, MIB, QEMU, need, tiny_image   # noqa: E402
from domain import Domain, libvirt_version, virsh   # noqa: E402
from merger import Broker                           # noqa: E402
from vm import Config, TinyWatch                    # noqa: E402

RUNNER = os.path.join(ROOT, 'scripts', 'lib', 'libvirt', 'run.py')
CTL = os.environ['GUEST_KSMCTL']
TOP = os.environ.get('KSM_LIBVIRT_DIR')
# Fast ones, so that tests are short.
PROPS = {'group': 'web', 'scan-interval': 50, 'scan-cpu-percent': 100}


def lacks():
    """Why no daemon of our own can be started, or None."""
    if os.geteuid() != 0:
        return 'this needs root'
    if not os.access('/usr/sbin/libvirtd', os.X_OK):
        return 'there is no libvirtd: install libvirt-daemon'
    if 'domain-xml' not in subprocess.run(
            [CTL, '--help'], stdout=subprocess.PIPE, encoding='utf-8',
            check=True).stdout:
        return 'guest-ksmctl was built without libvirt'
    if subprocess.run(['unshare', '--mount', 'true'], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        return 'no mount namespace can be made here'
    return None


def run(tests, options=()):
    """Runs them beside a daemon; OPTIONS of run.py."""
    if TOP is None:
        reason = lacks()
        if reason is None:
            os.execv(RUNNER, [RUNNER, *options, '/usr/bin/python3',
                              *sys.argv])

        def cannot_run():
            raise Skip('libvirt', reason)
        tests = [cannot_run] * len(tests)
    tap.run(tests)


def ctl(*arguments, status=0):
    """guest-ksmctl with that exit status; its output and errors."""
    done = subprocess.run([CTL, *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          encoding='utf-8', check=False, timeout=60)
    check(done.returncode == status,
          f'guest-ksmctl {" ".join(arguments)}: status {done.returncode}, '
          f'not {status}: {done.stdout}')
    return done.stdout


def define(xml):
    """A domain of that XML."""
    path = os.path.join(TOP, 'test.xml')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(xml)
    virsh('define', '--validate', path)


def dump(name):
    """The XML for the next start, to the byte."""
    return virsh('dumpxml', '--inactive', '--security-info', name)


class Fixture:
    """A broker and tiny guests as domains, all ended with it; a context."""

    def __init__(self, accel='tcg', mem_mib=32):
        need(accel)
        self.accel = accel
        self.mem_bytes = mem_mib * MIB
        self.image = tiny_image()
        self.domains = []
        self.broker = Broker(BROKER, '/run/guest-ksm/broker.sock',
                             os.path.join(TOP, 'broker.log'), 'guest-ksm')

    def __enter__(self):
        self.broker.start()
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and issubclass(kind, Exception):
            for domain in self.domains:
                say(domain.why_ended())
        for domain in self.domains:
            domain.kill()
        self.broker.kill()

    def domain(self, name, args='', **props):
        """A plain domain, defined and nothing more."""
        settings = dict(PROPS)
        settings.update({key.replace('_', '-'): value
                         for key, value in props.items()})
        domain = Domain(Config(
            qemu=QEMU, accel=self.accel, image=self.image,
            mem_bytes=self.mem_bytes, run_dir=TOP, props=settings,
            args=args), len(self.domains), name)
        self.domains.append(domain)
        domain.define()
        return domain

    @staticmethod
    def wait_filled(domain):
        """Until its memory is written once; a watch of what it says."""
        domain.wait_line('TINY filled', 120)
        return TinyWatch(domain)


def wait_passes(watch, count=2, limit=60):
    """Until the guest has verified all of its memory that often again."""
    watch.poll()
    goal = watch.passes + count

    def done():
        watch.poll()
        check(not watch.faults and not watch.mismatches,
              '\n'.join(watch.faults[:20]) or 'mismatches')
        return watch.passes >= goal
    wait_until(done, limit, f'{count} passes of {watch.guest.name}')


def wait_sharing(domain, least=500, limit=60):
    """Until it shares that many pages."""
    wait_until(lambda: domain.ksm_stats()['pages-sharing'] >= least, limit,
               f'{domain.name} shares {least} pages')


__all__ = ['BROKER', 'Broker', 'CTL', 'QEMU', 'RUNNER', 'Fixture', 'Skip',
           'TOP', 'check', 'ctl', 'define', 'dump', 'libvirt_version', 'run',
           'say', 'virsh', 'wait_passes', 'wait_sharing', 'wait_until']
