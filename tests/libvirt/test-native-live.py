# SPDX-License-Identifier: GPL-2.0-or-later
"""test-native-live.py: domains of a patched libvirt, started for real.

Two instances of virtqemud, each with a broker, stand for two hosts.  Needs
build/libvirt (scripts/build-libvirt), build/qemu, the tiny guest, and root.
"""

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile

import native_host as native
from native_host import Domain, Host, MIB, Refused, check
from tap import Skip, run, say, wait_until

RUNNER = os.path.join(native.ROOT, 'scripts', 'lib', 'libvirt', 'run.py')
PYTHON = '/usr/bin/python3'
STOCK_QEMU = '/usr/bin/qemu-system-x86_64'
# Of 16,050 pages 60 % are in both guests; some are being written.
ENOUGH = 7000
PAGE = 4096
DIMM_PAGES = 256
HOSTS = {}


def other_host():
    """Runs in the second instance: a broker, until stdin ends."""
    broker = native.start_broker()
    print('ready', flush=True)
    sys.stdin.read()
    broker.kill()


def pair(host, prefix, **more):
    """Two domains that have much in common."""
    return [Domain(host, f'{prefix}{seed}', seed, **more).create()
            for seed in (1, 2)]


def status_of(pid):
    """/proc/PID/status as a dictionary."""
    with open(f'/proc/{pid}/status', encoding='utf-8') as file:
        return dict(line.rstrip('\n').split(':', 1) for line in file)


# The first pair lives through several tests, as starting takes seconds.


def domcapabilities_list_the_source():
    """What a management program asks before it writes XML."""
    text = HOSTS['a'].virsh('domcapabilities', '--virttype', 'qemu',
                            '--emulatorbin', native.QEMU)
    block = re.search(r'<memoryBacking.*?</memoryBacking>', text, re.S)
    check(block and '<value>ksm</value>' in block[0], text[:2000])


def a_confined_domain_shares():
    """As libvirt-qemu, without capabilities, under seccomp, own /dev."""
    HOSTS['pair'] = pair(HOSTS['a'], 'tiny')
    user = pwd.getpwnam('libvirt-qemu').pw_uid
    for domain in HOSTS['pair']:
        status = status_of(domain.pid())
        check(status['Uid'].split() == [str(user)] * 4, status['Uid'])
        check(int(status['CapEff'], 16) == 0, status['CapEff'])
        check(status['Seccomp'].strip() == '2', status['Seccomp'])
        check(os.readlink(f'/proc/{domain.pid()}/ns/mnt') !=
              os.readlink('/proc/self/ns/mnt'), 'no mount namespace')
    for domain in HOSTS['pair']:
        took = domain.shares(ENOUGH)
        say(f'{domain.name}: {domain.sharing()} pages shared '
            f'after {took:.1f} s')
        domain.verified()


