"""Where the tests of one process, and all they start, lay their files: what a killed program leaves goes with
it at the end."""
import atexit
import os
import shutil
import tempfile


def _make():
    place = tempfile.mkdtemp(prefix="athd-tests-")
    os.chmod(place, 0o1777)  # as /tmp: some tests are other users
    tempfile.tempdir = os.environ["TMPDIR"] = place
    owner = os.getpid()  # its forks do not take it away
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(place, ignore_errors=True))
    return place


PLACE = _make()
