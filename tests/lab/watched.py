"""A real Prometheus over a management network of its own, and what it says of alerts and of dashboards' expressions."""

import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.lab.tunnel import eventually
from tests.unit.deploy.prometheus import DEPLOY, PROGRAMS
from xfrmctl.lab.namespace import Namespace, batch
from xfrmctl.lab.process import end
from xfrmctl.lab.topology import Topology

PORT = 9790
SCRAPES = 5
"""So many are in the rules' windows of up to ten minutes; longer ones begin with the run. ``for`` becomes nothing:
promtool tests it."""

Series = list[dict[str, Any]]


def address(side: int, end: int = 1) -> str:
    """On the link between Prometheus and a gateway: the gateway's, or with 2 Prometheus's own."""
    return f"192.168.{71 + side}.{end}"


@contextmanager
def management(topology: Topology) -> Iterator[Namespace]:
    """A namespace with a link to each gateway that no fault touches."""
    namespace = Namespace(f"{topology.prefix}mon")
    namespace.add()
    try:
        namespace.batch(["link set lo up"])
        for side, gateway in enumerate(("ga", "gb")):
            there = f"{topology.prefix}{gateway}"
            batch([f"link add m{side} netns {namespace.name} type veth peer name mgmt netns {there}"])
            namespace.batch([f"link set m{side} up", f"address add {address(side, 2)}/24 dev m{side}"])
            topology.ns(gateway).batch(["link set mgmt up", f"address add {address(side)}/24 dev mgmt"])
        yield namespace
    finally:
        namespace.remove()


