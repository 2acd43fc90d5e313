# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# libvirt.sh: libvirt's source with the patches, configured and built.

KSM_LIBVIRT_SUITE=${KSM_LIBVIRT_SUITE:-$KSM_SOURCE_SUITE}
KSM_LIBVIRT_SERIES=$KSM_ROOT/libvirt-patches/11.3
# shellcheck disable=SC2034 # used by the scripts that source this
KSM_LIBVIRT_PACKAGES=(gcc meson ninja-build pkg-config python3 perl gettext
                      dpkg-dev xz-utils patch rsync ccache libglib2.0-dev
                      libgnutls28-dev libxml2-dev libxml2-utils xsltproc
                      libjson-c-dev libtirpc-dev libnl-3-dev
                      libnl-route-3-dev libacl1-dev libattr1-dev libcap-ng-dev
                      libblkid-dev libudev-dev libnuma-dev libselinux1-dev
                      libapparmor-dev libreadline-dev libpciaccess-dev)
# What the QEMU driver needs; the rest of libvirt is left out.
KSM_LIBVIRT_FEATURES=(driver_remote driver_libvirtd driver_qemu json_c tests
                      numactl capng udev libnl blkid pciaccess attr readline
                      apparmor secdriver_apparmor selinux secdriver_selinux)

# ksm_libvirt_source PATCHED FROM: brings build/libvirt-src up to date.
ksm_libvirt_source()
{
    local from=$2 patches=() always=no
    [ "$1" = no ] || mapfile -t patches < <(
        ksm_series_patches "$KSM_LIBVIRT_SERIES")
    if grep -qs memory-backend-ksm "$from/src/qemu/qemu_capabilities.c"; then
        ksm_step "$from has the patches already"
        patches=()
    fi
    [ -z "${LIBVIRT_SRC:-}" ] || always=yes
    ksm_source_stage libvirt $always "$from" "${patches[@]}"
}

# ksm_libvirt_configure DIR SOURCE STAMP: only when something it depends on
# changed.
ksm_libvirt_configure()
{
    local dir=$1 src=$2 stamp=$3 feature args key
    args=(--auto-features=disabled -Dsystem=true -Dprefix=/usr
          -Dlocalstatedir=/var -Dsysconfdir=/etc
          -Dqemu_user=libvirt-qemu -Dqemu_group=libvirt-qemu
          -Dinit_script=none -Ddocs=disabled -Dexpensive_tests=disabled
          -Dgit_werror=disabled -Dno_git=true)
    for feature in "${KSM_LIBVIRT_FEATURES[@]}"; do
        args+=("-D$feature=enabled")
    done
    key="$src ${args[*]}"
    if [ -f "$dir/build.ninja" ] && ksm_stamped "$stamp" "$key"; then
        return 0
    fi
    ksm_step "configuring build/$(basename "$dir")"
    rm -rf "$dir"
    ksm_ccache
    CC="ccache gcc" ksm_logged libvirt-configure \
        meson setup "${args[@]}" "$dir" "$src"
    ksm_stamp "$stamp" "$key"
}
