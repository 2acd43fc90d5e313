# SPDX-License-Identifier: GPL-2.0-or-later
"""native_host.py: a libvirt of build/libvirt with a broker, and its domains.

Runs beside a virtqemud (scripts/lib/libvirt/run.py), or talks to that of
another instance by its socket: two instances are two hosts to libvirt.
"""

import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.realpath(os.path.join(HERE, '..', '..'))
sys.path.insert(0, os.path.join(ROOT, 'scripts', 'lib', 'guests'))
sys.path.insert(0, os.path.join(HERE, '..', 'qemu'))

from gdb_memory import GdbMemory                    # noqa: E402
from merger import Broker                           # noqa: E402
from tap import check, wait_until                   # noqa: E402

BUILD = os.path.realpath(os.environ.get('KSM_BUILD',
                                        os.path.join(ROOT, 'build')))
QEMU = os.environ.get('KSM_TEST_QEMU',
                      os.path.join(BUILD, 'qemu', 'qemu-system-x86_64'))
IMAGE = os.path.join(BUILD, 'guests', 'tiny.elf')
BROKER_SOCKET = '/run/guest-ksm/broker.sock'
MIB = 1 << 20
VIRSH_SECONDS = 120

KSM = """  <memoryBacking>
    <source type='ksm'/>
    <ksm group='{group}' required='yes'{options}>
      <scan cpuPercent='100' interval='20'/>
    </ksm>
  </memoryBacking>
"""
XML = """<domain type='{kind}'>
  <name>{name}</name>
{maximum}  <memory unit='MiB'>64</memory>
{backing}  <vcpu>{vcpus}</vcpu>{tune}
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{image}</kernel>
    <cmdline>{args}</cmdline>
  </os>
  <features><acpi/></features>
{cpu}  <devices>
    <emulator>{qemu}</emulator>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='{log}' append='on'/></serial>
    <memballoon model='none'/>
{memory}  </devices>
</domain>
"""
CELLS = """  <cpu><numa>
    <cell id='0' cpus='0' memory='32' unit='MiB'/>
    <cell id='1' cpus='1' memory='32' unit='MiB'/>
  </numa></cpu>
"""
# Kept to the host's first node.
BOUND = """
  <numatune><memory mode='strict' nodeset='0'/></numatune>"""
KEPT = " mergeAcrossNodes='no' keepHuge='64'"
ROOM = "  <maxMemory slots='2' unit='MiB'>512</maxMemory>\n"
DIMM = """    <memory model='dimm'>
      <target><size unit='MiB'>32</size><node>0</node></target>
    </memory>
"""
VIRTIO_MEM = """    <memory model='virtio-mem'>
      <target>
        <size unit='MiB'>64</size><node>1</node>
        <block unit='MiB'>2</block><requested unit='MiB'>32</requested>
      </target>
    </memory>
"""


class Refused(Exception):
    """virsh has said no; the text is its reason."""


def start_broker():
    """This instance's, on its host's socket, for libvirt's QEMU."""
    program = os.environ.get('GUEST_KSMD',
                             os.path.join(BUILD, 'plugin', 'guest-ksmd'))
    broker = Broker(program, BROKER_SOCKET, '/run/guest-ksm/broker.log',
                    'guest-ksm')
    broker.start()
    return broker


class Host:
    """A virtqemud; `top` is a directory that all instances see."""

    def __init__(self, top, directory=None):
        self.top = top
        self.uri = None
        self.directory = directory or os.environ['KSM_LIBVIRT_DIR']
        if directory:
            self.uri = ('qemu+unix:///system?mode=direct&socket='
                        f'{directory}/run/virtqemud-sock')

    def virsh(self, *words):
        """One command; its output, or Refused."""
        command = ['virsh', '-q'] + (['-c', self.uri] if self.uri else [])
        done = subprocess.run(command + list(words), check=False,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=VIRSH_SECONDS)
        if done.returncode != 0:
            raise Refused(done.stderr.decode(errors='replace').strip())
        return done.stdout.decode()

    def file(self, name, text):
        """A file for virsh; its path."""
        path = os.path.join(self.top, name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        return path


class Domain:
    """A tiny guest that checks its memory all the time."""

    def __init__(self, host, name, seed, group='web', numa=False,
                 kept=False, emulator=QEMU, kind='qemu'):
        self.host = host
        self.name = name
        self.log = os.path.join(host.top, f'{name}.log')
        self.read_to = 0
        self.xml = XML.format(
            name=name, image=os.path.join(host.top, 'tiny.elf'), log=self.log,
            args=f'seed={seed} share=60 write_pct=1 pause_ms=50',
            backing=KSM.format(group=group, options=KEPT if kept else ''),
            tune=BOUND if kept else '', qemu=emulator, kind=kind,
            vcpus=2 if numa else 1, cpu=CELLS if numa else '',
            maximum=ROOM if numa else '',
            memory=DIMM + VIRTIO_MEM if numa else '')

    def create(self):
        """Defines and starts it."""
        path = self.host.file(f'{self.name}.xml', self.xml)
        self.host.virsh('create', path)
        return self

    def destroy(self):
        """Ends it, if it is still there."""
        try:
            self.host.virsh('destroy', self.name)
        except Refused:
            pass

    def monitor(self, command, **arguments):
        """A QMP command through libvirt."""
        reply = json.loads(self.host.virsh(
            'qemu-monitor-command', self.name,
            json.dumps({'execute': command, 'arguments': arguments})))
        return reply['return']

    def rows(self):
        """query-ksm: {id: figures}."""
        return {row['id']: row for row in self.monitor('query-ksm')}

    def sharing(self):
        """Pages shared, as virsh domstats tells."""
        return self.stats().get('pages-sharing.cur', 0)

    def stats(self):
        """The memory.ksm. fields of domstats."""
        text = self.host.virsh('domstats', self.name, '--memory')
        return {key: int(value) for key, value in re.findall(
            r'^\s*memory\.ksm\.(\S+)=(\d+)$', text, re.M)}

    def pid(self):
        """The QEMU's process."""
        path = os.path.join(self.host.directory, 'run', 'qemu',
                            f'{self.name}.pid')
        with open(path, encoding='utf-8') as file:
            return int(file.read())

    def memory(self):
        """A GdbMemory; the guest stops while it is used."""
        ident = self.host.virsh('domid', self.name).strip()
        path = f'/var/lib/libvirt/qemu/domain-{ident}-{self.name}/gdb.sock'
        self.host.virsh('qemu-monitor-command', self.name, '--hmp',
                        f'gdbserver unix:{path},server=on,wait=off')
        return GdbMemory(path)

    # -- the oracle --------------------------------------------------------

    def lines(self):
        """All it has said."""
        try:
            with open(self.log, encoding='utf-8', errors='replace') as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def passes(self):
        """Passes over all memory, none of which found a wrong byte."""
        last = 0
        for line in self.lines():
            check(not line.startswith(('TINY MISMATCH', 'TINY FAULT')),
                  f'{self.name}: {line}')
            match = re.match(r'TINY pass=(\d+) .* mismatches=(\d+)', line)
            if match:
                last = int(match[1])
                check(match[2] == '0', f'{self.name}: {line}')
        return last

    def verified(self, limit=60):
        """Waits for a whole pass that began after now."""
        goal = self.passes() + 2
        wait_until(lambda: self.passes() >= goal, limit,
                   f'a verified pass of {self.name}')

    def shares(self, least, limit=90):
        """Waits until so many pages are shared; the seconds it took."""
        return wait_until(lambda: self.sharing() >= least, limit,
                          f'{self.name} shares {least} pages')
