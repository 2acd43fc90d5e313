# SPDX-License-Identifier: GPL-2.0-or-later
"""test-domain-xml.py: `guest-ksmctl domain-xml` on domains of a libvirtd."""

import json
import os
import re
import shutil

from fixture import QEMU, TOP, check, ctl, define, dump, run, say, virsh

QEMU_NS = " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"


def plain(name, machine='pc', attributes='', head='', features='<acpi/>',
          memory="unit='MiB'>64", tail='', devices='', emulator=QEMU):
    """The XML of a small domain, with what is special about it."""
    return f'''<domain type='qemu'{attributes}>
  <name>{name}</name>{head}
  <memory {memory}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='{machine}'>hvm</type></os>
  <features>{features}</features>
  {tail if tail.startswith('<clock') else ''}
  <devices>
    <emulator>{emulator}</emulator>
    <memballoon model='none'/>{devices}
  </devices>
  {'' if tail.startswith('<clock') else tail}
</domain>
'''


PLAIN = {
    'plain': {},
    'q35': {'machine': 'q35'},
    'no-acpi': {'features': '<pae/>'},
    'no-hpet': {'tail': "<clock offset='utc'><timer name='hpet' "
                "present='no'/></clock>"},
    'titled': {'head': "<title>It's &quot;a&quot; &lt;b&gt; ü</title>"
               "<description>two\nlines</description>"
               "<metadata><x:y xmlns:x='urn:x' z='a &quot; b'>t</x:y>"
               "</metadata>"},
    'own-args': {'attributes': QEMU_NS, 'tail': "<qemu:commandline>"
                 "<qemu:arg value='-machine'/><qemu:arg value='nvdimm=off'/>"
                 "<qemu:env name='A' value='b'/></qemu:commandline>"
                 "<qemu:capabilities><qemu:del capability='no-hpet'/>"
                 "</qemu:capabilities>",
                 'features': ''},
    'odd-size': {'memory': "unit='KiB'>70001"},
}


def domain_of(name, **more):
    """Defines a row of PLAIN; returns libvirt's XML of it."""
    define(plain(name, **{**PLAIN.get(name, {}), **more}))
    return dump(name)


def test_disable_gives_back_every_byte():
    """Of each kind of plain domain; and enabling twice is enabling once."""
    for name in PLAIN:
        before = domain_of(name)
        said = ctl('domain-xml', 'enable', name, '--group', 'web', '--yes')
        check(f'{name}: done' in said and '+    <qemu:arg' in said, said)
        enabled = dump(name)
        check('memory-backend-ksm,id=ksm0,' in enabled, enabled)
        check('nothing to change' in
              ctl('domain-xml', 'enable', name, '--yes'), 'changed again')
        check(dump(name) == enabled, 'changed again')
        check('sharing is enabled' in ctl('domain-xml', 'show', name), name)
        said = ctl('domain-xml', 'disable', name, '--yes')
        check('-    <qemu:arg' in said, said)
        check(dump(name) == before, f'{name}: {dump(name)}, was {before}')
        check('nothing to change' in
              ctl('domain-xml', 'disable', name, '--yes'), 'changed again')
        virsh('undefine', name)


def test_the_emulator_is_given_back():
    """And one that was chosen afterwards is left alone."""
    other, third = (os.path.join(TOP, name) for name in ('qemu-a', 'qemu-b'))
    for link in (other, third):
        os.symlink(QEMU, link)
    for name in ('plain', 'titled'):
        before = domain_of(name)
        for emulator in (other, other, third):
            ctl('domain-xml', 'enable', name, '--group', 'web', '--yes',
                '--emulator', emulator)
        state = json.loads(ctl('domain-xml', 'show', name, '--json'))
        check(state['emulator'] == third and
              state['emulator-before'] == QEMU, f'{state}')
        ctl('domain-xml', 'disable', name, '--yes')
        check(dump(name) == before, f'{dump(name)}, was {before}')
        ctl('domain-xml', 'enable', name, '--group', 'web', '--yes',
            '--emulator', other)
        define(dump(name).replace(f'<emulator>{other}', f'<emulator>{third}'))
        ctl('domain-xml', 'disable', name, '--yes')
        check(dump(name) == before.replace(QEMU, third), dump(name))
        virsh('undefine', name)


