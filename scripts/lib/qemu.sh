# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# qemu.sh: getting QEMU's source, applying the patches, building it.
#
# Three trees: the archive's own, unpacked once under $KSM_CACHE and never
# changed; a patched copy of it, made anew when the patches change and thrown
# away; and build/qemu-src, brought up to date from that copy by content, so
# that ninja rebuilds only what a patch really changed.

KSM_QEMU_SUITE=${KSM_QEMU_SUITE:-trixie}
KSM_QEMU_SERIES=$KSM_ROOT/qemu-patches/10.0
KSM_QEMU_CACHE=$KSM_CACHE/qemu
KSM_QEMU_MESON_FLOOR=1.5
# shellcheck disable=SC2034 # used by the scripts that source this
KSM_QEMU_PACKAGES=(gcc ninja-build pkg-config python3 python3-venv flex bison
                   dpkg-dev xz-utils patch rsync ccache libglib2.0-dev
                   libpixman-1-dev zlib1g-dev libaio-dev liburing-dev
                   libseccomp-dev seabios ipxe-qemu qemu-system-data)

# A stamp holds the key of what a step was last done for.
ksm_stamped()
{
    [ "$(cat "$KSM_BUILD/stamps/$1" 2>/dev/null)" = "$2" ]
}

ksm_stamp()
{
    mkdir -p "$KSM_BUILD/stamps"
    printf '%s\n' "$2" >"$KSM_BUILD/stamps/$1"
}

# ksm_logged NAME CMD...: runs CMD with its output in build/logs/NAME.log.
ksm_logged()
{
    local log=$KSM_BUILD/logs/$1.log
    shift
    mkdir -p "$KSM_BUILD/logs"
    "$@" >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        ksm_die "failed: $*; see $log"
    }
}

# The address of the first Debian archive among apt's sources, whichever way
# (one-line or deb822) they are written; nothing before apt-get update.
ksm_apt_mirror()
{
    # shellcheck disable=SC2016 # apt's placeholders, not the shell's
    apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(CODENAME)' \
        'Created-By: Packages' |
        awk '$2 == "main" && $3 ~ /^[a-z]+$/ { print $1; exit }'
}

ksm_debian_mirror()
{
    local mirror=${KSM_DEBIAN_MIRROR:-}
    if [ -z "$mirror" ]; then
        grep -qx 'ID=debian' /etc/os-release || ksm_die "this is not Debian:" \
            "set KSM_DEBIAN_MIRROR to a mirror's address, or QEMU_SRC to a" \
            "source tree of QEMU 10.0"
        mirror=$(ksm_apt_mirror)
    fi
    if [ -z "$mirror" ]; then
        ksm_logged apt-update ksm_sudo apt-get update -q
        mirror=$(ksm_apt_mirror)
    fi
    [ -n "$mirror" ] || ksm_die "apt has no Debian mirror among its sources:" \
        "set KSM_DEBIAN_MIRROR to one's address"
    printf '%s\n' "${mirror%/}"
}

# ksm_apt CMD...: an apt with sources, lists and cache of its own; the
# system's are neither read nor changed.
ksm_apt()
{
    APT_CONFIG=$KSM_CACHE/apt/apt.conf "$@"
}

ksm_apt_setup()
{
    local apt=$KSM_CACHE/apt mirror signed
    mirror=$(ksm_debian_mirror)
    signed=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    cat >"$apt/apt.conf" <<END
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "$(id -un)";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
    printf 'deb-src [signed-by=%s] %s %s main\n' \
        "$signed" "$mirror" "$KSM_QEMU_SUITE" >"$apt/sources.list"
    if ! ksm_have_meson; then
        printf 'deb [signed-by=%s] %s bookworm-backports main\n' \
            "$signed" "$mirror" >>"$apt/sources.list"
    fi
    ksm_step "reading the package lists of $KSM_QEMU_SUITE"
    ksm_logged qemu-apt ksm_apt apt-get update -q
}

# The system's python: one from elsewhere (pyenv) does not see its packages.
ksm_system_python()
{
    if [ -x /usr/bin/python3 ]; then
        echo /usr/bin/python3
    else
        command -v python3
    fi
}

ksm_have_meson()
{
    local version
    version=$("$(ksm_system_python)" -c \
        'from mesonbuild import coredata; print(coredata.version)' \
        2>/dev/null) || return 1
    dpkg --compare-versions "$version" ge "$KSM_QEMU_MESON_FLOOR"
}

# The newest source package in the cache, or nothing.
ksm_qemu_cached()
{
    find "$KSM_QEMU_CACHE" -maxdepth 1 -name 'qemu_*.dsc' 2>/dev/null |
        sort -V | tail -n 1
}

