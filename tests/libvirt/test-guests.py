# SPDX-License-Identifier: GPL-2.0-or-later
"""test-guests.py: tiny guests that libvirt runs, confined, sharing memory.

The guests verify every byte of their memory all the time, also after they
were saved and restored, or moved.
"""

import json
import os
import re
import subprocess

from fixture import BROKER, Broker, RUNNER, Fixture, Skip, TOP, check, ctl, \
    define, dump, run, say, virsh, wait_passes, wait_sharing, wait_until

LOAD = 'share=60 zero=15 fill=5 write_pct=2 pause_ms=50 '


def start_sharing(fixture, count=2):
    """So many domains, enabled and started, that share; their watches."""
    for index in range(count):
        domain = fixture.domain(f'web{index + 1}', LOAD)
        domain.enable()
        domain.start_defined()
    watches = [fixture.wait_filled(domain) for domain in fixture.domains]
    for domain in fixture.domains:
        wait_sharing(domain)
    return watches


def test_a_plain_domain_starts_and_shares():
    """As libvirt-qemu, without any privilege; and goes back to plain."""
    with Fixture() as fixture:
        before = []
        for index in range(2):
            domain = fixture.domain(f'web{index + 1}', LOAD)
            before.append(dump(domain.name))
            domain.enable()
            domain.start_defined()
        watches = [fixture.wait_filled(domain) for domain in fixture.domains]
        for domain, watch in zip(fixture.domains, watches):
            wait_sharing(domain)
            wait_passes(watch)
            stats = domain.ksm_stats()
            say(f'{domain.name}: {stats["pages-sharing"]} pages sharing, '
                f'{stats["merges"]} merges, {stats["breaks"]} breaks')
            confined = domain.confinement()
            check(all(confined.values()), f'{confined}')
        # By the name that migration knows.
        text = fixture.domains[0].qmp.monitor('info ramblock')
        check(re.search(r'^\s*pc\.ram\s', text, re.M), text)
        for name in ('web1', 'web2'):
            check(name in ctl('vms'), ctl('vms'))
        for domain, xml in zip(fixture.domains, before):
            said = ctl('domain-xml', 'disable', domain.name, '--yes')
            check('its next start' in said, said)
            check(dump(domain.name) == xml, f'{dump(domain.name)}, was {xml}')


def test_options_that_qemu_has_no_more():
    """A domain that gets -no-acpi and -no-hpet from old libvirts starts."""
    with Fixture() as fixture:
        domain = fixture.domain('old', LOAD)
        xml = dump('old').replace('<acpi/>', '<pae/>').replace(
            "<clock offset='utc'/>", "<clock offset='utc'><timer name='hpet' "
            "present='no'/></clock>")
        check('<acpi/>' not in xml and 'hpet' in xml, xml)
        define(xml)
        domain.enable()
        domain.start_defined()
        wait_passes(fixture.wait_filled(domain))


def test_kept_to_a_node():
    """The node is libvirt's; what is there shares with what is there."""
    if not os.path.isdir('/sys/devices/system/node/node0'):
        raise Skip('numa', 'this kernel has no NUMA nodes')
    bound = ("<numatune><memory mode='strict' nodeset='0'/></numatune>"
             '\n  <vcpu')
    with Fixture() as fixture:
        for name, across, head in (('here1', 'off', bound),
                                   ('here2', 'off', bound),
                                   ('any', 'on', '<vcpu')):
            domain = fixture.domain(name, LOAD + 'fill=0', keep_huge=64,
                                  merge_across_nodes=across)
            define(dump(name).replace('<vcpu', head, 1))
            domain.enable()
            domain.start_defined()
        watches = [fixture.wait_filled(domain) for domain in fixture.domains]
        here, also, other = fixture.domains
        for domain in (here, also):
            wait_sharing(domain)
            row = domain.qmp.command('query-ksm')[0]
            check(row.get('node') == 0 and row['keep-huge'] == 64, f'{row}')
        row = other.qmp.command('query-ksm')[0]
        check('node' not in row and row['merge-across-nodes'], f'{row}')
        wait_until(lambda: other.ksm_stats()['full-scans'] >= 3, 60,
                   'three rounds of a domain that shares anywhere')
        check(other.ksm_stats()['pages-sharing'] < 500,
              'it shares with a node')
        for watch in watches:
            wait_passes(watch)


