"""How an action's result is printed: ``up`` and ``down`` share it."""

import sys

import typer

from xfrmctl.cli.outcome import FAILED
from xfrmctl.cli.session import Session, print_json
from xfrmctl.control.schema import ActionResult
from xfrmctl.model.snapshot import FailureInfo


def finish(session: Session, result: ActionResult) -> None:
    """Print the result; a failure ends the program with code 1."""
    if session.json:
        print_json(result)
    elif result.ok:
        print(result.message)
    else:
        print(f"xfrmctl: {result.message}", file=sys.stderr)
        if result.failure:
            for line in failure_lines(result.failure):
                print(f"  {line}", file=sys.stderr)
    if not result.ok:
        raise typer.Exit(FAILED)


def failure_lines(failure: FailureInfo) -> list[str]:
    """A failure in full: what, why, cure, and what each side offered."""
    told = [("failed", failure.text + (f" (notify {failure.notify})" if failure.notify else ""))]
    told += [("cause", failure.cause), ("cure", failure.cure)]
    told += [("we offered", ", ".join(failure.ours)), ("peer offered", ", ".join(failure.theirs))]
    return [f"{label + ':':<13} {text}" for label, text in told if text]
