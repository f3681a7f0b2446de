#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
# page.sh PROGRAM MODULE FILE: whether the reference page in FILE is what PROGRAM prints, and groff takes it.
# `PROGRAM MODULE > FILE` makes it so.
set -euo pipefail
"$1" "$2" | diff -u "$3" - || { echo "docs/man is behind the tables: $(basename "$1") $2 > $3"; exit 1; }
if command -v groff > /dev/null; then
    complaints=$(groff -man -Tutf8 -ww "$3" 2>&1 > /dev/null)
    [ -z "$complaints" ] || { echo "$complaints"; exit 1; }
fi
