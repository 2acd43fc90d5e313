# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# source.sh: a Debian source package, got, patched, and built with ninja.
#
# Three trees: the archive's own, unpacked once under $KSM_CACHE and never
# changed; a patched copy of it, made anew when the patches change and thrown
# away; and build/NAME-src, brought up to date from that copy by content, so
# that ninja rebuilds only what a patch really changed.

# The suite whose packages the series are made for: Debian 13.
KSM_SOURCE_SUITE=trixie

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
            "set KSM_DEBIAN_MIRROR to a mirror's address, or QEMU_SRC or" \
            "LIBVIRT_SRC to a source tree"
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

# ksm_cache_locked CMD...: alone among all that read package lists into the
# cache, or unpack there, from whatever tree.
ksm_cache_locked()
{
    (
        flock 8
        "$@"
    ) 8>"$KSM_CACHE/lock"
}

# ksm_apt DIR CMD...: an apt with sources, lists and cache of its own; the
# system's are neither read nor changed.
ksm_apt()
{
    local dir=$1
    shift
    APT_CONFIG=$dir/apt.conf "$@"
}

# ksm_apt_setup DIR SOURCE...: with the given lines (deb or deb-src, suite and
# components, without the mirror) as its sources, and their lists read.
ksm_apt_setup()
{
    local apt=$1 mirror line signed
    shift
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
    for line in "$@"; do
        printf '%s [signed-by=%s] %s %s\n' "${line%% *}" "$signed" \
            "$mirror" "${line#* }"
    done >"$apt/sources.list"
    ksm_step "reading the package lists: $*"
    ksm_logged "$(basename "$apt")-lists" ksm_apt "$apt" apt-get update -q
}

# ksm_source_dir PACKAGE SUITE: where its archives and trees are kept.
ksm_source_dir()
{
    local suite=
    [ "$2" = "$KSM_SOURCE_SUITE" ] || suite=-$2
    printf '%s\n' "$KSM_CACHE/$1$suite"
}

# ksm_source_cached PACKAGE SUITE: the newest one in the cache, as
# PACKAGE_VERSION, or nothing.
ksm_source_cached()
{
    find "$(ksm_source_dir "$@")" -maxdepth 1 -name "$1_*.debian.tar.*" \
        2>/dev/null | sort -V | tail -n 1 |
        sed -e 's,.*/,,' -e 's,\.debian\.tar\..*,,'
}

# ksm_source_download APT PACKAGE: its tar archives, here.  Their checksums
# are those of the signed package list; the .dsc and the upstream's signature
# would add nothing to that, and not every mirror has them.
ksm_source_download()
{
    local uri file hash uris
    uris=$(ksm_apt "$1" apt-get source -q --print-uris --only-source "$2" |
        sed -n "s/^'\(.*\.tar\.[a-z0-9]*\)' \([^ ]*\) [0-9]* \(.*\)/\1 \2 \3/p")
    [ -n "$uris" ] || ksm_die "apt knows no source package $2; see $1"
    while read -r uri file hash; do
        [ -n "$hash" ] || ksm_die "$file has no checksum in the package list"
        ksm_logged "$2-fetch" ksm_apt "$1" /usr/lib/apt/apt-helper \
            download-file "$uri" "$file" "$hash"
    done <<<"$uris"
}

# ksm_source_fetch PACKAGE SUITE UPDATE: the source package into the cache,
# unless there is one.  What is there is complete: it comes from a directory
# .part, the Debian part last.
ksm_source_fetch()
{
    if [ "$3" = yes ] || [ -z "$(ksm_source_cached "$1" "$2")" ]; then
        ksm_cache_locked source_fetch "$1" "$2"
    fi
}

