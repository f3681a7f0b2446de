#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
# test.sh: everything that checks us, one step after the other; a summary closes.  A step that fails does not keep the
# next from running, but the exit status is then 1.
#   TEST_STEPS="asan lint" picks steps.
set -uo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
logs=build/test-logs
mkdir -p "$logs"
summary=() failed=0

# ctest's last words on how many tests passed, for the summary.
verdict_of() {
    grep -hE 'tests passed|^(yields|layering|house|fuzz):' "$1" | tail -n 1
}

step() {
    local name=$1 began=$SECONDS verdict=ok
    shift
    case " ${TEST_STEPS:-$name} " in *" $name "*) ;; *) return 0 ;; esac
    echo "== $name"
    if ! "$@" >"$logs/$name.log" 2>&1; then
        verdict=FAILED
        failed=1
        tail -n 60 "$logs/$name.log"
        echo "== $name FAILED (all of it: $logs/$name.log)"
    fi
    summary+=("$(printf '%-8s %-7s %4d s  %s' "$name" "$verdict" $((SECONDS - began)) "$(verdict_of "$logs/$name.log")")")
}

build_preset() {
    cmake --preset "$1" && cmake --build --preset "$1" -j "$jobs"
}

run_asan() {
    build_preset asan && ctest --preset asan -j "$jobs"
}

# The rooms where threads meet.  Without address randomisation: this sanitizer and many-bit randomisation do not agree.
run_tsan() {
    build_preset tsan || return 1
    export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp history_size=4"
    setarch -R ctest --preset tsan -j "$jobs" -R '^(unit|tsan)\.(run|store|cache|shm|backend|engine)'
}

run_fuzz() {
    [ -f fuzz/CMakeLists.txt ] || { echo "fuzz: no targets yet"; return 0; }
    build_preset fuzz && ctest --preset fuzz -L fuzz
}

# The warnings that only a build without sanitizers gives, and what an operator will run.
run_release() {
    cmake --preset release && cmake --build --preset release -j "$jobs"
}

step deps scripts/install-deps.sh run test
step asan run_asan
step tsan run_tsan
step fuzz run_fuzz
step release run_release
step lint scripts/lint.sh
echo
echo "make test: summary"
printf '  %s\n' "${summary[@]}"
[ $failed = 0 ] && echo "make test: all passed" || echo "make test: FAILED"
exit $failed
