# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# qemu.sh: QEMU's source with the patches, configured and built.

KSM_QEMU_SUITE=${KSM_QEMU_SUITE:-$KSM_SOURCE_SUITE}
KSM_QEMU_SERIES=$KSM_ROOT/qemu-patches/10.0
KSM_QEMU_MESON_FLOOR=1.5
# shellcheck disable=SC2034 # used by the scripts that source this
KSM_QEMU_PACKAGES=(gcc ninja-build pkg-config python3 python3-venv flex bison
                   dpkg-dev xz-utils patch rsync ccache libglib2.0-dev
                   libpixman-1-dev zlib1g-dev libaio-dev liburing-dev
                   libseccomp-dev libnuma-dev seabios ipxe-qemu qemu-system-data)

ksm_have_meson()
{
    local version
    version=$("$(ksm_system_python)" -c \
        'from mesonbuild import coredata; print(coredata.version)' \
        2>/dev/null) || return 1
    dpkg --compare-versions "$version" ge "$KSM_QEMU_MESON_FLOOR"
}

# ksm_qemu_fetch UPDATE: the source package and, when the system's is too
# old, meson, into the cache.
ksm_qemu_fetch()
{
    ksm_source_fetch qemu "$KSM_QEMU_SUITE" "$1"
    if ! ksm_have_meson && [ ! -d "$KSM_CACHE/meson/usr" ]; then
        ksm_meson_fetch "$KSM_CACHE/meson"
    fi
}

ksm_meson_fetch()
{
    ksm_cache_locked meson_fetch "$1"
}

meson_fetch()
{
    local apt=$KSM_CACHE/apt-backports
    [ ! -d "$1/usr" ] || return 0
    ksm_apt_setup "$apt" "deb bookworm-backports main"
    ! ksm_dry "fetch meson from bookworm-backports" || return 0
    ksm_step "fetching meson from bookworm-backports, for QEMU alone"
    rm -rf "$1" "$1.part"
    mkdir -p "$1.part"
    (cd "$1.part" && ksm_logged meson-fetch ksm_apt "$apt" \
        apt-get download -q meson/bookworm-backports &&
        dpkg-deb -x meson_*.deb .)
    mv "$1.part" "$1"
}

# ksm_qemu_pristine: unpacks the archive's source once; prints where.
ksm_qemu_pristine()
{
    ksm_source_pristine qemu "$KSM_QEMU_SUITE"
}

ksm_qemu_patches()
{
    ksm_series_patches "$KSM_QEMU_SERIES"
}

# ksm_qemu_source PATCHED FROM: brings build/qemu-src up to date.
ksm_qemu_source()
{
    local from=$2 patches=() always=no
    [ "$1" = no ] || mapfile -t patches < <(ksm_qemu_patches)
    if [ -e "$from/backends/hostmem-ksm.c" ]; then
        ksm_step "$from has the patches already"
        patches=()
    fi
    [ -z "${QEMU_SRC:-}" ] || always=yes
    ksm_source_stage qemu $always "$from" "${patches[@]}"
}

# ksm_qemu_python: a python that has a meson new enough; prints its path.
# QEMU's configure makes a virtual environment that sees this one's packages.
ksm_qemu_python()
{
    local venv=$KSM_CACHE/meson/venv site
    if ksm_have_meson; then
        ksm_system_python
        return 0
    fi
    if ! "$venv/bin/python3" -c 'import mesonbuild' 2>/dev/null; then
        rm -rf "$venv"
        ksm_logged qemu-venv "$(ksm_system_python)" -m venv --system-site-packages \
            --without-pip "$venv"
        site=$(echo "$venv"/lib/python3*/site-packages)
        cp -a "$KSM_CACHE"/meson/usr/lib/python3/dist-packages/. "$site/"
    fi
    printf '%s\n' "$venv/bin/python3"
}

# ksm_qemu_pkgconfig: the library in its build directory, for pkg-config;
# prints where.  (Meson's own -uninstalled file names no include directory
# but the target's.)
ksm_qemu_pkgconfig()
{
    local pc=$KSM_BUILD/pkgconfig
    mkdir -p "$pc"
    cat >"$pc/guest-ksm.pc" <<END
Name: guest-ksm
Description: libguest-ksm as built in $KSM_BUILD/plugin
Version: $(sed -n "s/^ *version: '\(.*\)',$/\1/p" "$KSM_ROOT/meson.build")
Requires: glib-2.0
Libs: -L$KSM_BUILD/plugin -lguest-ksm
Cflags: -I$KSM_ROOT/plugin/include
END
    printf '%s\n' "$pc"
}

# ksm_qemu_configure DIR SOURCE STAMP: only when something it depends on changed.
ksm_qemu_configure()
{
    local dir=$1 src=$2 stamp=$3 python pc key args share=/usr/share
    pc=$(ksm_qemu_pkgconfig)
    python=$(ksm_qemu_python)
    args=(--target-list=x86_64-softmmu --without-default-features
          --enable-system --enable-kvm --enable-tcg --enable-tools
          --enable-linux-aio --enable-linux-io-uring --enable-seccomp
          --enable-numa --enable-pixman
          --enable-vhost-kernel --enable-vhost-net --enable-vhost-vdpa
          --enable-vhost-user --enable-libvduse --enable-vduse-blk-export
          --disable-docs --disable-install-blobs --disable-modules
          --firmwarepath="$share/seabios:$share/qemu:/usr/lib/ipxe/qemu"
          --python="$python" --prefix=/usr/local --disable-download)
    if grep -q guest_ksm "$src/meson_options.txt"; then
        args+=(--enable-guest-ksm)
    fi
    if command -v ccache >/dev/null; then
        args+=(--cc="ccache gcc" --host-cc=gcc)
    fi
    # shellcheck disable=SC2206 # words on purpose
    args+=(${KSM_QEMU_CONFIGURE:-})
    key="$src ${args[*]} $(sha256sum <"$pc/guest-ksm.pc")"
    if [ -f "$dir/build.ninja" ] && ksm_stamped "$stamp" "$key"; then
        return 0
    fi
    ksm_step "configuring build/$(basename "$dir")"
    rm -rf "$dir"
    mkdir -p "$dir"
    (cd "$dir" && PKG_CONFIG_PATH=$pc${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH} \
        ksm_logged qemu-configure "$src/configure" "${args[@]}")
    ksm_stamp "$stamp" "$key"
}

# ksm_qemu_firmware DIR: run from its build directory, QEMU looks for every
# data directory below qemu-bundle: there, firmware is the system's.
ksm_qemu_firmware()
{
    local bundle=$1/qemu-bundle/usr link
    mkdir -p "$bundle"
    for link in share lib; do
        [ -L "$bundle/$link" ] || ln -s "/usr/$link" "$bundle/$link"
    done
}
