"""Try cells in the lab and append each result to the file of its tunnel, as one line of JSON::

    python -m tests.lab.blackhole.run [--logs] DIRECTORY CELL...

With ``--logs`` what the gateways have logged is printed for every cell, not only for those that fail.
"""

import json
import sys
from pathlib import Path

from tests.lab.blackhole.cells import ordered, parse
from tests.lab.blackhole.results import file_of
from tests.lab.blackhole.site import Site
from tests.lab.blackhole.walk import Result, Walk
from tests.lab.nursery import Nursery
from xfrmctl.lab import gateway
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import virtual_time


def main(directory: Path, names: list[str], *, logs: bool) -> int:
    """0 whatever the cells show: the files tell."""
    clock = "virtual" if virtual_time() else "real"
    cells = list(ordered(parse(name) for name in names))
    with Nursery() as nursery:
        gateway.Gateway.spawn = nursery.spawn
        while cells:
            with Site() as site:
                walk = Walk(site)
                while cells and not site.spent:
                    cell = cells.pop(0)
                    try:
                        result = walk.try_for_sure(cell)
                    except (AssertionError, LabError) as error:
                        result = Result(cell.id, missed=[f"lab: {error}"[:2000]])
                    line = json.dumps(result.as_json() | {"clock": clock})
                    with file_of(directory, cell).open("a") as out:
                        out.write(f"\n{line}")  # the newline ends what an earlier run may have left half written
                    print(line, flush=True)
                    if logs or not result.ok:
                        print(site.ends.log_tail(), flush=True)
    return 0


if __name__ == "__main__":
    arguments = [word for word in sys.argv[1:] if word != "--logs"]
    sys.exit(main(Path(arguments[0]), arguments[1:], logs="--logs" in sys.argv))
