# SPDX-License-Identifier: GPL-2.0-or-later
"""test-metrics.py: guest-ksmctl metrics, read by other programs' parsers.

Prometheus' own OpenMetrics parser (python3-prometheus-client) and promtool
judge the text; the values are compared with those of the engines.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess

from fixture import CTL, PAGE, Fixture, run_ctl, tap
from fake_control import FakeControl

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
RULES = os.path.join(ROOT, 'contrib', 'prometheus')
TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8'


def parse(text):
    """Families by name; what is wrong raises ValueError."""
    try:
        from prometheus_client.openmetrics import parser
    except ImportError as error:
        raise tap.Skip('openmetrics', str(error)) from error
    families = list(parser.text_string_to_metric_families(text))
    names = [family.name for family in families]
    tap.check(len(names) == len(set(names)), f'each family once: {names}')
    return {family.name: family for family in families}


def samples(families, name, **labels):
    """Values of the samples that have these labels."""
    family = families[re.sub('_(total|info|bucket|count|sum)$', '', name)
                      if name not in families else name]
    return [sample.value for sample in family.samples
            if sample.name == name and
            all(sample.labels.get(key) == value
                for key, value in labels.items())]


def one(families, name, **labels):
    """The value of the one sample."""
    values = samples(families, name, **labels)
    tap.check(len(values) == 1, f'{name} {labels}: {values}')
    return values[0]


def test_figures_are_the_engines():
    """Every figure that the engines can be asked for is the same."""
    with Fixture() as fixture:
        fixture.pair()
        families = parse(fixture.ctl('metrics')[0])
        tap.check(one(families, 'guest_ksm_up') == 1, 'up')
        for number, name in enumerate(('web1', 'web2')):
            state = fixture.state(number)
            for label, field in (('shared', 'pages_sharing'),
                                 ('zero', 'zero_pages'),
                                 ('broken', 'pages_broken'),
                                 ('unshared', 'pages_unshared')):
                value = one(families, 'guest_ksm_vm_memory_bytes', vm=name,
                            group='web', backend='ram0', state=label)
                tap.check(value == state[field] * PAGE,
                          f'{name} {label}: {value}, {state}')
            check_windows(families, name)
        # web1 maps all of the slots, web2 has broken 20 of its own.
        tap.check(one(families, 'guest_ksm_group_store_bytes', group='web')
                  == fixture.slots * PAGE, 'store')
        tap.check(one(families, 'guest_ksm_group_saved_bytes', group='web')
                  == fixture.saved * PAGE, 'saved')
        tap.check(one(families, 'guest_ksm_worst_case_bytes')
                  == fixture.worst_case * PAGE, 'worst case')
        tap.check(one(families, 'guest_ksm_vm_broken_pages_total',
                      vm='web2') == 20, 'breaks')
        check_host(families)
        check_units(families)


# What no guest here gets to: huge pages kept, memory that failed.
SINCE_VERSION_5 = {
    'keep_huge': 64, 'pages_kept_huge': 512, 'pages_parked': 1024,
    'collapses': 7, 'pages_hwpoison': 3, 'refused_dma': 5, 'given_back': 9}


def figures_of_huge(session):
    """As if it had come to them."""
    session.update(SINCE_VERSION_5)


def figures_of_version_4(session):
    """Of a library that does not know them."""
    for field in ('keep_huge', *(row[0] for row in statistics('SINCE_5'))):
        del session[field]


def told(change):
    """Metrics of two VMs, and `vm web1`, with its figures changed."""
    with Fixture() as fixture:
        fixture.pair()
        replies = {'status': json.loads(fixture.ctl('--json', 'status')[0]),
                   'sessions': json.loads(fixture.ctl('--json', 'vms')[0])}
    change(replies['sessions']['sessions'][0])
    with FakeControl(lambda request: {'ok': True, **replies[request['request']]}
                ) as fake:
        return parse(fake.ctl('metrics')[0]), fake.ctl('vm', 'web1')[0]


def test_huge_and_failed():
    """Figures that say more than 0 only where something is amiss or set."""
    families, text = told(figures_of_huge)
    for name, value in (('failed_memory_bytes', 3 * PAGE),
                        ('kept_huge_bytes', 512 * PAGE),
                        ('resting_bytes', 1024 * PAGE),
                        ('collapsed_blocks_total', 7),
                        ('given_back_pages_total', 9)):
        found = one(families, f'guest_ksm_vm_{name}', vm='web1')
        tap.check(found == value, f'{name}: {found}')
    tap.check(one(families, 'guest_ksm_vm_refused_pages_total', vm='web1',
                  reason='dma') == 5, 'dma')
    for words in ('keep-huge 64: 2.0 MiB of', '4.0 MiB written', '7 times',
                  'memory has failed', 'refused_dma'):
        tap.check(words in text, f'no "{words}" in {text}')


def test_older_library():
    """A VM that does not tell them has no such samples; others have."""
    families, text = told(figures_of_version_4)
    for name in ('failed_memory_bytes', 'given_back_pages_total'):
        for vm, count in (('web1', 0), ('web2', 1)):
            found = samples(families, f'guest_ksm_vm_{name}', vm=vm)
            tap.check(len(found) == count, f'{vm} {name}: {found}')
    tap.check('keep-huge' not in text and 'failed' not in text, text)


def statistics(part='[A-Z0-9_]+'):
    """The list of an engine's statistics: (name, kind, unit) of each."""
    with open(os.path.join(ROOT, 'plugin', 'protocol', 'stats-list.h'),
              encoding='utf-8') as file:
        parts = re.findall(r'^#define KSM_STATS_' + part + r'\(X\) \\\n'
                           r'((?: +X\(.*\n)+)', file.read(), re.M)
    rows = re.findall(r'X\((\w+), (\w+), (\w+)\)', ''.join(parts))
    tap.check(rows, f'{part} is read')
    return rows