def test_settings():
    """Each option; what is not given again stays."""
    domain_of('plain')

    def enabled(*options):
        ctl('domain-xml', 'enable', 'plain', '--yes', *options)
        return re.search("value='memory-backend-ksm,(.*)'/>",
                         dump('plain'))[1]
    check(enabled('--group', 'a.b-c_9') == 'id=ksm0,size=67108864,'
          'group=a.b-c_9,broker=/run/guest-ksm/broker.sock,ram-id=pc.ram',
          dump('plain'))
    given = enabled('--broker', '/run/a,b', '--set', 'scan-cpu-percent=5',
                    '--set', 'required=on')
    check(given == 'id=ksm0,size=67108864,group=a.b-c_9,broker=/run/a,,b,'
          'ram-id=pc.ram,scan-cpu-percent=5,required=on', given)
    define(dump('plain').replace('65536<', '131072<'))
    check(enabled() == given.replace('67108864', '134217728'), enabled())
    virsh('undefine', 'plain')
    domain_of('odd-size')
    ctl('domain-xml', 'enable', 'odd-size', '--group', 'web', '--yes')
    check(f'size={69 << 20},' in dump('odd-size'), dump('odd-size'))
    virsh('undefine', 'odd-size')
    define(plain('bound', head="<numatune><memory mode='strict' nodeset='0'/>"
                 '</numatune>'))
    before = dump('bound')
    ctl('domain-xml', 'enable', 'bound', '--group', 'web', '--yes', '--set',
        'merge-across-nodes=off', '--set', 'keep-huge=64')
    check(',merge-across-nodes=off,keep-huge=64,host-nodes=0,policy=bind\'/>'
          in dump('bound'), dump('bound'))
    ctl('domain-xml', 'disable', 'bound', '--yes')
    check(dump('bound') == before, f'{dump("bound")}, was {before}')
    virsh('undefine', 'bound')


def test_it_asks_and_shows():
    """Nothing is changed without --yes where nobody can be asked."""
    before = domain_of('plain')
    said = ctl('domain-xml', 'enable', 'plain', '--group', 'web', status=2)
    check('+    <qemu:arg' in said and '--yes' in said, said)
    said = ctl('domain-xml', 'enable', 'plain', '--group', 'web', '--dry-run')
    check('+    <qemu:arg' in said, said)
    check(dump('plain') == before, 'it was changed')
    uuid = virsh('domuuid', 'plain').strip()
    check('plain: sharing is not enabled' in
          ctl('domain-xml', 'show', uuid), 'by UUID')
    virsh('undefine', 'plain')


REFUSED = {
    'numa-cells': ({'head': "<cpu><numa><cell id='0' cpus='0' memory='65536'"
                    "/></numa></cpu>"}, 'NUMA cells'),
    'dimms': ({'head': "<maxMemory slots='2' unit='MiB'>256</maxMemory>"
               "<cpu><numa><cell id='0' cpus='0' memory='65536'/></numa>"
               "</cpu>"}, 'memory devices'),
    'hugepages': ({'head': '<memoryBacking><hugepages/></memoryBacking>'},
                  'huge pages'),
    'locked': ({'head': '<memoryBacking><locked/></memoryBacking>'},
               'is locked'),
    'nosharepages': ({'head': '<memoryBacking><nosharepages/>'
                      '</memoryBacking>'}, '<nosharepages>'),
    'shared': ({'head': "<memoryBacking><access mode='shared'/>"
                '</memoryBacking>'}, "<access mode='shared'>"),
    'memfd': ({'head': "<memoryBacking><source type='memfd'/>"
               '</memoryBacking>'}, 'a file or memfd'),
    'immediate': ({'head': "<memoryBacking><allocation mode='immediate'/>"
                   '</memoryBacking>'}, 'allocated at the start'),
    'bound': ({'head': "<numatune><memory mode='strict' nodeset='0'/>"
               '</numatune>'}, 'bound to NUMA nodes'),
    'vhostuser': ({'head': "<memoryBacking><source type='memfd'/><access "
                   "mode='shared'/></memoryBacking>", 'devices':
                   "<interface type='vhostuser'><source type='unix' "
                   "path='/tmp/x' mode='server'/><model type='virtio'/>"
                   "</interface>"}, 'a vhost-user device'),
    'hostdev': ({'devices': "<hostdev mode='subsystem' type='pci'><source>"
                 "<address domain='0' bus='0' slot='31' function='7'/>"
                 "</source></hostdev>"}, 'a device of the host'),
    'own-backend': ({'attributes': QEMU_NS, 'tail': "<qemu:commandline>"
                     "<qemu:arg value='-object'/><qemu:arg value="
                     "'memory-backend-ram,id=x,size=4M'/>"
                     "</qemu:commandline>"}, 'a memory backend already'),
    'own-machine': ({'attributes': QEMU_NS, 'tail': "<qemu:commandline>"
                     "<qemu:arg value='-machine'/><qemu:arg value="
                     "'memory-backend=x'/></qemu:commandline>"},
                    "sets the machine's memory"),
}