def test_one_domain_is_asked_for():
    """By name, UUID and id; and what is not there is said."""
    with Fixture() as fixture:
        start_sharing(fixture)
        uuid = virsh('domuuid', 'web2').strip()
        number = virsh('domid', 'web2').strip()
        for given in ('web2', uuid, number):
            said = ctl('vms', '--domain', given)
            check('web2' in said and 'web1' not in said, said)
        said = ctl('status', '--domain', uuid)
        check(said.startswith('web2: running, group web, '), said)
        check('saved ' in said, said)
        reply = json.loads(ctl('status', '--json', '--domain', 'web1'))
        check([session['vm'] for session in reply['sessions']] == ['web1'],
              f'{reply}')
        check("'nobody'" in ctl('vms', '--domain', 'nobody', status=5), 'who')
        plain = fixture.domain('plain', LOAD)
        check('does not run' in ctl('status', '--domain', 'plain', status=5),
              'it runs')
        plain.start_defined()
        said = ctl('vms', '--domain', 'plain', status=5)
        check('without memory-backend-ksm' in said, said)


def save_and_restore(domain, watch, xml=None):
    """Lets libvirt write the guest away and bring it back."""
    path = os.path.join(TOP, f'{domain.name}.save')
    virsh('save', domain.name, path)
    check(not domain.alive(), 'it still runs')
    virsh('restore', path, *(['--xml', xml] if xml else []))
    os.unlink(path)
    wait_passes(watch)


def test_save_and_restore():
    """The content is right, and sharing resumes."""
    with Fixture() as fixture:
        watches = start_sharing(fixture)
        save_and_restore(fixture.domains[0], watches[0])
        wait_sharing(fixture.domains[0])
        wait_passes(watches[0])


def inactive_xml(domain, change):
    """A file with its XML for `virsh restore` and `migrate`, running."""
    path = os.path.join(TOP, f'{domain.name}.other.xml')
    ctl('domain-xml', change, domain.name, '--yes',
        *(['--group', 'web', '--set', 'scan-interval=50', '--set',
           'scan-cpu-percent=100'] if change == 'enable' else []))
    with open(path, 'w', encoding='utf-8') as file:
        file.write(dump(domain.name))
    return path


def has_backend(domain):
    """Whether its QEMU has memory-backend-ksm."""
    return domain.qmp.command('query-ksm') != []


def test_restore_without_what_was_saved_with():
    """From our backend to the machine's own memory, and back again."""
    with Fixture() as fixture:
        watches = start_sharing(fixture)
        domain, watch = fixture.domains[0], watches[0]
        save_and_restore(domain, watch, inactive_xml(domain, 'disable'))
        check(not has_backend(domain), 'restored with it')
        save_and_restore(domain, watch, inactive_xml(domain, 'enable'))
        check(has_backend(domain), 'restored without it')
        wait_sharing(domain)
        wait_passes(watch)


class Other:
    """Another daemon, with a broker: another host; a context."""

    def __init__(self):
        self.top = os.path.join(TOP, 'other')
        self.socket = os.path.join(self.top, 'run', 'libvirt-sock')
        self.uri = f'qemu+unix:///system?socket={self.socket}'
        self.process = None

    def __enter__(self):
        broker = Broker(BROKER, '/run/guest-ksm/broker.sock', '',
                        'guest-ksm').command
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen([RUNNER, '--dir', self.top, *broker])
        wait_until(lambda: os.path.exists(
            os.path.join(self.top, 'broker', 'broker.sock')), 30,
                   'the other broker listens')
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait()


def migrate(domain, other, *options):
    """To the other daemon, live; what it is there."""
    virsh('migrate', '--live', domain.name, other.uri,
          'tcp://127.0.0.1', *options)
    check(not domain.alive(), 'it still runs here')
    os.environ['LIBVIRT_DEFAULT_URI'] = other.uri


def test_live_migration():
    """Between two daemons, with memory-backend-ksm and then without."""
    home = os.environ['LIBVIRT_DEFAULT_URI']
    with Fixture() as fixture, Other() as other:
        watches = start_sharing(fixture)
        try:
            for domain, watch, options in zip(
                    fixture.domains, watches,
                    ([], ['--xml', inactive_xml(fixture.domains[1],
                                                'disable')])):
                watch.poll()
                passes = watch.passes
                migrate(domain, other, *options)
                # Its console is a file over there.
                domain.console_log = os.path.join(
                    other.top, 'log', os.path.basename(domain.console_log))
                domain._log_at = 0      # pylint: disable=protected-access
                wait_passes(watch)
                check(watch.passes > passes, 'it began anew')
                check(has_backend(domain) == (not options), 'wrong backend')
                os.environ['LIBVIRT_DEFAULT_URI'] = home
        finally:
            os.environ['LIBVIRT_DEFAULT_URI'] = home


run([test_a_plain_domain_starts_and_shares,
     test_options_that_qemu_has_no_more, test_kept_to_a_node,
     test_one_domain_is_asked_for, test_save_and_restore,
     test_restore_without_what_was_saved_with, test_live_migration])
