# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# test-suites.sh: the steps of scripts/test; each records what it found.

KSM_RESULTS=$KSM_BUILD/logs/test-results.jsonl
KSM_TOTALS=$KSM_ROOT/scripts/lib/test-totals.py

ksm_test_packages()
{
    ksm_packages "${KSM_PLUGIN_PACKAGES[@]}" "${KSM_LIBVIRT_PACKAGES[@]}" \
        python3 git shellcheck cppcheck clang clang-format libclang-rt-dev python3-prometheus-client tmux mandoc \
        apparmor systemd spin
}

# ksm_own_tmpdir: one directory for all that tests make, as killed ones leave it
# behind; with a short name, as sockets lie below it, and for all users.
ksm_own_tmpdir()
{
    TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/ksm-XXXXXX")
    export TMPDIR
    chmod 1777 "$TMPDIR"
}

# ksm_timeouts: a multiplier for meson's, from the seconds tests may take.
ksm_timeouts()
{
    awk -v s="${KSM_TEST_SECONDS:-10}" 'BEGIN { print 1 + int(s / 200) }'
}

# ksm_run_suite DIR SUITE RESULTS: one meson suite; its cases to RESULTS.
# Succeeds when all of it did.
ksm_run_suite()
{
    local dir=$1 suite=$2 results=$3 status=0
    local json=$dir/meson-logs/suite-$suite.json
    rm -f "$json"
    ksm_step "suite $suite in ${dir#"$KSM_ROOT"/}"
    meson test -C "$dir" --no-rebuild --suite "$suite" --no-suite bench \
        --logbase "suite-$suite" --num-processes "$KSM_JOBS" \
        --timeout-multiplier "$(ksm_timeouts)" </dev/null >&2 || status=$?
    if [ -s "$json" ]; then
        python3 "$KSM_TOTALS" "$results" meson "$suite" "$json"
        if [ "$status" != 0 ] &&
            ! grep -q "\"suite\": \"$suite\".*\"failed\"" "$results"; then
            python3 "$KSM_TOTALS" "$results" check "meson-$suite" "$status" \
                /dev/null
        fi
    else
        echo "no test of suite $suite ran in $dir" >"$dir/no-$suite.log"
        python3 "$KSM_TOTALS" "$results" check "suite-$suite" 1 \
            "$dir/no-$suite.log"
        status=1
    fi
    return "$status"
}

# ksm_record NAME STATUS LOG: a check as one case.
ksm_record()
{
    python3 "$KSM_TOTALS" "$KSM_RESULTS" check "$@"
}

# ksm_check NAME COMMAND...: runs it, output to a log, counts it.
ksm_check()
{
    local name=$1 log=$KSM_BUILD/logs/check-$1.log status=0
    shift
    ksm_step "check $name"
    "$@" </dev/null >"$log" 2>&1 || status=$?
    ksm_record "$name" "$status" "$log"
    return "$status"
}

ksm_shell_scripts()
{
    git ls-files -co --exclude-standard | while read -r file; do
        case $file in *.patch|*.py) continue ;; esac
        if [ -f "$file" ] && { [ "${file##*.}" = sh ] ||
            head -n 1 "$file" | grep -aqE '^#!.*\b(ba)?sh\b'; }; then
            printf '%s\n' "$file"
        fi
    done
}

# The functions below are run through ksm_check.

ksm_check_shell()
{
    ksm_shell_scripts | xargs shellcheck -x
}

# Each release of clang-format lays a little out in another way: Debian 12's is
# the one that counts.
ksm_check_format()
{
    local tool
    tool=$(command -v clang-format-14 || command -v clang-format)
    if ! "$tool" --version | grep -q 'version 14\.'; then
        echo "format: not compared, as $("$tool" --version) is not version 14"
        return 0
    fi
    git ls-files '*.c' '*.h' | xargs "$tool" --dry-run -Werror
}

ksm_check_cppcheck()
{
    # varFuncNullUB: NULL is a pointer in every C library we build with.
    cppcheck --quiet --error-exitcode=1 --std=c11 --library=gtk \
        --enable=warning,performance,portability --inline-suppr \
        --suppress=missingIncludeSystem --suppress=unknownMacro \
        --suppress=varFuncNullUB \
        -j "$KSM_JOBS" -D_GNU_SOURCE -D__linux__ -D__x86_64__ \
        -Iplugin/include -Iplugin/protocol -Iplugin/sys -Iplugin/engine \
        -Iplugin/broker -Iplugin/ctl plugin
}

