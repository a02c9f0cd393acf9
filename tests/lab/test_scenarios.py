"""All scenarios between namespaces; ``make acceptance`` plays the same ones between machines.

Most of what a scenario takes here is the start of Python for ``xfrmctl`` on a gateway. So the command ``xfrmctl`` of
this stage asks the nursery for a process that has started already: the same program, from its command line on.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.nursery import Nursery
from xfrmctl.lab import play
from xfrmctl.lab.namespace import Namespace

pytestmark = [pytest.mark.lab, pytest.mark.slow]

PLAYABLE = [one.name for one in play.scenarios() if not one.machines_only]

ASK = """\
#!/bin/sh
# xfrmctl of the tests: a line for the nursery, which namespace, which arguments; then its output, then its exit status.
at=$LAB/asked.$$
mkfifo $at.status
printf '%s\\n' "$(ip netns identify)" "--control" "$XFRMCTL_CONTROL" "$@" >$at.words
: >$at.said
echo $at >$LAB/nursery
read -r status <$at.status
cat $at.said
rm $at.*
exit $status
"""


class QuickStage(play.Stage):
    """A stage whose ``xfrmctl`` is forked by a nursery."""

    def __init__(self) -> None:
        super().__init__()
        self._nursery = Nursery()
        self._asked = self.place / "nursery"
        self._thread = threading.Thread(target=self._fork, daemon=True)

    def __enter__(self) -> "QuickStage":
        self._nursery.__enter__()
        super().__enter__()
        (self.place / "bin" / "xfrmctl").write_text(ASK)
        os.mkfifo(self._asked)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._asked.write_text("\n")
            self._thread.join()
        super().__exit__()
        self._nursery.__exit__()

    def _fork(self) -> None:
        while lines := self._asked.read_text().split():
            for at in lines:
                where, *arguments = Path(f"{at}.words").read_text().splitlines()
                with Path(f"{at}.said").open("wb") as said:
                    status = self._nursery.spawn(Namespace(where), arguments, said).wait()
                Path(f"{at}.status").write_text(f"{status}\n")


@pytest.fixture(scope="module")
def stage(nursery: None) -> Iterator[play.Stage]:
    with QuickStage() as made:
        yield made


@pytest.mark.parametrize("name", PLAYABLE)
def test_every_check_holds(stage: play.Stage, name: str) -> None:
    assert stage.play([name]) == 0, stage.logs(40)
