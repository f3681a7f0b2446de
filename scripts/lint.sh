#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
# lint.sh [FILE...]: format check, house rules, layering, and clang-tidy over the sources.
# clang-tidy takes seconds a file, so a file that passed is not looked at again until it, a header that it includes or
# the configuration changes (build/lint keeps the record).
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/asan record=build/lint
failed=0

step() {
    local name=$1
    shift
    if "$@"; then
        echo "lint: $name: ok"
    else
        echo "lint: $name: FAILED"
        failed=1
    fi
}

tidy_one() {
    local file=$1 deps digest stamp
    deps=$(gcc -MM -MG -Isrc "$file" | tr -d '\\' | tr ' ' '\n' | grep -E '^(src|bench|tests)/')
    # shellcheck disable=SC2086  # a list of files is what it is
    digest=$(cat .clang-tidy $deps | sha256sum | cut -c1-32)
    stamp=$record/$(echo "$file" | tr / -)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$digest" ] && return 0
    if clang-tidy --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option --warnings-as-errors='*' "$file" \
        2>"$stamp.err" >"$stamp.out"; then
        rm -f "$stamp.err" "$stamp.out"
        echo "$digest" >"$stamp"
    else
        cat "$stamp.out"
        grep -v 'warnings generated\|warnings treated as errors' "$stamp.err" || true
        rm -f "$stamp.err" "$stamp.out"
        return 1
    fi
}

tidy() {
    cmake --preset asan >/dev/null || return 1
    mkdir -p "$record"
    export record build
    export -f tidy_one
    local files=("$@")
    if [ ${#files[@]} = 0 ]; then
        mapfile -t files < <(find src bench -name '*.c' | sort)
    fi
    printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'tidy_one "$0"'
}

step format scripts/format.sh --check
step house tests/layering/house.py
step includes tests/layering/layering.py includes
step clang-tidy tidy "$@"
exit $failed
