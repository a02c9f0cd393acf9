"""The lab's tunnel, run from the installed package: its Python, its libraries, its daemon, in a kernel with ESP."""

import io
import re
from pathlib import Path

import pytest

from xfrmctl.lab import boot
from xfrmctl.lab.boot import repository
from xfrmctl.lab.job import Job

pytestmark = pytest.mark.deploy

#: The tree becomes a root of its own: `ip netns exec` wants / to be a mount. The imports come first, and once: both
#: gateways start at the same time, from files that nobody has read yet.
SCRIPT = """
cd "$0"
mount --bind . . && cd "$0"
for each in proc sys dev; do mount --rbind /$each $each; done
mount -t tmpfs run run && mkdir -p run/netns run/lock run/tmp
mount -t tmpfs tmp tmp
chroot . /usr/lib/xfrmctl/bin/python -I -c 'import xfrmctl.daemon.main; print("running from", *xfrmctl.__path__)'
exec chroot . /usr/bin/xfrmctl lab demo
"""


def test_the_tunnel_of_the_lab_runs_from_the_installed_package(installed: Path) -> None:
    said = io.BytesIO()
    status = boot.run(Job(argv=["sh", "-ec", SCRIPT, str(installed)], timeout_s=600), said, said)
    text = said.getvalue().decode()
    assert status == 0, text
    assert re.search(r"all \d+ checks hold", text), text
    assert " 0 in clear" in text
    # Nothing but the package is in that root: no checkout, no environment of a test.
    assert re.search(r"^running from /usr/lib/xfrmctl/lib/python3[.\d]+/site-packages/xfrmctl$", text, re.M), text
    assert not (installed / repository().relative_to("/")).exists()