# ksm_qemu_fetch UPDATE: the source package and, when the system's is too
# old, meson, into the cache.  What is there is complete: it comes from .part
# directories, the .dsc last.
ksm_qemu_fetch()
{
    local part=$KSM_QEMU_CACHE/.part
    if [ "$1" = yes ] || [ -z "$(ksm_qemu_cached)" ]; then
        ksm_apt_setup
        ksm_step "fetching QEMU's source package from $KSM_QEMU_SUITE"
        rm -rf "$part"
        mkdir -p "$part"
        (cd "$part" && ksm_logged qemu-fetch ksm_apt \
            apt-get source -q --download-only --only-source qemu)
        mv "$part"/*.tar.* "$KSM_QEMU_CACHE/"
        mv "$part"/*.dsc "$KSM_QEMU_CACHE/"
        rm -rf "$part"
    fi
    if ! ksm_have_meson && [ ! -d "$KSM_CACHE/meson/usr" ]; then
        ksm_meson_fetch "$KSM_CACHE/meson"
    fi
}

ksm_meson_fetch()
{
    grep -qs backports "$KSM_CACHE/apt/sources.list" || ksm_apt_setup
    ksm_step "fetching meson from bookworm-backports, for QEMU alone"
    rm -rf "$1" "$1.part"
    mkdir -p "$1.part"
    (cd "$1.part" && ksm_logged meson-fetch ksm_apt \
        apt-get download -q meson/bookworm-backports &&
        dpkg-deb -x meson_*.deb .)
    mv "$1.part" "$1"
}

# ksm_qemu_pristine: unpacks the archive's source once; prints where.
ksm_qemu_pristine()
{
    local dsc dir
    dsc=$(ksm_qemu_cached)
    dir=$KSM_QEMU_CACHE/$(basename "$dsc" .dsc)
    if [ ! -f "$dir/VERSION" ]; then
        ksm_step "unpacking $(basename "$dsc")"
        rm -rf "$dir" "$dir.part"
        ksm_logged qemu-unpack dpkg-source --no-check -x "$dsc" "$dir.part"
        mv "$dir.part" "$dir"
    fi
    printf '%s\n' "$dir"
}

# Patches of the series, in order, as full paths.
ksm_qemu_patches()
{
    [ -f "$KSM_QEMU_SERIES/series" ] || return 0
    sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$KSM_QEMU_SERIES/series" |
        while read -r patch; do
            printf '%s/%s\n' "$KSM_QEMU_SERIES" "$patch"
        done
}

# ksm_qemu_copy FROM TO: a copy without what a build here does not need.
ksm_qemu_copy()
{
    mkdir -p "$2"
    rsync -a --delete --exclude=/.git --exclude='/build*' --exclude=/.pc \
        --exclude='/roms/*/' --exclude=/debian "$1/" "$2/"
}

# ksm_qemu_apply DIR PATCH...: all of them or an error that says which.
ksm_qemu_apply()
{
    local dir=$1 patch
    shift
    for patch in "$@"; do
        ksm_logged "qemu-patch" patch -d "$dir" -p1 -N --no-backup-if-mismatch \
            -i "$patch"
    done
}

# ksm_qemu_source PATCHED FROM: brings build/qemu-src up to date.
ksm_qemu_source()
{
    local from=$2 patches=() key stage=$KSM_BUILD/qemu-src.new
    [ "$1" = no ] || mapfile -t patches < <(ksm_qemu_patches)
    if [ -e "$from/backends/hostmem-ksm.c" ]; then
        ksm_step "$from has the patches already"
        patches=()
    fi
    key="$from $(cat /dev/null "${patches[@]}" | sha256sum)"
    if [ -z "${QEMU_SRC:-}" ] && ksm_stamped qemu-src "$key"; then
        return 0
    fi
    ksm_step "applying ${#patches[@]} patches in build/qemu-src"
    rm -rf "$stage" "$KSM_BUILD/stamps/qemu-src"
    ksm_qemu_copy "$from" "$stage"
    ksm_qemu_apply "$stage" "${patches[@]}"
    # Without -t: a file whose content changed gets a new time, no other does.
    rsync -rlpc --delete "$stage/" "$KSM_BUILD/qemu-src/"
    rm -rf "$stage"
    ksm_stamp qemu-src "$key"
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
          --enable-pixman --disable-docs --disable-install-blobs
          --disable-modules
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

# ksm_progress SECONDS: ninja's lines from stdin; on a terminal one line that
# is written over, elsewhere one line every SECONDS.
ksm_progress()
{
    local line last=$((SECONDS - $1 + 5)) count
    while IFS= read -r line; do
        [[ $line =~ ^\[([0-9]+/[0-9]+)\] ]] || continue
        count=${BASH_REMATCH[1]}
        if [ -t 2 ]; then
            printf '\r\033[K%.78s' "$line" >&2
        elif [ $((SECONDS - last)) -ge "$1" ]; then
            ksm_step "step $count"
            last=$SECONDS
        fi
    done
    [ ! -t 2 ] || printf '\r\033[K' >&2
}

# ksm_qemu_ninja DIR TARGET...
ksm_qemu_ninja()
{
    local dir=$1 log=$KSM_BUILD/logs/qemu-build.log
    shift
    mkdir -p "$KSM_BUILD/logs"
    # One cache for all trees of this layout, wherever they lie.
    export CCACHE_DIR=${CCACHE_DIR:-$KSM_CACHE/ccache}
    export CCACHE_BASEDIR=$KSM_BUILD CCACHE_NOHASHDIR=1
    if ! ninja -C "$dir" -j "$KSM_JOBS" "$@" 2>&1 | tee "$log" |
        ksm_progress 30; then
        grep -E -A 12 '^FAILED|error:' "$log" >&2 || tail -n 30 "$log" >&2
        ksm_die "building QEMU failed; see $log"
    fi
}
