#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
# format.sh [--check]: formats the C sources in place; with --check it only says which are not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."
folders=()
for folder in src tests bench fuzz client varnish; do
    [ -d "$folder" ] && folders+=("$folder")
done
mode=(-i)
[ "${1-}" = --check ] && mode=(--dry-run -Werror)
find "${folders[@]}" -name '*.[ch]' -print0 | xargs -0 -r -n 20 -P "$(nproc)" clang-format "${mode[@]}"