class Figures:
    """A broker with one VM, whose figures are as a test wants them."""

    def __init__(self):
        # Large, so that a tenth of a MiB more or less makes no difference.
        self.session = {name: 1000000 * (number + 1) for number, (name, _, _)
                        in enumerate(statistics())}
        self.session.update({
            'name': 'web1/ram0', 'vm': 'web1', 'backend': 'ram0',
            'group': 'web', 'uid': 0, 'pid': 1, 'state': 'running',
            'run': 'run', 'keep_huge': 64, 'window_us_histogram': [7]})

    def answer(self, request):
        """The status, or the sessions."""
        return {'ok': True, 'broker': {'version': '0'}, 'groups': [],
                'users': [], 'sessions': [self.session],
                'request': request['request']}

    def told(self, fake, **changed):
        """Samples by name and labels, and `vm web1`, with figures changed."""
        before = dict(self.session)
        self.session.update(changed)
        families = parse(fake.ctl('metrics')[0])
        text = fake.ctl('vm', 'web1')[0]
        self.session = before
        found = {(sample.name, *sorted(sample.labels.items())): sample.value
                 for family in families.values() for sample in family.samples}
        return found, text


# What a unit of the list is in metrics: its name there, and how many.
SCALE = {'PAGES': ('_bytes', PAGE), 'BYTES': ('_bytes', 1),
         'NS': ('_seconds', 1e-9), 'NUMBER': ('', 1)}
# The sum of the states, and that of the histogram.
NO_METRIC = {'pages_total', 'windows'}
# `vm` has it only within general_profit.
NOT_SHOWN = {'metadata_bytes'}


def check_metric(row, value, samples_changed):
    """One sample has changed, and it says so in name, unit and value."""
    name, kind, unit = row
    if name in NO_METRIC:
        tap.check(not samples_changed, f'{name}: {samples_changed}')
        return
    tap.check(len(samples_changed) == 1, f'{name}: {samples_changed}')
    (metric, *labels), found = samples_changed.popitem()
    suffix, scale = SCALE[unit]
    if name == 'window_ns_total':
        suffix += '_sum'        # of the histogram
    elif kind == 'COUNTER':
        suffix += '_total'
    tap.check(metric.endswith(suffix) and
              abs(found / (value * scale) - 1) < 1e-9,
              f'{name} is {value}: {metric} {labels} {found}')
    if name.startswith('refused_'):
        tap.check(('reason', name[8:]) in labels, f'{name}: {labels}')
    tap.check(('state' in dict(labels)) == (kind == 'STATE'),
              f'{name}: {labels}')