class Prometheus:
    """The files of deploy/prometheus; it scrapes and evaluates every ``interval_s`` seconds."""

    def __init__(self, namespace: Namespace, interval_s: int) -> None:
        self._namespace = namespace
        self.interval_s = interval_s
        self.directory = Path(tempfile.mkdtemp(prefix="prometheus-", dir="/dev/shm"))
        self._log = (self.directory / "log").open("wb")
        self._targets = self.directory / "targets" / "gateways.yml"
        self._targets.parent.mkdir()
        self._targets.write_text("[]")
        shutil.copytree(DEPLOY / "prometheus" / "rules", self.directory / "rules")
        for rules in (self.directory / "rules").iterdir():
            rules.write_text(hurried(rules.read_text(), interval_s))
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        every = f"{interval_s}s"
        config["global"] = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
        config["scrape_configs"][0]["file_sd_configs"][0]["refresh_interval"] = "1s"
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.began = time.time()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Prometheus":
        argv = [
            str(PROGRAMS / "prometheus"),
            f"--config.file={self.directory}/prometheus.yml",
            f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address=127.0.0.1:{PORT}",
        ]
        self._process = self._namespace.popen(argv, stdout=self._log, stderr=self._log)
        eventually("Prometheus is ready", self._ready, 30)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            end(self._process)
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def scrape(self, gateways: Mapping[str, str]) -> None:
        """These are the gateways: names and addresses of their metrics."""
        groups = [{"targets": [where], "labels": {"instance": name}} for name, where in gateways.items()]
        self._targets.write_text(json.dumps(groups))

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._get("/-/ready", {})[0] == http.HTTPStatus.OK
        return False

    def _get(self, path: str, parameters: Mapping[str, Any]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        with self._namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as sock, contextlib.closing(connection):
            sock.settimeout(30)
            sock.connect(("127.0.0.1", PORT))
            connection.sock = sock
            query = urllib.parse.urlencode(parameters, doseq=True)
            connection.request("GET", f"{path}?{query}", headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read()

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of an answer of the HTTP API."""
        status, body = self._get(f"/api/v1/{path}", parameters)
        answer = json.loads(body)
        assert status == http.HTTPStatus.OK and answer["status"] == "success", (path, parameters, answer)
        return answer["data"]

    def query(self, expr: str) -> Series:
        """An expression, now."""
        found: Series = self.ask("query", query=expr)["result"]
        return found

    def history(self, expr: str) -> Series:
        """An expression over the whole run; series that are NaN all the time are not among them."""
        found = self.ask("query_range", query=expr, start=self.began, end=time.time(), step=self.interval_s)["result"]
        return [one for one in found if any(value != "NaN" for _, value in one["values"])]

    def firing(self) -> set[str]:
        """The alerts that fire now."""
        return {one["metric"]["alertname"] for one in self.query('ALERTS{alertstate="firing"}')}

    def fired(self, alert: str, **labels: str) -> bool:
        """Whether an alert with these labels has fired at some moment of the run."""
        wanted = "".join(f', {name}="{value}"' for name, value in labels.items())
        return bool(self.query(f'max_over_time(ALERTS{{alertstate="firing", alertname="{alert}"{wanted}}}[1h])'))

    def troubles(self) -> list[str]:
        """What Prometheus says of targets that it could not scrape, and of rules that it could not evaluate."""
        rules = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
        return [
            *(f"{t['scrapeUrl']}: {t['lastError']}" for t in self.ask("targets")["activeTargets"] if t["lastError"]),
            *(f"{rule['name']}: {rule['lastError']}" for rule in rules if rule.get("lastError")),
        ]

    def texts(self) -> list[str]:
        """All that alerts say now, written out."""
        return [text for alert in self.ask("alerts")["alerts"] for text in alert["annotations"].values()]


def hurried(rules: str, interval_s: int) -> str:
    """The rules with short windows, and without `for`."""
    windows = dict.fromkeys(("5m", "10m"), f"{SCRAPES * interval_s}s")
    rules = re.sub(r"^ +for: .*\n", "", rules, flags=re.MULTILINE)
    return re.sub(r"\[(\w+)\]", lambda found: f"[{windows.get(found[1], found[1])}]", rules)


def resolved(expr: str, prometheus: Prometheus) -> str:
    """An expression as Grafana would send it, all gateways, connections and children chosen."""
    expr = expr.replace("$__rate_interval", f"{4 * prometheus.interval_s}s")  # Grafana's own rule
    expr = expr.replace("$__range", f"{time.time() - prometheus.began:.0f}s")
    return re.sub(r"\$\w+", ".*", expr)


def values(prometheus: Prometheus, query: str) -> list[str]:
    """What a variable offers: ``label_values(series, label)``."""
    found = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
    assert found is not None, query
    match = resolved(found[1], prometheus)
    names: list[str] = prometheus.ask(f"label/{found[2]}/values", **{"match[]": match})
    return names


def complaints(prometheus: Prometheus, dashboard: Mapping[str, Any]) -> list[str]:
    """Expressions that return nothing, and legends and columns whose labels no series has."""
    found = []
    for panel in dashboard["panels"]:
        labels: set[str] = set()
        for target in panel.get("targets", ()):
            where = f"{dashboard['uid']}: {panel['title']}: {target['expr']}"
            series = prometheus.history(resolved(target["expr"], prometheus))
            if not series:
                found.append(f"{where}: no data")
            names = {name for one in series for name in one["metric"]}
            labels |= names | {"Value", "Time", f"Value #{target['refId']}"}
            for wanted in re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")):
                if series and not all(wanted in one["metric"] for one in series):
                    found.append(f"{where}: no label {wanted}")
        for transformation in panel.get("transformations", ()):
            columns = transformation["options"].get("indexByName", {})
            found += [
                f"{dashboard['uid']}: {panel['title']}: no column {name}" for name in columns if name not in labels
            ]
    for annotation in dashboard["annotations"]["list"]:
        if not prometheus.history(resolved(annotation["expr"], prometheus)):
            found.append(f"{dashboard['uid']}: annotation {annotation['name']}: no data")
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query" and not values(prometheus, variable["query"]["query"]):
            found.append(f"{dashboard['uid']}: variable {variable['name']}: no values")
    return found
