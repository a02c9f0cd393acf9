"""Exit codes, and how a failure is told: one line a problem on stderr, never a traceback for a user's
mistake.

With ``--json`` the same goes to stdout as ``{"error": {"message": …, "cure": …, "problems": […]}}``.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from typing import Any

from xfrmctl.model.errors import XfrmctlError

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3

HELP = (
    "Exit codes: 0 it is as asked; 1 it failed; 2 wrong usage, or a configuration that cannot be used; "
    "3 no daemon answers."
)


FULL = frozenset({EDQUOT, EFBIG, EIO, ENOSPC})
"""What a file or a device says that takes no more."""


class OutputError(XfrmctlError):
    """What was asked for cannot be written to stdout."""


def drop_output() -> None:
    """Whatever is still to be written is for nobody."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextmanager
def written() -> Iterator[None]:
    """See to it that all that is printed within is written out; where stdout takes no more, that is told."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # xfrmctl show | head -1
        drop_output()
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:
            raise
        drop_output()
        raise SystemExit(
            tell(OutputError(f"stdout: {error.strerror}; make room, or write elsewhere"), as_json=False)
        ) from None


def tell(error: Exception, as_json: bool) -> int:
    """Print a failure; returns the exit code for it."""
    from xfrmctl.config.problem import ConfigError  # noqa: PLC0415  only where something went wrong
    from xfrmctl.control.client import ControlError, RequestRefused, Unreachable  # noqa: PLC0415
    from xfrmctl.control.schema import RequestError  # noqa: PLC0415
    from xfrmctl.model.errors import UnusableInput  # noqa: PLC0415
    from xfrmctl.model.suite import SuiteError  # noqa: PLC0415

    message, cure = str(error), ""
    problems: list[str] = []
    code = FAILED
    if isinstance(error, ConfigError):
        code = USAGE
        problems = [str(p) for p in error.problems]
        message = f"{len(problems)} problem{'s' if len(problems) != 1 else ''} in the configuration"
    elif isinstance(error, ControlError | RequestError):
        message, cure = error.message, error.cure
        if isinstance(error, Unreachable):
            code = UNREACHABLE
        elif isinstance(error, RequestRefused | RequestError) and error.status in (400, 404):
            code = USAGE
    elif isinstance(error, XfrmctlError):
        cure = error.cure
        if isinstance(error, SuiteError | UnusableInput):
            code = USAGE
    if as_json:
        body: dict[str, Any] = {"error": {"message": message, "cure": cure, "problems": problems}}
        print(json.dumps(body, indent=2))
    else:
        for line in problems or [message + (f"\n  cure: {cure}" if cure else "")]:
            print(f"xfrmctl: {line}", file=sys.stderr)
    return code
