# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# common.sh: what every script shares: places, progress, packages.
#
# Source it; it sets `set -euo pipefail` and changes to the project's root.

set -euo pipefail

KSM_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
KSM_BUILD=${KSM_BUILD:-$KSM_ROOT/build}
# Things that are slow to make and may outlive the tree (QEMU's source,
# ccache, guest images): kept outside when there is a home for them.
KSM_CACHE=${KSM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/guest-ksm}
KSM_JOBS=${KSM_JOBS:-$(nproc)}
cd "$KSM_ROOT"

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
