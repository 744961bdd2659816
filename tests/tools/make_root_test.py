"""The maker of the Debian 13 root, with the programs that it calls played by small scripts.

usage: make_root_test.py REPOSITORY

What matters: an interrupted root is never taken for a whole one, nothing stays mounted, and who lacks a
prerequisite is told what to type.
"""

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

REPOSITORY = os.path.abspath(sys.argv.pop(1))
MAKE_ROOT = os.path.join(REPOSITORY, "tools", "root", "make-root")

# A bootstrap that makes the folders that a real one makes, then does what the test asks for.
DEBOOTSTRAP = """#!/bin/sh
mkdir -p "$3/etc/apt" "$3/usr/sbin" "$3/proc" "$3/dev" "$3/etc/ssl/certs"
echo "$*" >>"$FAKES/bootstraps"
if [ -n "${BOOTSTRAP_DOES:-}" ]; then eval "$BOOTSTRAP_DOES"; fi
"""
QUIET = "#!/bin/sh\nexit 0\n"
# Where the tests themselves run below a changed root, the kernel refuses to set the propagation of "/"; the
# namespace that they run in is private already.
UNSHARE = """#!/bin/sh
[ "$1 $2 $3" = "-m --propagation private" ] || exit 2
shift 3
/usr/bin/unshare -m --propagation private true 2>/dev/null && exec /usr/bin/unshare -m --propagation private "$@"
exec /usr/bin/unshare -m --propagation unchanged "$@"
"""


def mounts():
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        return [line.split()[1] for line in stream]


class MakeRootTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="weir-root-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder)
        self.fakes = os.path.join(self.folder, "fakes")
        self.roots = os.path.join(self.folder, "roots")
        os.mkdir(self.fakes)
        for name, text in (("debootstrap", DEBOOTSTRAP), ("unshare", UNSHARE), ("chroot", QUIET), ("apt-get", QUIET)):
            self.fake(name, text)
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        if os.getuid() != 0 or not os.path.exists(keyring):
            self.skipTest("needs root and Debian's keyring")

    def fake(self, name, text):
        path = os.path.join(self.fakes, name)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(path, 0o755)

    def environment(self, does=""):
        return {**os.environ, "PATH": f"{self.fakes}:{os.environ['PATH']}", "FAKES": self.fakes,
                "WEIR_ROOTS": self.roots, "WEIR_MIRROR": "http://mirror.invalid/debian", "BOOTSTRAP_DOES": does}

    def make(self, does="", script=MAKE_ROOT, **environment):
        environment = {**self.environment(does), **environment}
        done = subprocess.run([script, "--root"], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    def whole(self):
        """The roots that a build would use."""
        names = os.listdir(self.roots) if os.path.isdir(self.roots) else []
        return [name for name in names if name.startswith("trixie")]

    def bootstraps(self):
        """Lines, not the file: the shell makes the file before it writes the line."""
        try:
            with open(os.path.join(self.fakes, "bootstraps"), encoding="utf-8") as stream:
                return len(stream.readlines())
        except FileNotFoundError:
            return 0

    def test_a_root_is_made_once(self):
        self.assertEqual(self.make()[0], 0)
        self.assertIn("trixie", self.whole())
        self.assertEqual(self.make(), (0, ""))
        self.assertEqual(self.bootstraps(), 1)

    def test_a_changed_list_of_packages_is_another_root(self):
        copied = os.path.join(self.folder, "tools", "root")
        shutil.copytree(os.path.dirname(MAKE_ROOT), copied)
        script = os.path.join(copied, "make-root")
        self.assertEqual(self.make(script=script)[0], 0)
        first = os.readlink(os.path.join(self.roots, "trixie"))
        with open(os.path.join(copied, "packages.txt"), "a", encoding="utf-8") as stream:
            stream.write("# a comment changes nothing\n")
        self.assertEqual(self.make(script=script), (0, ""))
        with open(os.path.join(copied, "packages.txt"), "a", encoding="utf-8") as stream:
            stream.write("one-more\n")
        self.assertEqual(self.make(script=script)[0], 0)
        self.assertEqual(self.bootstraps(), 2)
        self.assertNotEqual(os.readlink(os.path.join(self.roots, "trixie")), first)

    def test_the_mirror_is_the_one_that_the_host_is_configured_with(self):
        name = platform.freedesktop_os_release()
        if name.get("ID") != "debian":
            self.skipTest("this host has no mirror of Debian's")
        own = name["VERSION_CODENAME"]
        self.fake("apt-get", f"""#!/bin/sh
[ "$1" != indextargets ] || printf '%s\\n' 'http://other.invalid/debian {own}-updates' 'http://own.invalid/debian {own}'
""")
        self.assertEqual(self.make(WEIR_MIRROR="")[0], 0)
        with open(os.path.join(self.fakes, "bootstraps"), encoding="utf-8") as stream:
            self.assertRegex(stream.read(), r"trixie \S+ http://own\.invalid/debian ")

    def test_a_failed_root_has_no_name_and_says_where_to_look(self):
        status, printed = self.make("echo no such mirror >&2; exit 7")
        self.assertNotEqual(status, 0)
        self.assertIn("no such mirror", printed)
        self.assertIn("make-root.log", printed)
        self.assertEqual(self.whole(), [])

    def test_a_killed_run_leaves_nothing_that_the_next_takes_for_a_root(self):
        run = subprocess.Popen([MAKE_ROOT, "--root"], env=self.environment("exec sleep 60"),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        until = time.monotonic() + 30
        while self.bootstraps() == 0:
            self.assertLess(time.monotonic(), until, "the bootstrap did not begin")
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        self.assertEqual(self.whole(), [])
        self.assertEqual(self.make()[0], 0)
        self.assertEqual(self.bootstraps(), 2)
        self.assertEqual([name for name in os.listdir(self.roots) if name.startswith("unfinished")], [])

    def test_nothing_stays_mounted_after_a_failure_between_the_mounts_and_the_end(self):
        before = mounts()
        self.fake("chroot", "#!/bin/sh\nexit 9\n")
        self.assertNotEqual(self.make()[0], 0)
        self.assertEqual(mounts(), before)
        self.assertEqual(self.whole(), [])

    def test_who_is_not_root_is_told_the_command(self):
        self.fake("id", "#!/bin/sh\necho 1000\n")
        status, printed = self.make()
        self.assertNotEqual(status, 0)
        self.assertRegex(printed, r"run: +sudo \S*make-root")

    def test_a_missing_program_is_named_with_the_command_that_installs_it(self):
        if shutil.which("debootstrap", path="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"):
            self.skipTest("this host has debootstrap")
        os.unlink(os.path.join(self.fakes, "debootstrap"))
        self.fake("id", "#!/bin/sh\necho 1000\n")
        status, printed = self.make()
        self.assertNotEqual(status, 0)
        self.assertRegex(printed, r"run: +sudo apt-get install -y --no-install-recommends debootstrap")


if __name__ == "__main__":
    unittest.main(verbosity=2)
