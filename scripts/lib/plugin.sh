# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# plugin.sh: building the library and the programs into build/plugin.

KSM_PLUGIN_PACKAGES=(gcc meson ninja-build pkg-config libglib2.0-dev
                     libxxhash-dev libjson-glib-dev liburing-dev libcairo2-dev
                     libmicrohttpd-dev libncurses-dev libseccomp-dev
                     libvirt-dev libxml2-dev)

# What a libvirt daemon of our own (lib/libvirt) is made of.
# shellcheck disable=SC2034 # used by the scripts that source this
KSM_LIBVIRT_PACKAGES=(libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients)

# ksm_build_plugin: set up once, then as little as needed.
ksm_build_plugin()
{
    local dir=$KSM_BUILD/plugin log=$KSM_BUILD/logs/plugin.log
    ksm_packages "${KSM_PLUGIN_PACKAGES[@]}"
    ! ksm_dry "build the plugin in build/plugin" || return 0
    mkdir -p "$KSM_BUILD/logs"
    ksm_step "building the plugin in build/plugin"
    if [ ! -f "$dir/build.ninja" ]; then
        meson setup --buildtype=debugoptimized "$dir" "$KSM_ROOT" \
            >"$log" 2>&1 || {
            tail -n 30 "$log" >&2
            ksm_die "meson setup failed for build/plugin; see $log"
        }
    fi
    ninja -C "$dir" -j "$KSM_JOBS" >"$log" 2>&1 || {
        grep -E 'error|FAILED' "$log" >&2 || tail -n 30 "$log" >&2
        ksm_die "building the plugin failed; see $log"
    }
}
