#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
# fuzz.sh: runs each fuzz target for FUZZ_SECONDS (60).  What it finds new goes to build/fuzz/found/NAME, beside the
# kept corpus in fuzz/corpus/NAME; inputs that break something are left in build/fuzz/broken.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "$(nproc)"
mkdir -p build/fuzz/broken
failed=() names=()
for target in build/fuzz/bin/fuzz_*; do
    [ -x "$target" ] || continue
    name=${target##*/fuzz_}
    names+=("$name")
    mkdir -p "build/fuzz/found/$name" "fuzz/corpus/$name"
    echo "fuzz: $name for $seconds s"
    "$target" -max_total_time="$seconds" -timeout=10 -artifact_prefix="build/fuzz/broken/$name-" -verbosity=0 \
        -print_final_stats=1 "build/fuzz/found/$name" "fuzz/corpus/$name" || failed+=("$name")
done
echo "fuzz: ${#names[@]} targets, failed: ${failed[*]:-none}"
[ ${#names[@]} -gt 0 ] && [ ${#failed[@]} = 0 ]
