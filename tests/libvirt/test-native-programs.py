# SPDX-License-Identifier: GPL-2.0-or-later
"""test-native-programs.py: libvirt's own tests, with cases of ours.

Needs build/libvirt (scripts/build-libvirt) and build/qemu.
"""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qemu'))
import native_programs as native                    # noqa: E402
from native_programs import DATA, LIBVIRT, Program  # noqa: E402
from tap import check, run, say, Skip               # noqa: E402

STOCK = 'memory-source-ksm.x86_64-latest.err'
CONF = 'qemuxmlconfdata'


def errors():
    """{case: text} of what the series refuses."""
    return {name[:-len('.err')]: native.read(f'{CONF}/{name}').strip()
            for name in sorted(os.listdir(os.path.join(DATA, CONF)))
            if name.startswith('memory-source-ksm') and name.endswith('.err')}


def passes(name, having, least):
    """A program passes, with at least so many cases of ours."""
    program = Program(name)
    ours = program.count('OK', having)
    say(f'{name}: {program.count("OK")} passed, {program.count("SKIP")} '
        f'skipped, {program.count("FAILED")} failed; of ours {ours} passed')
    check(program.status == 0, f'status {program.status}\n{program.why()}')
    check(ours >= least, f'{ours} cases of ours, {least} expected')
    return program


def test_data_is_made_from_qemu():
    """And nothing that libvirt has already would change."""
    if not os.access(native.QEMU, os.X_OK):
        raise Skip('qemu', f'{native.QEMU} is not there: scripts/build-qemu')
    say(' '.join(native.make_data()))


def qemucapabilitiestest_knows_the_object():
    """The flag is there for ours, and for no other QEMU."""
    passes('qemucapabilitiestest', 'x86_64', 1)
    flag = "<flag name='memory-backend-ksm'/>"
    check(flag in native.read(native.CAPS + '.xml'), 'no flag with ours')
    check(flag not in native.read(
        'qemucapabilitiesdata/caps_10.0.0_x86_64.xml'), 'a flag with stock')


def domaincapstest_lists_the_source():
    """With it a management program knows before it tries."""
    passes('domaincapstest', native.OURS, 3)
    value = '<value>ksm</value>'
    for machine in ('', '-q35', '-tcg'):
        name = f'domaincapsdata/qemu_10.0.0{machine}.x86_64'
        check(value in native.read(f'{name}+ksm.xml'), f'{name}: not listed')
        check(value not in native.read(f'{name}.xml'), f'{name}: listed')


def qemuxmlconftest_parses_formats_and_builds():
    """Command lines of default RAM, NUMA cells, DIMM, virtio-mem."""
    program = passes('qemuxmlconftest', 'memory-source-ksm', 30)
    built = [case for case, result in program.cases.items()
             if '-> ARGV memory-source-ksm' in case and result == 'OK']
    check(len(built) >= 4, f'{built}')
    args = native.read(f'{CONF}/memory-source-ksm-numa.x86_64-latest+ksm.args')
    backends = re.findall(r'"memory-backend-ksm","id":"(\w[\w-]*)"', args)
    check(backends == ['ram-node0', 'ram-node1', 'memdimm0', 'memvirtiomem0'],
          f'{backends}')
    args = native.read(
        f'{CONF}/memory-source-ksm-nodes.x86_64-latest+ksm.args')
    nodes = re.findall(r'"merge-across-nodes":false.*"host-nodes":\[(\d)\]',
                       args)
    check(nodes == ['0', '1', '0', '3'], f'{nodes}')


def each_refused_combination_has_its_own_error():
    """One case each, whose text no other has."""
    program = Program('qemuxmlconftest')
    texts = errors()
    for case, text in texts.items():
        say(f'{case.split(".")[0]}: {text}')
        check(program.cases.get(f'QEMU XML def parse {case}') == 'OK',
              f'{case} was not refused as expected')
    check(len(set(texts.values())) == len(texts), 'two say the same')
    check(len(texts) >= 20, f'only {len(texts)}')


def stock_qemu_is_told_to_lack_the_object():
    """The text that a user of an unpatched QEMU reads."""
    text = native.read(f'{CONF}/{STOCK}')
    check('requires a QEMU binary with the memory-backend-ksm object' in text,
          text)


def virschematest_validates_the_xml():
    """What is out of range does not validate."""
    program = passes('virschematest', 'memory-source-ksm', 20)
    check(program.count('OK', '-invalid') >= 6, 'no invalid ones')


def qemuhotplugtest_plugs_a_dimm():
    """In and out; one of huge pages is refused."""
    program = passes('qemuhotplugtest', 'memory-source-ksm-live', 3)
    check(program.count('OK', 'memory-source-ksm-live DETACH dimm') == 1,
          'not unplugged')


def virt_aa_helper_allows_the_broker():
    """Its profile of a domain has the domain's own broker."""
    script = os.path.join(DATA, 'virt-aa-helper-test')
    done = subprocess.run(['sh', script, '-d'], check=False, env=dict(
        os.environ, abs_top_builddir=LIBVIRT), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors='replace')
    check(done.returncode == 0, text[-2000:])
    check('memory source ksm' in text, 'no case of ours')


def main():
    """Skips all when there is no build."""
    if not os.access(os.path.join(LIBVIRT, 'tests', 'qemuxmlconftest'),
                     os.X_OK):
        print('1..0 # SKIP build/libvirt is not there: scripts/build-libvirt')
        sys.exit(0)
    run([test_data_is_made_from_qemu,
         qemucapabilitiestest_knows_the_object,
         domaincapstest_lists_the_source,
         qemuxmlconftest_parses_formats_and_builds,
         each_refused_combination_has_its_own_error,
         stock_qemu_is_told_to_lack_the_object,
         virschematest_validates_the_xml,
         qemuhotplugtest_plugs_a_dimm,
         virt_aa_helper_allows_the_broker])


main()
