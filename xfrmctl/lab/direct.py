"""Run a job on the running kernel, in mount, network and PID namespaces of its own."""

import os
import subprocess
from collections.abc import Callable
from threading import Thread

from xfrmctl.lab.job import Job
from xfrmctl.lab.process import reap

Pump = Callable[[int], Thread]

# The first process of the PID namespace is the job's shell: when it or we die, the kernel ends all the rest.
_NAMESPACES = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child=KILL",
    "--mount-proc",
)


def run(job: Job, pump_out: Pump, pump_err: Pump) -> int:
    """Run ``job``; its standard output and error are read by the pumps."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    process = subprocess.Popen(
        [*_NAMESPACES, "bash", "-c", job.script("native")],
        stdin=subprocess.DEVNULL,
        stdout=out_write,
        stderr=err_write,
        start_new_session=True,
    )
    os.close(out_write)
    os.close(err_write)
    pumps = [pump_out(out_read), pump_err(err_read)]
    status = reap(process, job.timeout_s)
    for pump in pumps:
        pump.join(timeout=5)
    return status


def terminal(job: Job) -> int:
    """Run ``job`` on our terminal."""
    return subprocess.run([*_NAMESPACES, "bash", "-c", job.script("native")], check=False).returncode
