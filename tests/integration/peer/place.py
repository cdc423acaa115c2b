"""Where the tests of one process, and all they start, lay their files: what a killed program leaves goes with
it at the end."""
import atexit
import glob
import os
import shutil
import signal
import tempfile


def _end_setups(place):
    """The swtpm that swtpm_setup starts makes itself a daemon: it outlives an athd that is ended meanwhile."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                if f"dir://{place}/".encode() in file.read():
                    os.kill(int(path.split("/")[2]), signal.SIGKILL)
        except OSError:
            pass  # it has ended


def _take_away(place, owner):
    if os.getpid() == owner:  # its forks do not
        _end_setups(place)
        shutil.rmtree(place, ignore_errors=True)


def _make():
    # a socket's path has 107 characters at most (unix(7)), and there are many directories on the way to some
    deep = len(tempfile.gettempdir()) > len("/tmp") + 8
    place = tempfile.mkdtemp(prefix="athd-tests-", dir="/tmp" if deep else None)
    os.chmod(place, 0o1777)  # as /tmp: some tests are other users
    tempfile.tempdir = os.environ["TMPDIR"] = place
    atexit.register(_take_away, place, os.getpid())
    return place


PLACE = _make()
