# SPDX-License-Identifier: GPL-2.0-or-later
"""page.py: fills docs/libvirt.md with what the commands print.

The page's own commands are run, in their order, beside a libvirtd in which
three Debian domains are defined (web1 to web3) and a broker runs.

usage: run.py page.py; with GUEST_KSMCTL, GUEST_KSMD, KSM_DEMO_QEMU and
KSM_DEMO_IMAGE, as scripts/demo sets them.
"""

import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..'), os.path.join(HERE, '..', 'guests')]
from domain import Domain, virsh                    # noqa: E402
from merger import Broker                           # noqa: E402
from operations import ROOT, Runner                 # noqa: E402
from vm import Config                               # noqa: E402

PAGE = os.path.join(ROOT, 'docs', 'libvirt.md')
TOP = os.environ['KSM_LIBVIRT_DIR']
BLOCK = re.compile(r'<!-- (output|wait): (.*?) -->\n(```\n.*?```\n)?', re.S)
MEMORY = 512 << 20
IDLE_SECONDS = 600
# Where an administrator would have put QEMU.
OPT = '/opt/qemu-ksm/bin'


def install():
    """QEMU in a place that says nothing of this machine."""
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'ksm-libvirt',
                    '/opt'], check=True)
    os.makedirs(OPT)
    built = os.path.dirname(os.environ['KSM_DEMO_QEMU'])
    for name in ('qemu-system-x86_64', 'qemu-img'):
        os.symlink(os.path.join(built, name), os.path.join(OPT, name))


def define():
    """The domains, plain."""
    domains = []
    for index in range(3):
        domain = Domain(Config(
            qemu=os.path.join(OPT, 'qemu-system-x86_64'), accel='tcg',
            image=os.environ['KSM_DEMO_IMAGE'], mem_bytes=MEMORY,
            run_dir=TOP), index, f'web{index + 1}')
        domain.define()
        domains.append(domain)
    return domains


def wait_idle(domains):
    """Until all systems are idle and what they share stands still."""
    for domain in domains:
        domain.wait_line('GUEST idle', IDLE_SECONDS)
    last, since = None, time.monotonic()
    while time.monotonic() < since + 10:
        now = [domain.ksm_stats()['pages-sharing'] >> 7 for domain in domains]
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(1)


def main():
    """Rewrites the page in one go."""
    install()
    broker = Broker(os.environ['GUEST_KSMD'], '/run/guest-ksm/broker.sock',
                    os.path.join(TOP, 'broker.log'), 'guest-ksm')
    broker.start()
    domains = define()
    runner = Runner(os.environ['GUEST_KSMCTL'],
                    '/run/guest-ksm/control.sock')

    def refill(match):
        kind, words = match[1], match[2]
        print(words, file=sys.stderr)
        if kind == 'wait':
            wait_idle(domains)
            return match[0]
        text = runner.output(words)
        return f'<!-- output: {words} -->\n```\n{text.rstrip()}\n```\n'
    with open(PAGE, encoding='utf-8') as file:
        page = BLOCK.sub(refill, file.read())
    runner.end()
    with open(PAGE + '.new', 'w', encoding='utf-8') as file:
        file.write(page)
    os.replace(PAGE + '.new', PAGE)
    for domain in domains:
        virsh('destroy', domain.name, check=False)
    broker.kill()


if __name__ == '__main__':
    main()
