# SPDX-License-Identifier: GPL-2.0-or-later
"""test-apparmor.py: the broker and QEMU under AppArmor's rules of contrib/.

As on a host: the broker and its sockets are where the profile expects them,
started by root and as a user's own; guests share, settings are changed, and the
broker is killed and started again.  The kernel's log must have no denial.
"""

import os
import pwd
import shutil
import subprocess

from inside import ROOT, write
from merger import Broker, MergerError
from tap import check, run, say, wait_until
from world import BROKER, QEMU, GuestError, World

CONTRIB = os.path.join(ROOT, 'contrib')
PROFILE = os.path.join(CONTRIB, 'apparmor', 'usr.bin.guest-ksmd')
FOR_QEMU = os.path.join(CONTRIB, 'libvirt', 'apparmor.libvirt-qemu')
LOCAL = '/etc/apparmor.d/local/abstractions/libvirt-qemu'
PROGRAM = '/usr/bin/guest-ksmd'
CTL = os.environ['GUEST_KSMCTL']
OF_HOST = '/run/guest-ksm/broker.sock'
OF_USER = '/run/user/0/guest-ksm/broker.sock'
LOAD = 'share=60 zero=15 fill=5 write_pct=1 pause_ms=100'
MEM_MIB = 16
SHARED = 1000                   # pages of each guest
# Of what libvirt gives a domain, all that these guests need.
QEMU_PROFILE = '''abi <abi/3.0>,
include <tunables/global>
profile lab-qemu {qemu} {{
  include <abstractions/base>
  owner @{{PROC}}/@{{pid}}/task/@{{tid}}/comm rw,
  /sys/devices/system/node/ r,
  /sys/devices/system/node/node[0-9]*/meminfo r,
  /usr/share/** r,
  {build}/** mr,
  /tmp/ksm-qemu-*/** rwk,
  include "{local}"
}}
'''


def denials():
    """What AppArmor has refused since the start."""
    log = subprocess.run(['dmesg'], check=True,
                         stdout=subprocess.PIPE).stdout.decode()
    return [line for line in log.splitlines() if 'apparmor="DENIED"' in line]


def load(path):
    """Takes a profile into the kernel."""
    subprocess.run(['apparmor_parser', '-r', '-W', path], check=True)


def install():
    """Program and profile, as a package would."""
    if not os.path.exists(PROGRAM):
        # Else it leaves out lines of its log when there are many.
        write('/proc/sys/kernel/printk_ratelimit', 0)
        shutil.copy(BROKER, PROGRAM)
        shutil.copy(PROFILE, '/etc/apparmor.d/')
        load(f'/etc/apparmor.d/{os.path.basename(PROFILE)}')


def confine_qemu(rules):
    """Every QEMU from now on, with these rules beside libvirt's."""
    os.makedirs(os.path.dirname(LOCAL), exist_ok=True)
    write(LOCAL, ''.join(f'{rule}\n' for rule in rules))
    path = '/etc/apparmor.d/lab-qemu'
    qemu = os.path.realpath(QEMU)
    build = os.path.dirname(os.path.dirname(qemu))
    write(path, QEMU_PROFILE.format(qemu=qemu, build=build, local=LOCAL))
    load(path)


def rules_for_qemu():
    """Those of contrib/libvirt."""
    with open(FOR_QEMU, encoding='utf-8') as file:
        return [line.strip() for line in file
                if line.strip() and not line.startswith('#')]


def check_confined(pid, profile):
    """Not merely complained of."""
    with open(f'/proc/{pid}/attr/apparmor/current', encoding='utf-8') as file:
        found = file.read().strip()
    check(found == f'{profile} (enforce)', f'{pid} is {found}')


