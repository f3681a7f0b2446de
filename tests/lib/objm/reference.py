# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""The distribution's varnishd, beside which a test may run ours."""
import os
import shutil
import subprocess

SKIPPED = 77  # the exit status of a test that says what is missing


def missing(path):
    """Why varnishd cannot be compared with, or None."""
    if not os.access(path, os.X_OK) or shutil.which("gcc") is None:
        return "there is no varnishd (Debian's package varnish) or no C compiler for it"
    said = subprocess.run([path, "-V"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout
    return None if b"varnish-7.1." in said else "varnishd is not of version 7.1"
