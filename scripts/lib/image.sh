# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# image.sh: systems made from Debian's packages, as disk images in the cache.
#
# An image is kept in $KSM_CACHE under a name made of its recipe's checksum,
# so it is made again only when a file of the recipe changes; build/guests/NAME
# is a link to it.  Needs root (debootstrap makes device files and changes
# root), but neither loop devices nor mounts of our own.

# ksm_image_debootstrap ROOT SUITE PACKAGES: a new, minimal system.
ksm_image_debootstrap()
{
    local mirror
    mirror=$(ksm_debian_mirror)
    ksm_sudo debootstrap --variant=minbase --include="$3" "$2" "$1" "$mirror"
}

# ksm_image_disk ROOT SIZE OUT: OUT/disk.img, of what is in ROOT.
ksm_image_disk()
{
    truncate -s "$2" "$3/disk.img" &&
        ksm_sudo mke2fs -q -F -t ext4 -L guest -d "$1" "$3/disk.img" &&
        ksm_sudo chown "$(id -u)" "$3"/* &&
        chmod 0444 "$3"/*
}

# ksm_image_make WHERE MAKE LOG: into a directory that takes its place whole.
# MAKE gets a directory to work in, and leaves the result in its `out`.
ksm_image_make()
{
    local work
    work=$(mktemp -d "$KSM_CACHE/guests/making.XXXXXX")
    # shellcheck disable=SC2064  # the value of now
    trap "ksm_sudo rm -rf --one-file-system '$work'" EXIT
    mkdir "$work/out"
    "$2" "$work" >"$3" 2>&1 || {
        tail -n 20 "$3" >&2
        ksm_die "the image could not be made; see $3"
    }
    mv -T "$work/out" "$1" 2>/dev/null || [ -f "$1/disk.img" ]
}

# ksm_image NAME SUITE RECIPE MAKE: prints the link to the directory that has
# what MAKE made.
ksm_image()
{
    local cache id
    id=$(cd "$3" && find . -type f -print0 | LC_ALL=C sort -z |
         xargs -0 sha256sum | sha256sum | cut -c1-12)
    cache=$KSM_CACHE/guests/$1-$2-$id
    mkdir -p "$KSM_CACHE/guests" "$KSM_BUILD/guests" "$KSM_BUILD/logs"
    exec 9>"$KSM_CACHE/guests/lock"
    flock 9
    if [ ! -f "$cache/disk.img" ]; then
        ksm_packages debootstrap e2fsprogs
        ! ksm_dry "make build/guests/$1" || return 0
        ksm_step "making build/guests/$1 from Debian's packages: some minutes"
        ksm_image_make "$cache" "$4" "$KSM_BUILD/logs/$1-guest.log"
    fi
    ln -sfnT "$cache" "$KSM_BUILD/guests/$1"
    printf '%s\n' "$KSM_BUILD/guests/$1"
}
