"""``xfrmctl`` as a person types it, without the start of a process: in the guest that takes longer than the rest.

:meth:`xfrmctl.lab.gateway.Gateway.ctl_text` is the same in a process of its own.
"""

import io
import subprocess
from contextlib import redirect_stderr, redirect_stdout

from xfrmctl.cli.main import app
from xfrmctl.lab.gateway import Gateway


def command(gateway: Gateway, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Output and exit status of ``xfrmctl --control … ARGUMENTS``; an error that is not told is raised."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            app(["--control", str(gateway.control), *arguments], prog_name="xfrmctl")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