def test_every_statistic():
    """Each of the list is a metric, and each is seen by `vm`."""
    figures = Figures()
    metrics = {}
    tap.check(len(statistics()) >= 39, f'the list is read: {statistics()}')
    with FakeControl(figures.answer) as fake:
        samples_before, text_before = figures.told(fake)
        for row in statistics():
            value = 3 * figures.session[row[0]]
            after, text = figures.told(fake, **{row[0]: value})
            changed = {key: after[key] for key in after
                       if after[key] != samples_before.get(key)}
            for key in changed:
                tap.check(key not in metrics,
                          f'{key}: both {row[0]} and {metrics.get(key)}')
                metrics[key] = row[0]
            check_metric(row, value, changed)
            tap.check((text == text_before) == (row[0] in NOT_SHOWN),
                      f'{row[0]} is {value}: {text}')


def check_windows(families, name):
    """The histogram is cumulative and agrees with its count."""
    name = {'vm': name}
    buckets = samples(families, 'guest_ksm_vm_window_seconds_bucket', **name)
    count = one(families, 'guest_ksm_vm_window_seconds_count', **name)
    total = one(families, 'guest_ksm_vm_window_seconds_sum', **name)
    tap.check(buckets == sorted(buckets) and buckets[-1] == count > 0,
              f'{buckets} {count}')
    tap.check(0 < total < 60, f'{total} s in windows')


def check_host(families):
    """The host's memory is what /proc/meminfo says."""
    with open('/proc/meminfo', encoding='ascii') as file:
        kib = int(re.search(r'MemTotal: +(\d+)', file.read())[1])
    tap.check(one(families, 'guest_ksm_host_memory_bytes') == kib * 1024,
              'MemTotal')


def check_units(families):
    """A unit ends the name, and a name that ends in one has it."""
    for family in families.values():
        tap.check(family.documentation, f'{family.name} has no help')
        found = re.search('_(bytes|seconds|ratio)$', family.name)
        tap.check(family.unit == (found[1] if found else ''),
                  f'{family.name}: unit "{family.unit}"')


