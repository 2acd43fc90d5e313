# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# fuzz.sh: the fuzzers of tests/fuzz, built by clang with ASan and UBSan.

KSM_FUZZERS=(broker engine control)

ksm_setup_fuzz()
{
    local dir=$KSM_BUILD/plugin-fuzz
    if [ ! -f "$dir/build.ninja" ]; then
        CC=clang meson setup "$dir" "$KSM_ROOT" -Db_lundef=false \
            -Db_sanitize=address,undefined \
            -Dc_args=-fsanitize=fuzzer-no-link
    fi
    ninja -C "$dir" -j "$KSM_JOBS" \
        "${KSM_FUZZERS[@]/#/tests/fuzz/fuzz-}"
}

# ksm_fuzz NAME SECONDS: from the corpus in tests/data, and what an earlier run
# found; an input that fails is left in the logs' directory.
ksm_fuzz()
{
    local name=$1 seconds=$2 found=$KSM_BUILD/fuzz/$1
    mkdir -p "$found"
    "$KSM_BUILD/plugin-fuzz/tests/fuzz/fuzz-$name" \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
        -max_len=4096 -detect_leaks=0 -print_final_stats=1 \
        -artifact_prefix="$KSM_BUILD/logs/fuzz-$name-" \
        "$found" "$KSM_ROOT/tests/data/fuzz-$name" 2>&1 |
        grep -vE '^(INFO|#[0-9]+\s+(NEW|REDUCE|pulse))'
}

# Each in turn, for KSM_FUZZ_SECONDS (5).
ksm_check_fuzz()
{
    local name status=0
    export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
    UBSAN_OPTIONS+=:halt_on_error=1
    ksm_setup_fuzz || return 1
    for name in "${KSM_FUZZERS[@]}"; do
        echo "fuzz-$name for ${KSM_FUZZ_SECONDS:-5} s"
        ksm_fuzz "$name" "${KSM_FUZZ_SECONDS:-5}" || status=1
    done
    return "$status"
}

# ksm_fuzz_minimize: the corpus anew, from it and from what was found.
ksm_fuzz_minimize()
{
    local name new
    for name in "${KSM_FUZZERS[@]}"; do
        new=$KSM_BUILD/fuzz/$name-new
        rm -rf "$new"
        mkdir -p "$new"
        "$KSM_BUILD/plugin-fuzz/tests/fuzz/fuzz-$name" -merge=1 "$new" \
            "$KSM_ROOT/tests/data/fuzz-$name" "$KSM_BUILD/fuzz/$name"
        rm -rf "$KSM_ROOT/tests/data/fuzz-$name"
        mv "$new" "$KSM_ROOT/tests/data/fuzz-$name"
    done
}