def domstats_show_what_query_ksm_has():
    """Names, types and values; --vm has none of them."""
    domain = HOSTS['pair'][0]
    stats = domain.stats()
    say(' '.join(f'memory.ksm.{name}={value}'
                 for name, value in sorted(stats.items())[:6]) + ' ...')
    states = sum(stats[f'{name}.cur'] for name in (
        'pages-untouched', 'pages-volatile', 'pages-unshared',
        'pages-sharing', 'zero-pages', 'pages-broken', 'pages-excluded'))
    check(stats['pages-total.cur'] == 64 * MIB // PAGE, stats)
    check(states == stats['pages-total.cur'], f'{states} in states')
    row = domain.rows()['pc.ram']
    later = domain.stats()
    for name in ('merges', 'full-scans', 'cpu-ns'):
        check(stats[f'{name}.sum'] <= row[name] <= later[f'{name}.sum'],
              f'{name} {stats[f"{name}.sum"]} {row[name]}')
    text = HOSTS['a'].virsh('domstats', domain.name, '--vm')
    check('pages-sharing' not in text, text)


def monitor_recipes_of_the_docs_work():
    """Pause it over libvirt, and see the event."""
    domain = HOSTS['pair'][0]
    watch = subprocess.Popen(
        ['virsh', 'qemu-monitor-event', domain.name, '--event', 'KSM_STATE',
         '--regex', '--timeout', '30'], stdout=subprocess.PIPE)
    try:
        def seen():
            # Until the watch is there no event comes of it: do it again.
            for value in ('pause', 'run'):
                domain.monitor('qom-set', path='/objects/pc.ram',
                               property='run', value=value)
            return watch.poll() is not None
        wait_until(seen, 40, 'an event')
    finally:
        watch.kill()
    text = watch.communicate()[0].decode()
    check('KSM_STATE_CHANGED' in text, text)
    say(text.splitlines()[0])


def a_saved_domain_is_restored_and_shares_again():
    """Its content is what it was, and it finds its peer again."""
    domain = HOSTS['pair'][0]
    path = os.path.join(HOSTS['a'].top, 'saved')
    HOSTS['a'].virsh('save', domain.name, path)
    passes = domain.passes()
    HOSTS['a'].virsh('restore', path)
    os.unlink(path)
    domain.verified()
    took = domain.shares(ENOUGH)
    say(f'restored after pass {passes}; {domain.sharing()} pages shared '
        f'{took:.1f} s later')


def live_migration_keeps_content_and_sharing():
    """To another virtqemud, where a domain has the same in common."""
    domain, there = HOSTS['pair'][0], HOSTS['b']
    peer = Domain(there, 'peer', 7).create()
    HOSTS['peer'] = peer
    HOSTS['a'].virsh('migrate', '--live', domain.name, there.uri,
                     '--migrateuri', 'tcp://127.0.0.1')
    domain.host = there
    domain.verified()
    took = domain.shares(ENOUGH)
    say(f'migrated; {domain.sharing()} pages shared {took:.1f} s later')
    check('ksm' in there.virsh('dumpxml', domain.name), 'the source is gone')
    peer.verified()


def a_domain_moves_to_plain_memory_and_back():
    """Sharing is no part of the ABI: another XML on either side."""
    domain, here, there = HOSTS['pair'][0], HOSTS['a'], HOSTS['b']
    xml = there.virsh('dumpxml', '--migratable', domain.name)
    plain = re.sub(r'  <memoryBacking>.*?</memoryBacking>\n', '', xml,
                   flags=re.S)
    check(plain != xml, xml)
    there.virsh('migrate', '--live', domain.name,
                f'qemu+unix:///system?mode=direct&socket={here.directory}'
                '/run/virtqemud-sock', '--migrateuri', 'tcp://127.0.0.1',
                '--xml', here.file('plain.xml', plain))
    domain.host = here
    domain.verified()
    check(not domain.stats(), 'has figures of a backend it does not have')
    path = os.path.join(here.top, 'plain')
    here.virsh('save', domain.name, path)
    here.virsh('restore', path, '--xml', here.file('ksm.xml', xml))
    os.unlink(path)
    domain.verified()
    took = domain.shares(ENOUGH)
    say(f'{domain.sharing()} pages shared {took:.1f} s after it came back')
    for old in HOSTS['pair'] + [HOSTS['peer']]:
        old.destroy()


def fill_dimms(domain, data):
    """The same content in each; their addresses."""
    addresses = [device['data']['addr'] for device in
                 domain.monitor('query-memory-devices')
                 if device['type'] == 'dimm']
    with domain.memory() as memory:
        for address in addresses:
            memory.write(address, data)
    return addresses


def numa_cells_and_memory_devices_share():
    """Each with a row of its own, and with what was written in it.

    A DIMM there from the start and one plugged in; virtio-mem, which the
    guest has no driver for, has its row, and nothing to share.
    """
    domains = pair(HOSTS['a'], 'numa', numa=True)
    data = b''.join(number.to_bytes(4, 'little') * (PAGE // 4)
                    for number in range(1, DIMM_PAGES + 1))
    least = {'ram-node0': 2000, 'ram-node1': 2000, 'memdimm0': DIMM_PAGES,
             'memvirtiomem0': 0, 'memdimm1': DIMM_PAGES}
    for domain in domains:
        check(set(domain.rows()) == set(least) - {'memdimm1'},
              domain.rows().keys())
        domain.host.virsh('attach-device', domain.name, '--live',
                          domain.host.file('dimm.xml', native.DIMM))
        check(set(domain.rows()) == set(least), domain.rows().keys())
    addresses = [fill_dimms(domain, data) for domain in domains]
    for domain, places in zip(domains, addresses):
        check(len(places) == 2, places)
        for name, few in least.items():
            wait_until(lambda one=domain, row=name, few=few:
                       one.rows()[row]['pages-sharing'] >= few, 90,
                       f'{domain.name}: {name} shares')
        with domain.memory() as memory:
            for address in places:
                check(memory.read(address, len(data)) == data,
                      'wrong content')
        say(f'{domain.name}: ' + ', '.join(
            f'{name} {row["pages-sharing"]}'
            for name, row in sorted(domain.rows().items())))
        domain.verified()
    for domain in domains:
        domain.destroy()


def domains_kept_to_a_node_share_on_it():
    """mergeAcrossNodes and keepHuge arrive, with libvirt's own node."""
    if not os.path.isdir('/sys/devices/system/node/node0'):
        raise Skip('numa', 'this kernel has no NUMA nodes')
    domains = pair(HOSTS['a'], 'kept', kept=True)
    for domain in domains:
        row = domain.rows()['pc.ram']
        check(row.get('node') == 0 and not row['merge-across-nodes'] and
              row['keep-huge'] == 64, row)
        took = domain.shares(ENOUGH)
        say(f'{domain.name}: {domain.sharing()} pages shared on node '
            f'{row["node"]} after {took:.1f} s')
        domain.verified()
    for domain in domains:
        domain.destroy()


def statistics_of_kvm_are_still_there():
    """Group vm is KVM's, though there is a second provider of figures."""
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        raise Skip('kvm', '/dev/kvm is not there or not permitted')
    domain = Domain(HOSTS['a'], 'kvm', 1, kind='kvm').create()
    text = HOSTS['a'].virsh('domstats', domain.name, '--vm', '--memory')
    kvm, ksm = (set(re.findall(rf'^\s*{prefix}\.(\S+)=', text, re.M))
                for prefix in ('vm', r'memory\.ksm'))
    say(f'{len(kvm)} of KVM, {len(ksm)} of ksm')
    check(len(kvm) > 5 and len(ksm) > 30 and not kvm & ksm, text)
    domain.destroy()


def a_qemu_without_the_object_is_refused():
    """By the text that tells what it lacks."""
    if not os.access(STOCK_QEMU, os.X_OK):
        raise Skip('stock-qemu', f'{STOCK_QEMU} is not installed')
    domain = Domain(HOSTS['a'], 'stock', 1, emulator=STOCK_QEMU)
    try:
        domain.create()
    except Refused as refusal:
        say(refusal)
        check('requires a QEMU binary with the memory-backend-ksm object' in
              str(refusal), refusal)
        return
    domain.destroy()
    check(False, 'was started')


def without_a_required_broker_no_domain_starts():
    """required='yes' is the operator's word; the reason is QEMU's."""
    HOSTS['broker'].kill()
    domain = Domain(HOSTS['a'], 'alone', 1)
    try:
        domain.create()
    except Refused as refusal:
        say(refusal)
        log = os.path.join(HOSTS['a'].directory, 'log', 'qemu', 'alone.log')

        def told():
            with open(log, encoding='utf-8') as file:
                return 'Could not connect to the broker' in file.read()
        # libvirt has it, too, unless it looks before the log is written.
        wait_until(told, 30, 'QEMU tells the reason')
        return
    domain.destroy()
    check(False, 'was started')


TESTS = [domcapabilities_list_the_source,
         a_confined_domain_shares,
         domstats_show_what_query_ksm_has,
         monitor_recipes_of_the_docs_work,
         a_saved_domain_is_restored_and_shares_again,
         live_migration_keeps_content_and_sharing,
         a_domain_moves_to_plain_memory_and_back,
         numa_cells_and_memory_devices_share,
         domains_kept_to_a_node_share_on_it,
         statistics_of_kvm_are_still_there,
         a_qemu_without_the_object_is_refused,
         without_a_required_broker_no_domain_starts]


def inside(top):
    """Runs in the first instance: the tests."""
    HOSTS['broker'] = native.start_broker()
    HOSTS['a'] = Host(top)
    HOSTS['b'] = Host(top, os.path.join(top, 'b'))
    run(TESTS)


def instance(name, top, *words, **more):
    """Starts run.py with this program in it."""
    return subprocess.Popen(
        [PYTHON, RUNNER, '--build',
         os.path.join(native.BUILD, 'libvirt'), '--dir',
         os.path.join(top, name), '--', PYTHON,
         os.path.abspath(__file__), *words], **more)


def missing():
    """Why nothing can be tested, or nothing."""
    for path, how in ((os.path.join(native.BUILD, 'libvirt', 'src',
                                    'virtqemud'), 'scripts/build-libvirt'),
                      (native.QEMU, 'scripts/build-qemu'),
                      (native.IMAGE, 'guest-images/tiny/build')):
        if not os.path.exists(path):
            return f'{path} is not there: {how}'
    return 'this needs root' if os.geteuid() != 0 else ''


def main():
    """Makes the two instances, ends them."""
    if missing():
        print(f'1..0 # SKIP {missing()}')
        return 0
    top = tempfile.mkdtemp(prefix='ksm-native-')
    os.chmod(top, 0o755)
    shutil.copy(native.IMAGE, os.path.join(top, 'tiny.elf'))
    other = instance('b', top, 'other', stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE)
    try:
        if other.stdout.readline().strip() != b'ready':
            raise SystemExit('the second instance did not start')
        return instance('a', top, 'inside', top).wait()
    finally:
        other.stdin.close()
        other.wait()
        shutil.rmtree(top, ignore_errors=True)


if sys.argv[1:2] == ['other']:
    other_host()
elif sys.argv[1:2] == ['inside']:
    inside(sys.argv[2])
else:
    sys.exit(main())
