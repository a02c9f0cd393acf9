"""The committed dashboards are what the code makes, Grafana's published types know every key, and PromQL every word.

That every expression returns series is tests/lab/test_monitoring.py's business. No Grafana runs here.
"""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.deploy.prometheus import promtool
from tests.unit.deploy.strict import faults
from tools.dashboards.files import FOLDER, files
from tools.dashboards.words import ICMP_REASONS
from xfrmctl.guard.judge import Reason

Dashboard = dict[str, Any]
NAMES = sorted(files())


def load(name: str) -> Dashboard:
    found: Dashboard = json.loads((FOLDER / name).read_text())
    return found


def panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: Dashboard) -> list[str]:
    found = [target["expr"] for panel in panels(dashboard) for target in panel.get("targets", ())]
    return found + [annotation["expr"] for annotation in dashboard["annotations"]["list"]]


def test_the_files_are_current() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == NAMES
    for name, text in files().items():
        assert (FOLDER / name).read_text() == text, "run make dashboards"


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_knows_every_key(name: str) -> None:
    assert faults(load(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_are_in_order(name: str) -> None:
    dashboard = load(name)
    assert dashboard["uid"] == name.removesuffix(".json")
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert max(x for x, _ in cells) < 24 and not cells & taken, panel["title"]
        taken |= cells
    for y in {panel["gridPos"]["y"] for panel in dashboard["panels"]}:
        assert {x for x, row in taken if row == y} == set(range(24)), f"a gap in the line at {y}"


@pytest.mark.parametrize("name", NAMES)
def test_panels_say_what_they_show_and_lines_have_names(name: str) -> None:
    for panel in panels(load(name)):
        if panel["type"] == "text":
            assert panel["options"]["content"]
            continue
        assert panel.get("description") or panel["type"] == "stat", panel["title"]
        if panel["type"] in ("timeseries", "state-timeline"):
            assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"] is True


@pytest.mark.parametrize("name", NAMES)
def test_only_variables_that_there_are(name: str) -> None:
    dashboard = load(name)
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    known |= {"__rate_interval", "__range", "__data", "__url_time_range"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - {"__all"} <= known


def test_links_lead_to_dashboards_and_variables_that_there_are() -> None:
    variables = {
        dashboard["uid"]: {variable["name"] for variable in dashboard["templating"]["list"]}
        for dashboard in map(load, NAMES)
    }
    links = set(re.findall(r"/d/([\w-]+)\?([^#]*?)&\$\{__url", "".join((FOLDER / name).read_text() for name in NAMES)))
    assert {uid for uid, _ in links} == {"xfrmctl-gateway", "xfrmctl-tunnel"}
    for uid, query in links:
        assert set(re.findall(r"var-(\w+)=", query)) <= variables[uid]


@pytest.mark.parametrize("name", NAMES)
def test_every_expression_is_promql(name: str, tmp_path: Path) -> None:
    def settled(expr: str) -> str:
        return re.sub(r"\$\w+", "x", expr.replace("$__rate_interval", "5m").replace("$__range", "1h"))

    rules = [{"record": f"x:{at}", "expr": settled(expr)} for at, expr in enumerate(expressions(load(name)))]
    file = tmp_path / "expressions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_the_reasons_are_explained_all() -> None:
    assert set(ICMP_REASONS) == {reason.value for reason in Reason}


def _first(dashboard: Dashboard, kind: str) -> dict[str, Any]:
    return next(panel for panel in dashboard["panels"] if panel["type"] == kind)


BROKEN: dict[str, Callable[[Dashboard], object]] = {
    "a misspelt key of a query": lambda d: _first(d, "timeseries")["targets"][0].update(exprr="up"),
    "a panel that is no panel": lambda d: _first(d, "timeseries").update(type="timeserie"),
    "a legend in no place": lambda d: _first(d, "timeseries")["options"]["legend"].update(placement="left"),
    "a width that is text": lambda d: _first(d, "stat")["gridPos"].update(w="3"),
    "a misspelt key on top": lambda d: d.update(titles="x"),
    "lines of no style": lambda d: _first(d, "timeseries")["fieldConfig"]["defaults"]["custom"].update(drawStyle="dot"),
    "no uid": lambda d: d.pop("uid"),
    "a variable of no type": lambda d: d["templating"]["list"][1].update(type="queries"),
    "a misspelt option": lambda d: _first(d, "table")["options"].update(showHeadder=True),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_schema_finds_what_is_broken(fault: str) -> None:
    """The SDK's own loader lets all of them pass."""
    dashboard = copy.deepcopy(load("xfrmctl-fleet.json"))
    BROKEN[fault](dashboard)
    assert faults(dashboard)
