#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""install-deps.sh against a stubbed apt: what it installs, and that its guard against starting services comes and goes."""
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "scripts", "install-deps.sh")
PACKAGES = "# a comment\nrun gcc\nrun varnish varnish varnishncsa\nbench nginx nginx\n"
FOREIGN_POLICY = '#!/bin/sh\necho "asked $*" >>"$STUBS/foreign"\nexit 104\n'

# The stub of apt-get asks the policy about three services, as a package's postinst would, and notes the answers.
APT_GET = """#!/bin/sh
echo "apt-get $*" >>"$STUBS/calls"
case "$*" in *install*) ;; *) exit 0 ;; esac
for s in varnish varnish.service nginx ssh; do
    if [ -x "$OBJM_POLICY_RC_D" ]; then "$OBJM_POLICY_RC_D" --quiet $s start; else false; fi
    echo "$s $?" >>"$STUBS/policy"
done
[ ! -e "$STUBS/block" ] || { echo blocked >"$STUBS/blocked"; exec sleep 60; }
[ ! -e "$STUBS/fail" ]
"""
DPKG_QUERY = """#!/bin/sh
for p; do :; done
if grep -qx "$p" "$STUBS/installed"; then echo installed; else exit 1; fi
"""


class InstallDeps(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        self.policy = self.path("policy-rc.d")
        self.write("packages", PACKAGES)
        self.write("installed", "")
        for name, text in (("apt-get", APT_GET), ("dpkg-query", DPKG_QUERY), ("flock", "#!/bin/sh\nexit 0\n"),
                           ("id", "#!/bin/sh\necho ${STUB_UID:-0}\n"),
                           ("systemctl", '#!/bin/sh\necho "systemctl $*" >>"$STUBS/calls"\n'),
                           ("update-rc.d", "#!/bin/sh\nexit 0\n")):
            self.write("bin/" + name, text, 0o755)
        self.env = dict(os.environ, STUBS=self.tmp.name, OBJM_PACKAGES=self.path("packages"),
                        OBJM_POLICY_RC_D=self.policy, PATH=self.path("bin") + ":" + os.environ["PATH"])

    def path(self, name):
        return os.path.join(self.tmp.name, name)

    def write(self, name, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(name), mode)

    def read(self, name):
        try:
            with open(self.path(name), encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def run_script(self, *groups, **env):
        return subprocess.run([SCRIPT, *groups], env=dict(self.env, **env), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60, check=False)

    def answers(self):
        return dict(line.split() for line in self.read("policy").splitlines())

    def test_nothing_missing_touches_nothing(self):
        self.write("installed", "gcc\nvarnish\n")
        self.assertEqual(self.run_script("run").returncode, 0)
        self.assertEqual(self.read("calls"), "")
        self.assertFalse(os.path.exists(self.policy))

    def test_only_what_is_missing_is_installed(self):
        self.write("installed", "gcc\n")
        p = self.run_script("run")
        self.assertEqual(p.returncode, 0, p.stdout)
        install = [c for c in self.read("calls").splitlines() if " install" in c]
        self.assertEqual([c.split("install ")[1] for c in install], ["varnish"])

    def test_guard_forbids_only_the_new_services(self):
        p = self.run_script("run")
        self.assertEqual(p.returncode, 0, p.stdout)
        self.assertEqual(self.answers(), {"varnish": "101", "varnish.service": "101", "nginx": "0", "ssh": "0"})
        self.assertFalse(os.path.exists(self.policy))
        self.assertIn("systemctl --quiet disable varnish.service", self.read("calls"))
        self.assertIn("systemctl --quiet disable varnishncsa.service", self.read("calls"))
        self.assertNotIn("nginx", self.read("calls"))

    def test_service_of_an_installed_package_is_not_disabled(self):
        self.write("installed", "varnish\n")
        self.assertEqual(self.run_script("run", "bench").returncode, 0)
        self.assertEqual(self.answers()["varnish"], "0")
        self.assertNotIn("varnish", self.read("calls"))

    def test_earlier_policy_is_asked_and_restored(self):
        self.write("policy-rc.d", FOREIGN_POLICY, 0o755)
        self.assertEqual(self.run_script("run").returncode, 0)
        self.assertEqual(self.answers()["varnish"], "101")
        self.assertEqual(self.answers()["ssh"], "104")
        self.assertIn("asked --quiet ssh start", self.read("foreign"))
        self.assertEqual(self.read("policy-rc.d"), FOREIGN_POLICY)

    def test_earlier_policy_is_restored_after_a_failure(self):
        self.write("policy-rc.d", FOREIGN_POLICY, 0o755)
        self.write("fail", "")
        p = self.run_script("run")
        self.assertEqual(p.returncode, 1)
        self.assertIn("apt-get failed", p.stdout)
        self.assertEqual(self.read("policy-rc.d"), FOREIGN_POLICY)
        self.assertEqual([f for f in os.listdir(self.tmp.name) if f.startswith("policy-rc.d.")], [])

    def test_a_symlink_as_policy_survives(self):
        self.write("their-policy", FOREIGN_POLICY, 0o755)
        os.symlink(self.path("their-policy"), self.policy)
        self.assertEqual(self.run_script("run").returncode, 0)
        self.assertEqual(os.readlink(self.policy), self.path("their-policy"))

    def start_and_wait_until_blocked(self):
        self.write("block", "")
        p = subprocess.Popen([SCRIPT, "run"], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             start_new_session=True)
        end = time.monotonic() + 30
        while not os.path.exists(self.path("blocked")):
            self.assertLess(time.monotonic(), end, "the stub of apt-get was never reached")
            time.sleep(0.02)
        return p

    def test_guard_goes_when_interrupted(self):
        p = self.start_and_wait_until_blocked()
        self.assertTrue(os.path.exists(self.policy))
        os.killpg(p.pid, signal.SIGTERM)
        self.assertNotEqual(p.wait(30), 0)
        self.assertFalse(os.path.exists(self.policy))

    def test_guard_left_by_a_killed_run_steps_aside_and_is_removed(self):
        self.write("policy-rc.d", FOREIGN_POLICY, 0o755)
        p = self.start_and_wait_until_blocked()
        os.killpg(p.pid, signal.SIGKILL)
        p.wait(30)
        self.assertNotEqual(self.read("policy-rc.d"), FOREIGN_POLICY)
        asked = subprocess.run([self.policy, "varnish", "start"], env=self.env, check=False)
        self.assertEqual(asked.returncode, 104)
        os.unlink(self.path("block"))
        self.assertEqual(self.run_script("run").returncode, 0)
        self.assertEqual(self.read("policy-rc.d"), FOREIGN_POLICY)

    def test_neither_root_nor_sudo_says_what_is_missing(self):
        # A PATH without sudo: only the stubs and the few tools that the script itself calls.
        for tool in ("bash", "sh", "dirname", "grep", "cat"):
            os.symlink(subprocess.check_output(["which", tool], text=True).strip(), self.path("bin/" + tool))
        p = self.run_script("run", STUB_UID="1000", PATH=self.path("bin"))
        self.assertEqual(p.returncode, 1)
        self.assertIn("missing: gcc varnish", p.stdout)
        self.assertIn("as root, run: apt-get install gcc varnish", p.stdout)
        self.assertEqual(self.read("calls"), "")

    def test_sudo_is_used_when_not_root(self):
        self.write("bin/sudo", '#!/bin/sh\necho "sudo $*" >>"$STUBS/calls"\n', 0o755)
        self.assertEqual(self.run_script("run", STUB_UID="1000").returncode, 0)
        self.assertIn("install-deps.sh run", self.read("calls"))


if __name__ == "__main__":
    sys.exit(unittest.main())
