# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# linux.sh: what a finding about the kernel needs: Debian's kernels, by version,
# and a machine without anything else, emulated by Debian's QEMU.
#
# Source it.  $dir is then a temporary folder that goes at the end.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"
# shellcheck source=scripts/lib/source.sh
. "$KSM_ROOT/scripts/lib/source.sh"       # ksm_apt_setup, ksm_apt

dir=$(mktemp -d "${TMPDIR:-/tmp}/finding-XXXXXX")
trap 'rm -rf --one-file-system "$dir"' EXIT
KSM_BUILD=$dir/build            # logs
ksm_packages gcc libc6-dev cpio qemu-system-x86 dpkg

# linux_fetch SUITE PACKAGE VERSION: the kernel of that package as $dir/vmlinuz.
linux_fetch()
{
    ksm_apt_setup "$dir/apt-$1" "deb $1 main" >&2
    rm -rf "$dir/package"
    mkdir "$dir/package"
    (cd "$dir/package" && ksm_logged fetch ksm_apt "$dir/apt-$1" \
        apt-get download -q "$2=$3" && dpkg-deb -x ./*.deb .)
    find "$dir/package" -name 'vmlinuz*' -type f -exec cp {} "$dir/vmlinuz" \;
    [ -s "$dir/vmlinuz" ] || ksm_die "no kernel in $2 $3"
}

# linux_6_12, linux_7_3: the two that findings are about, as $dir/vmlinuz.
linux_6_12()
{
    linux_fetch bookworm-backports \
        linux-image-6.12.95+deb12-cloud-amd64-unsigned 6.12.95-1~bpo12+1
}

linux_7_3()
{
    linux_fetch trixie-backports linux-binary-7.3.4+deb13-cloud-amd64 \
        7.3.4-1~bpo13+1
}

# linux_program SOURCE: compiled, to be run as the machine's only process.
linux_program()
{
    gcc -O2 -Wall -static -pthread -I"$KSM_ROOT/findings/lib" -o "$dir/init" "$1"
    (cd "$dir" && echo init | cpio --quiet -o -H newc >initrd.img)
}

# linux_run: boots the kernel with the program; prints what that says of itself,
# the lines that begin with "said: ".
linux_run()
{
    # Without cmpxchg16b, which QEMU 7.2 emulates wrongly.
    timeout 300 qemu-system-x86_64 -accel tcg -cpu qemu64,-cx16 -m 512 \
        -nodefaults -no-user-config -display none -no-reboot -serial stdio \
        -kernel "$dir/vmlinuz" -initrd "$dir/initrd.img" \
        -append "console=ttyS0 rdinit=/init panic=-1 quiet" \
        </dev/null 2>"$dir/qemu.log" | tee "$dir/console.log" |
        sed -n 's/\r$//; s/^.*said: //p'
}

# expect VERSION TEXT: that the program says just this on the kernel fetched.
expect()
{
    local got
    got=$(linux_run)
    if [ "$got" = "$2" ]; then
        printf 'Linux %s:\n%s\n' "$1" "$got"
    else
        printf 'Linux %s says:\n%s\ninstead of:\n%s\n' "$1" "$got" "$2"
        tail -n 5 "$dir/console.log"
        exit 1
    fi
}

# expect_on_both TEXT: the same on the two of them.
expect_on_both()
{
    linux_6_12
    expect 6.12.95 "$1"
    linux_7_3
    expect 7.3.4 "$1"
}