# ksm_setup DIR ARG...: a meson build directory, made once, built.
ksm_setup()
{
    local dir=$1
    shift
    if [ ! -f "$dir/build.ninja" ]; then
        meson setup "$dir" "$KSM_ROOT" "$@"
    fi
    ninja -C "$dir" -j "$KSM_JOBS"
}

ksm_check_model()
{
    tests/model/run "$KSM_BUILD/model"
}

ksm_check_clang()
{
    CC=clang ksm_setup "$KSM_BUILD/plugin-clang" -Dwerror=true
}

ksm_setup_asan()
{
    ksm_setup "$KSM_BUILD/plugin-asan" -Db_sanitize=address,undefined \
        -Db_lundef=false
}

# ksm_asan_suites RESULTS SUITE...: with the sanitizers, errors being fatal.
ksm_asan_suites()
{
    local results=$1 status=0 suite
    shift
    export ASAN_OPTIONS=abort_on_error=0:exitcode=99:detect_leaks=1
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    ksm_setup_asan >&2 || return 1
    for suite in "$@"; do
        ksm_run_suite "$KSM_BUILD/plugin-asan" "$suite" "$results" || status=1
    done
    return "$status"
}

ksm_check_asan()
{
    local results=$KSM_BUILD/logs/asan-results.jsonl status=0
    : >"$results"
    ksm_asan_suites "$results" unit broker || status=1
    python3 "$KSM_TOTALS" "$results" total || status=1
    return "$status"
}

# ksm_qtest: QEMU's own test of the backend.
ksm_qtest()
{
    local program=$KSM_BUILD/qemu/tests/qtest/ksm-test status=0
    local log=$KSM_BUILD/logs/qtest.log
    ksm_step "qtest of memory-backend-ksm"
    if [ -x "$program" ]; then
        (cd "$KSM_BUILD/qemu" &&
            QTEST_QEMU_BINARY=./qemu-system-x86_64 \
                GUEST_KSMD=$KSM_BUILD/plugin/guest-ksmd \
                timeout 600 "$program" --tap) \
            </dev/null >"$log" 2>&1 || status=$?
    else
        echo "$program is not there: scripts/build-qemu builds it" >"$log"
        status=127
    fi
    python3 "$KSM_TOTALS" "$KSM_RESULTS" tap qemu qtest "$status" "$log"
}

# What suite libvirt-native depends on, as one word.
ksm_libvirt_key()
{
    (cd "$KSM_ROOT" && git ls-files -co --exclude-standard libvirt-patches \
        'tests/libvirt/*native*' tests/libvirt/gdb_memory.py \
        scripts/build-libvirt scripts/lib/libvirt.sh |
        sort | xargs -d '\n' sha256sum | sha256sum | cut -d ' ' -f 1)
}

KSM_LIBVIRT_PASSED=$KSM_CACHE/libvirt-native.passed

ksm_libvirt_passed()
{
    [ "$(cat "$KSM_LIBVIRT_PASSED" 2>/dev/null)" = "$(ksm_libvirt_key)" ]
}

# ksm_libvirt_skip REASON: all of the suite.
ksm_libvirt_skip()
{
    local log=$KSM_BUILD/logs/libvirt-native.log
    echo "1..0 # SKIP $1" >"$log"
    python3 "$KSM_TOTALS" "$KSM_RESULTS" tap libvirt-native all 0 "$log"
}

# ksm_libvirt_native: the test programs of tests/libvirt for a built libvirt.
ksm_libvirt_native()
{
    local name log status all=0
    # A QEMU that lacks the object.
    ksm_packages qemu-system-x86
    for name in programs live; do
        log=$KSM_BUILD/logs/libvirt-native-$name.log
        status=0
        ksm_step "libvirt-native: $name"
        PYTHONDONTWRITEBYTECODE=1 timeout 900 /usr/bin/python3 \
            "$KSM_ROOT/tests/libvirt/test-native-$name.py" </dev/null \
            >"$log" 2>&1 || status=$?
        python3 "$KSM_TOTALS" "$KSM_RESULTS" tap libvirt-native "$name" \
            "$status" "$log"
        [ "$status" = 0 ] || all=1
    done
    [ $all != 0 ] || ksm_libvirt_key >"$KSM_LIBVIRT_PASSED"
    return $all
}
