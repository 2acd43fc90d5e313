# SPDX-License-Identifier: GPL-2.0-or-later
"""domain.py: one guest that libvirt runs, with the figures of vm.Guest.

For use beside a daemon of scripts/lib/libvirt.  The domain is defined by a
plain XML, without anything of memory-backend-ksm; `guest-ksmctl domain-xml`
adds that, as an administrator would.
"""

import hashlib
import json
import os
import pwd
import shutil
import subprocess
from xml.sax.saxutils import escape

from qmp import QmpError
from vm import Guest, GuestError

RAM_ID = 'ksm0'                 # guest-ksmctl's
RAM_BLOCK = 'pc.ram'

XML = '''\
<domain type='{type}'>
  <name>{name}</name>
  <memory unit='b'>{memory}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    {initrd}<cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <emulator>{emulator}</emulator>
    <controller type='usb' model='none'/>
    {devices}<serial type='file'>
      <source path='{console}'/>
    </serial>
    <memballoon model='none'/>
  </devices>
</domain>
'''

DISK = '''<disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{overlay}'/>
      <backingStore type='file'>
        <format type='raw'/>
        <source file='{image}'>
          <seclabel model='dac' relabel='no'/>
        </source>
      </backingStore>
      <target dev='vda' bus='virtio'/>
    </disk>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    '''


def virsh(*arguments, check=True):
    """virsh's output; GuestError with its words when it fails."""
    done = subprocess.run(['virsh', '-q', *arguments], check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding='utf-8')
    if check and done.returncode != 0:
        raise GuestError(f'virsh {" ".join(arguments)}: '
                         f'{done.stderr.strip()}')
    return done.stdout


def libvirt_version():
    """The daemon's, as in '9.0.0'."""
    return virsh('version', '--daemon').split('daemon: ')[1].split()[0]


def ctl(*arguments):
    """guest-ksmctl's output; GuestError with its words when it fails."""
    done = subprocess.run([os.environ['GUEST_KSMCTL'], *arguments],
                          check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding='utf-8')
    if done.returncode != 0:
        raise GuestError(f'guest-ksmctl {" ".join(arguments)}: status '
                         f'{done.returncode}: {done.stderr.strip()}')
    return done.stdout


class VirshQmp:
    """qmp.Qmp by way of libvirt; without events."""

    def __init__(self, name):
        self.name = name

    def command(self, name, **arguments):
        """Runs a command and returns what it returns."""
        request = {'execute': name, 'arguments': {
            key.replace('_', '-'): value for key, value in arguments.items()}}
        try:
            answer = json.loads(virsh('qemu-monitor-command', self.name,
                                      json.dumps(request)))
        except GuestError as error:
            raise QmpError(str(error)) from error
        if 'error' in answer:
            raise QmpError(f"{name}: {answer['error']['desc']}")
        return answer['return']

    def monitor(self, line):
        """Runs a command of the human monitor; returns its text."""
        return self.command('human-monitor-command', command_line=line)

    def close(self):
        """There is no connection."""


class Domain(Guest):
    """A guest as a domain of libvirt; the caller stops it."""

    def __init__(self, config, index, name=None):
        super().__init__(config, index, name)
        self.ram_id, self.ram_block = RAM_ID, RAM_BLOCK
        self.qmp = VirshQmp(self.name)
        # Where libvirt keeps what its guests say.
        self.console_log = f'/var/log/libvirt/{self.name}.console'
        self.qemu_log = f'/var/log/libvirt/qemu/{self.name}.log'

    # -- definition --------------------------------------------------------

    def _copy(self, path):
        """libvirt gives such files to QEMU's user: a copy, for all guests."""
        copy = os.path.join(self.config.run_dir, os.path.basename(path))
        if not os.path.exists(copy):
            shutil.copyfile(path, copy)
        return copy

    def _boot(self):
        """What differs between the guests' systems."""
        config = self.config
        if not os.path.isdir(config.image):
            return {'kernel': self._copy(config.image), 'initrd': '',
                    'devices': '', 'cmdline': f'seed={self.index + 1} {config.args}'}
        image = os.path.realpath(f'{config.image}/disk.img')
        overlay = os.path.join(config.run_dir, f'{self.name}.qcow2')
        subprocess.run(
            [os.path.join(os.path.dirname(config.qemu), 'qemu-img'), 'create',
             '-q', '-f', 'qcow2', '-F', 'raw', '-b',
             image, overlay], check=True)
        identity = hashlib.md5(self.name.encode()).hexdigest()
        kernel = self._copy(f'{config.image}/vmlinuz')
        initrd = self._copy(f'{config.image}/initrd.img')
        return {'kernel': kernel,
                'initrd': f'<initrd>{initrd}</initrd>\n    ',
                'devices': DISK.format(overlay=overlay, image=image),
                'cmdline': 'root=/dev/vda console=ttyS0 quiet no_timer_check '
                f'systemd.hostname={self.name} '
                f'systemd.machine_id={identity} {config.args}'}

    def xml(self):
        """A plain domain."""
        config = self.config
        boot = self._boot()
        boot['cmdline'] = escape(boot['cmdline'])
        return XML.format(
            type='kvm' if config.accel == 'kvm' else 'qemu', name=self.name,
            memory=config.mem_bytes, emulator=config.qemu,
            console=self.console_log, **boot)

    def define(self):
        """Makes it known to libvirt."""
        path = os.path.join(self.config.run_dir, f'{self.name}.xml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(self.xml())
        virsh('define', '--validate', path)

    def enable(self):
        """Has guest-ksmctl add our backend; returns what it printed."""
        props = dict(self.config.props)
        group = props.pop('group')
        return ctl('domain-xml', 'enable', self.name, '--yes', '--group',
                   group, *(word for key, value in props.items()
                            for word in ('--set', f'{key}={value}')))

    # -- life --------------------------------------------------------------

    def start(self):
        """Defines it, enables sharing, and starts it."""
        self.define()
        if self.config.backend == 'ksm':
            self.enable()
        self.start_defined()

    def start_defined(self):
        """virsh start."""
        virsh('start', self.name)

    @property
    def pid(self):
        with open(f'/run/libvirt/qemu/{self.name}.pid',
                  encoding='ascii') as file:
            return int(file.read())

    def alive(self):
        try:
            return os.path.exists(f'/proc/{self.pid}')
        except FileNotFoundError:
            return False

    def confinement(self):
        """What QEMU may not do, as the kernel has it; False: it may."""
        with open(f'/proc/{self.pid}/status', encoding='utf-8') as file:
            status = dict(line.rstrip('\n').split(':\t', 1) for line in file)
        user = pwd.getpwnam('libvirt-qemu')
        return {
            'user libvirt-qemu':
                set(status['Uid'].split()) == {str(user.pw_uid)},
            'no capabilities': int(status['CapEff'], 16) == 0,
            'sandbox': status['Seccomp'] == '2',
            'a /dev of its own': os.readlink(f'/proc/{self.pid}/ns/mnt') !=
                os.readlink('/proc/self/ns/mnt')}

    def why_ended(self):
        try:
            with open(self.qemu_log, encoding='utf-8') as log:
                return f'{self.name}: ' + ''.join(log.readlines()[-5:])
        except OSError as error:
            return f'{self.name}: {error}'

    def kill(self):
        virsh('destroy', self.name, check=False)
        virsh('undefine', self.name, '--managed-save', check=False)
