# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# common.sh: what every script shares: places, progress, packages.
#
# Source it; it sets `set -euo pipefail` and changes to the project's root.

set -euo pipefail

KSM_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
KSM_BUILD=${KSM_BUILD:-$KSM_ROOT/build}
KSM_JOBS=${KSM_JOBS:-$(nproc)}

# ksm_step WORDS...: a line of progress, with the time since the start.
ksm_step()
{
    printf '[%3d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*" >&2
}

ksm_warn()
{
    printf 'warning: %s\n' "$*" >&2
}

# ksm_die WORDS...: what happened, to what, and what to do about it.
ksm_die()
{
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# ksm_dry WORDS...: in a dry run (KSM_DRY_RUN=yes) says what would be done now,
# and succeeds; otherwise fails without a word.
ksm_dry()
{
    [ "${KSM_DRY_RUN:-no}" = yes ] && ksm_step "dry run: would $*"
}

# ksm_cache_usable DIR: makes it, if need be; fails when it cannot be written.
ksm_cache_usable()
{
    mkdir -p "$1" 2>/dev/null && [ -w "$1" ]
}

# ksm_find_cache: sets KSM_CACHE, the directory of what is slow to make and may
# outlive the tree (sources, ccache, guest images).  The directory exists and
# can be written afterwards, so that no step relies on what an earlier one left.
# It is outside of the tree where there is a home for it, and else in build/.
ksm_find_cache()
{
    local home
    if [ -n "${KSM_CACHE:-}" ]; then
        ksm_cache_usable "$KSM_CACHE" || ksm_die "cannot write to" \
            "KSM_CACHE=$KSM_CACHE: name a directory that can be made and" \
            "written, or unset it"
        KSM_CACHE=$(cd "$KSM_CACHE" && pwd)
    else
        home=~                  # of the user database where HOME is not set
        KSM_CACHE=${XDG_CACHE_HOME:-${home%/}/.cache}/guest-ksm
        if ! ksm_cache_usable "$KSM_CACHE"; then
            ksm_step "cannot write to $KSM_CACHE: using $KSM_BUILD/cache"
            KSM_CACHE=$KSM_BUILD/cache
            ksm_cache_usable "$KSM_CACHE" || ksm_die "cannot write to" \
                "$KSM_CACHE: set KSM_CACHE to a directory that can be written"
        fi
    fi
    # What the scripts start must find the same one.
    export KSM_CACHE
}

# ksm_sudo CMD...: as root, by sudo when needed.
ksm_sudo()
{
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        ksm_die "'$*' needs root: run this script as root or install sudo"
    fi
}

# ksm_missing PACKAGE...: prints those that are not installed.
ksm_missing()
{
    local package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null |
            grep -qx installed || printf '%s\n' "$package"
    done
}

# ksm_packages PACKAGE...: installs the Debian packages that are missing.
ksm_packages()
{
    local missing
    mapfile -t missing < <(ksm_missing "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        ksm_die "needs the Debian packages: ${missing[*]}; install them by hand"
    ksm_step "installing ${#missing[@]} packages: ${missing[*]}"
    local log=$KSM_BUILD/logs/apt.log
    mkdir -p "$KSM_BUILD/logs"
    if ! ksm_apt_install "${missing[@]}" >"$log" 2>&1; then
        ksm_sudo apt-get update >>"$log" 2>&1 || true
        ksm_apt_install "${missing[@]}" >>"$log" 2>&1 || {
            tail -n 20 "$log" >&2
            ksm_die "apt-get could not install ${missing[*]}; see $log"
        }
    fi
}

ksm_apt_install()
{
    ksm_sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends "$@"
}

ksm_find_cache
cd "$KSM_ROOT"