class Confined(World):
    """A world whose broker is the installed one."""

    def __init__(self, path, *words):
        install()
        super().__init__('tcg', MEM_MIB)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.broker = Broker(PROGRAM, path,
                             os.path.join(self.run_dir, 'broker.log'))
        self.broker.command = [PROGRAM, *words]
        self.before = denials()

    def steer(self):
        """guest-ksmctl sees the guests and gives an order."""
        socket = os.path.join(os.path.dirname(self.broker.path),
                              'control.sock')
        for words in (['status'], ['vms'], ['history'],
                      ['set', 'test', 'scan-cpu-percent=90']):
            subprocess.run([CTL, '--socket', socket, *words], check=True,
                           stdout=subprocess.DEVNULL)

    def share(self):
        """Two guests, through the life of two brokers."""
        check_confined(self.broker.process.pid, 'guest-ksmd')
        for _ in range(2):
            self.add(LOAD)
        self.wait_filled()
        self.wait_sharing('at first')
        self.steer()
        self.broker.kill()
        self.broker.start()
        wait_until(lambda: all(guest.ksm_stats()['broker-losses'] and
                               guest.ksm_stats()['broker'] == 'connected'
                               for guest in self.guests), 60,
                   'the guests know the next broker')
        self.wait_merges(60, 'the guests share anew')
        self.wait_sharing('after that')
        check(self.broker.store_bytes() > 0, 'the store was not taken up')
        self.check_intact()
        self.check_no_denial()

    def wait_sharing(self, when):
        """Until both share."""
        took = wait_until(lambda: min(self.sharing()) > SHARED, 60,
                          f'the guests share {when}')
        say(f'shared {when} after {took:.1f} s')

    def check_no_denial(self):
        """None more than there were."""
        more = denials()[len(self.before):]
        check(not more, '\n'.join(more))


def what_the_profile_does_not_allow_is_seen():
    """Else the absence of denials would mean nothing."""
    with Confined(OF_USER, '--listen', OF_USER) as world:
        world.broker.kill()
        world.broker.command = [PROGRAM, '--listen', '/etc/broker.sock']
        try:
            world.broker.start()
            check(False, 'a socket in /etc was allowed')
        except MergerError:
            pass
        more = denials()[len(world.before):]
        check(any('name="/etc/broker.sock' in line for line in more),
              f'the kernel has told of {more}')


def the_broker_of_a_host():
    """Started by root, becoming another user, with groups for its sockets."""
    shutil.rmtree(os.path.dirname(OF_HOST), ignore_errors=True)
    with Confined(OF_HOST, '--user', 'daemon', '--socket-group', 'root',
                  '--control-group', 'root') as world:
        user = pwd.getpwnam('daemon').pw_uid
        # It listens before it becomes that user.
        wait_until(lambda: os.stat(f'/proc/{world.broker.process.pid}').st_uid
                   == user, 20, 'it runs as daemon')
        world.share()


def the_broker_of_a_user():
    """In the user's runtime directory."""
    with Confined(OF_USER, '--listen', OF_USER) as world:
        world.share()


def qemu_under_libvirts_rules():
    """With those of contrib/libvirt."""
    confine_qemu(rules_for_qemu())
    with Confined(OF_HOST) as world:
        world.share()
        for guest in world.guests:
            check_confined(guest.pid, 'lab-qemu')


def each_of_the_rules_for_qemu_is_needed():
    """Without it, the kernel refuses something to a guest that shares.

    But for sockets: AppArmor looks at who connects to their path since Linux
    6.17, and in Ubuntu's kernels.
    """
    rules = rules_for_qemu()
    for left_out in [rule for rule in rules if '.sock ' not in rule]:
        confine_qemu([rule for rule in rules if rule != left_out])
        with Confined(OF_HOST) as world:
            try:
                guest = world.add(LOAD)
                why = guest.ksm_stats()['broker']
            except GuestError as error:
                why = str(error).rsplit(': ', maxsplit=1)[-1]
            wait_until(lambda w=world: denials()[len(w.before):], 20,
                       f'a denial without {left_out}')
            say(f'without {left_out} {why}')


run([what_the_profile_does_not_allow_is_seen, the_broker_of_a_host,
     the_broker_of_a_user, qemu_under_libvirts_rules,
     each_of_the_rules_for_qemu_is_needed])