source_fetch()
{
    local dir part apt=$KSM_CACHE/apt-$2
    dir=$(ksm_source_dir "$1" "$2")
    part=$dir/.part
    ksm_apt_setup "$apt" "deb-src $2 main"
    ! ksm_dry "fetch the source package $1 from $2" || return 0
    ksm_step "fetching the source package $1 from $2"
    rm -rf "$part"
    mkdir -p "$part"
    cd "$part" || exit
    ksm_source_download "$apt" "$1"
    mv ./*.orig*.tar.* ..
    mv ./*.debian.tar.* ..
    rm -rf "$part"
}

# ksm_source_unpack STEM TO: the upstream's archive, Debian's patches applied.
ksm_source_unpack()
{
    local stem=$1 to=$2 patches
    mkdir -p "$to"
    tar -C "$to" --strip-components=1 -xf "${stem%-*}".orig.tar.*
    tar -C "$to" -xf "$stem".debian.tar.*
    mapfile -t patches < <(ksm_series_patches "$to/debian/patches")
    ksm_source_apply "$to" "${patches[@]}"
}

# ksm_source_pristine PACKAGE SUITE: unpacks what is cached once; prints where.
ksm_source_pristine()
{
    ksm_cache_locked source_pristine "$@"
}

source_pristine()
{
    local name dir
    name=$(ksm_source_cached "$1" "$2")
    dir=$(ksm_source_dir "$1" "$2")/$name
    if [ ! -d "$dir" ]; then
        ksm_step "unpacking $name"
        rm -rf "$dir.part"
        ksm_source_unpack "$dir" "$dir.part"
        mv "$dir.part" "$dir"
    fi
    printf '%s\n' "$dir"
}

# ksm_series_patches DIR: the patches of DIR/series, in order, as full paths.
ksm_series_patches()
{
    [ -f "$1/series" ] || return 0
    sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$1/series" |
        while read -r patch _; do
            printf '%s/%s\n' "$1" "$patch"
        done
}

# ksm_source_copy FROM TO: a copy without what a build here does not need.
ksm_source_copy()
{
    mkdir -p "$2"
    rsync -a --delete --exclude=/.git --include=/build-aux --exclude='/build*' \
        --exclude=/.pc --exclude='/roms/*/' --exclude=/debian "$1/" "$2/"
}

# ksm_source_apply DIR PATCH...: all of them or an error that says which.
ksm_source_apply()
{
    local dir=$1 patch
    shift
    for patch in "$@"; do
        ksm_logged source-patch patch -d "$dir" -p1 -N \
            --no-backup-if-mismatch -i "$patch"
    done
}

# ksm_source_stage NAME ALWAYS FROM PATCH...: brings build/NAME-src up to date.
# ALWAYS says that FROM may have changed, though its name has not.
ksm_source_stage()
{
    local name=$1 always=$2 from=$3 key stage=$KSM_BUILD/$1-src.new
    shift 3
    key="$from $(cat /dev/null "$@" | sha256sum)"
    if [ "$always" = no ] && ksm_stamped "$name-src" "$key"; then
        return 0
    fi
    ksm_step "applying $# patches in build/$name-src"
    rm -rf "$stage" "$KSM_BUILD/stamps/$name-src"
    ksm_source_copy "$from" "$stage"
    ksm_source_apply "$stage" "$@"
    # Without -t: a file whose content changed gets a new time, no other does.
    rsync -rlpc --delete "$stage/" "$KSM_BUILD/$name-src/"
    rm -rf "$stage"
    ksm_stamp "$name-src" "$key"
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

# One compiler cache for all trees of this layout, wherever they lie.
ksm_ccache()
{
    export CCACHE_DIR=${CCACHE_DIR:-$KSM_CACHE/ccache}
    export CCACHE_BASEDIR=$KSM_BUILD CCACHE_NOHASHDIR=1
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

# ksm_ninja NAME DIR TARGET...: builds, with progress; NAME for log and errors.
ksm_ninja()
{
    local name=$1 dir=$2 log=$KSM_BUILD/logs/$1-build.log
    shift 2
    mkdir -p "$KSM_BUILD/logs"
    ksm_ccache
    if ! ninja -C "$dir" -j "$KSM_JOBS" "$@" 2>&1 | tee "$log" |
        ksm_progress 30; then
        grep -E -A 12 '^FAILED|error:' "$log" >&2 || tail -n 30 "$log" >&2
        ksm_die "building $name failed; see $log"
    fi
}