class Server:
    """guest-ksmctl metrics --listen, on a port that was free."""

    def __init__(self, fixture, where='0'):
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [CTL, '--socket', fixture.socket, 'metrics', '--listen', where],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding='ascii')
        line = self.process.stdout.readline()
        match = re.fullmatch(r'serves http://(.*):(\d+)/metrics\n', line)
        tap.check(match, f'{line!r}')
        self.host, self.port = match[1].strip('[]'), int(match[2])

    def ask(self, method='GET', path='/metrics'):
        """(status, content type, text)."""
        http_ = http.client.HTTPConnection(self.host, self.port, timeout=20)
        http_.request(method, path)
        reply = http_.getresponse()
        text = reply.read().decode()
        http_.close()
        return reply.status, reply.headers['Content-Type'], text

    def end(self, number=signal.SIGTERM):
        """Ends it by a signal; (status, errors)."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


def test_server():
    """Scraped as Prometheus does; loopback; odd requests; its end."""
    with Fixture() as fixture:
        fixture.pair()
        server = Server(fixture)
        tap.check(server.host == '127.0.0.1', 'loopback by default')
        status, kind, text = server.ask()
        tap.check((status, kind) == (200, TYPE), f'{status} {kind}')
        tap.check(one(parse(text), 'guest_ksm_group_vms', group='web') == 2,
                  text)
        tap.check(server.ask(path='/')[0] == 200, 'front page')
        tap.check(server.ask(path='/etc/passwd')[0] == 404, 'not found')
        tap.check(server.ask('POST')[0] == 405, 'POST')
        head = server.ask('HEAD')
        tap.check(head[0] == 200 and head[2] == '', f'HEAD: {head}')
        check_idle_connections(server)
        check_busy_port(fixture, server)
        check_broker_gone(fixture, server)
        status, errors = server.end()
        tap.check(status == 0, f'status {status}: {errors}')
        tap.check(errors.count('no broker listens') == 1, errors)
        check_v6(fixture)


def check_idle_connections(server):
    """Connections that say nothing do not keep others out."""
    idle = [socket.create_connection((server.host, server.port))
            for _ in range(7)]
    tap.check(server.ask()[0] == 200, 'beside idle connections')
    for connection in idle:
        connection.close()


def check_busy_port(fixture, server):
    """A port in use, and no port at all."""
    _, err = fixture.ctl('metrics', '--listen', str(server.port), status=1)
    tap.check('in use' in err, err)
    for wrong in ('', 'x', '65536', '1.2.3:80', '::1:80', '[::1:80', '-1'):
        _, err = fixture.ctl('metrics', '--listen', wrong, status=2)
        tap.check(f'--listen {wrong}' in err, err)


def check_broker_gone(fixture, server):
    """guest_ksm_up tells; it comes back by itself."""
    fixture.order('broker', 'stop')
    families = parse(server.ask()[2])
    tap.check(one(families, 'guest_ksm_up') == 0 and len(families) == 1,
              f'{families}')
    parse(server.ask()[2])
    _, err = fixture.ctl('metrics', status=3)
    tap.check(fixture.socket in err, err)
    fixture.order('broker', 'start')
    tap.wait_until(lambda: one(parse(server.ask()[2]), 'guest_ksm_up') == 1,
                   10, 'up again')


def check_v6(fixture):
    """An IPv6 address, where there is one."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(('::1', 0))
    except OSError as error:
        tap.say(f'no IPv6 here: {error}')
        return
    server = Server(fixture, '[::1]:0')
    tap.check(server.host == '::1' and server.ask()[0] == 200, 'IPv6')
    tap.check(server.end(signal.SIGINT)[0] == 0, 'ends on SIGINT')


def promtool(*arguments, text=None):
    """Runs it; its status must be 0."""
    if shutil.which('promtool') is None:
        raise tap.Skip('promtool', 'promtool is not installed')
    done = subprocess.run(['promtool', *arguments], input=text, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          encoding='utf-8', cwd=RULES, timeout=120)
    tap.check(done.returncode == 0, f'promtool {arguments}: {done.stdout}')


def test_alert_rules():
    """promtool finds them right, and each fires when it must."""
    promtool('check', 'rules', 'guest-ksm.rules.yml')
    promtool('test', 'rules', 'guest-ksm.rules.test.yml')


def test_rules_and_dashboard_know_the_names():
    """Every name in the rules and the dashboard is really served."""
    with Fixture() as fixture:
        fixture.pair()
        families = parse(fixture.ctl('metrics')[0])
    served = {sample.name for family in families.values()
              for sample in family.samples}
    for file in ('prometheus/guest-ksm.rules.yml',
                 'grafana/guest-ksm.json'):
        with open(os.path.join(ROOT, 'contrib', file),
                  encoding='utf-8') as opened:
            text = opened.read()
        if file.endswith('.json'):
            tap.check(json.loads(text)['panels'], 'a dashboard with panels')
        used = set(re.findall(r'\bguest_ksm_[a-z_]+', text))
        tap.check(used, f'{file} uses metrics')
        tap.check(used <= served, f'{file}: unknown {used - served}')


def test_usage():
    """JSON is another command's; no broker."""
    _, err = run_ctl('--json', 'metrics', status=2)
    tap.check('status' in err, err)


tap.run([test_figures_are_the_engines, test_huge_and_failed,
         test_older_library, test_every_statistic, test_server,
         test_alert_rules, test_rules_and_dashboard_know_the_names,
         test_usage])
