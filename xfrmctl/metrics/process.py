"""Families about the process itself, under the names that every exporter has them."""

from prometheus_client import ProcessCollector

from xfrmctl.metrics.family import Family, counter, gauge
from xfrmctl.metrics.page import Page

CPU = counter("process_cpu_seconds", "CPU time that the daemon has spent.", "Its rate is the share of one processor.")
RESIDENT = gauge("process_resident_memory_bytes", "Memory that the daemon holds.", "Growth without end is a leak.")
VIRTUAL = gauge("process_virtual_memory_bytes", "Address space of the daemon.", "Says little.")
STARTED = gauge("process_start_time_seconds", "When the process began, since the epoch.", "A change is a restart.")
OPEN = gauge("process_open_fds", "Open file descriptors.", "Near the most: sockets and files cannot be opened.")
MOST = gauge("process_max_fds", "The most file descriptors that may be open.", "LimitNOFILE= of the service.")

FAMILIES = (CPU, RESIDENT, VIRTUAL, STARTED, OPEN, MOST)
_BY_NAME: dict[str, Family] = {family.sample: family for family in FAMILIES}

_COLLECTOR = ProcessCollector(registry=None)


def show(page: Page) -> None:
    """What ``/proc/self`` says; nothing where there is none."""
    for metric in _COLLECTOR.collect():
        for sample in metric.samples:
            page.put(_BY_NAME[sample.name], (), sample.value)