def test_refusals():
    """Each has its own reason, and changes nothing."""
    for name, (special, reason) in REFUSED.items():
        define(plain(name, **special))
        before = dump(name)
        said = ctl('domain-xml', 'enable', name, '--group', 'web', '--yes',
                   status=1)
        say(said.strip())
        check(reason in said and f'{name}: cannot share' in said, said)
        check(dump(name) == before, 'it was changed')
        virsh('undefine', name)


def test_errors():
    """What cannot be done says why, and what to do."""
    domain_of('plain')
    rows = (
        (5, ('show', 'nobody'), 'virsh list'),
        (2, ('frobnicate', 'plain'), 'enable, disable'),
        (2, ('enable', 'plain'), '--group NAME'),
        (2, ('enable', 'plain', '--group', 'a/b'), 'not a valid name'),
        (2, ('enable', 'plain', '--group', 'x', '--set', 'size=1'),
         'use required='),
        (2, ('disable', 'plain', '--group', 'x'), 'are for enable'),
        (1, ('enable', 'plain', '--group', 'x', '--emulator', '/bin/echo'),
         'has no memory-backend-ksm'),
        (1, ('enable', 'plain', '--group', 'x', '--emulator', '/no/qemu'),
         '--emulator PATH'),
        (1, ('show', 'plain', '--connect', 'qemu+unix:///system?socket=/no'),
         '--connect URI'),
    )
    for status, words, wanted in rows:
        said = ctl('domain-xml', *words, status=status)
        check(wanted in said, said)
    virsh('undefine', 'plain')
    path = os.path.join(TOP, 'transient.xml')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(plain('transient'))
    virsh('create', path)
    said = ctl('domain-xml', 'enable', 'transient', '--group', 'x', status=1)
    check('is transient' in said, said)
    virsh('destroy', 'transient')


def test_a_session():
    """qemu:///session, whose broker is the user's."""
    runtime = os.path.join(TOP, 'session')
    home = os.path.join(TOP, 'home')
    for path in (runtime, home):
        os.makedirs(path, mode=0o700)
    os.environ.update(XDG_RUNTIME_DIR=runtime, HOME=home,
                      XDG_CONFIG_HOME=f'{home}/.config',
                      XDG_CACHE_HOME=f'{home}/.cache')
    uri = 'qemu:///session'
    path = os.path.join(TOP, 'session.xml')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(plain('mine'))
    virsh('-c', uri, 'define', path)
    before = virsh('-c', uri, 'dumpxml', '--inactive', 'mine')
    ctl('domain-xml', 'enable', 'mine', '--group', 'x', '--yes', '--connect',
        uri)
    check(f'broker={runtime}/guest-ksm/broker.sock' in
          virsh('-c', uri, 'dumpxml', '--inactive', 'mine'), 'broker')
    ctl('domain-xml', 'disable', 'mine', '--yes', '--connect', uri)
    check(virsh('-c', uri, 'dumpxml', '--inactive', 'mine') == before,
          'not given back')
    shutil.rmtree(home)


run([test_disable_gives_back_every_byte, test_the_emulator_is_given_back,
     test_settings, test_it_asks_and_shows, test_refusals, test_errors,
     test_a_session])
