"""The rules: promtool is content, every alert is tested and explained, and speaks of findings that there are."""

import re
import shutil
from pathlib import Path

import pytest

from tests.unit.deploy.prometheus import DEPLOY, ROOT, promtool
from tools.alerts import PAGE, RULES, alerts, findings, page
from xfrmctl.diagnose.catalogue import CATALOGUE

FOLDER = DEPLOY / "prometheus"
TESTS = FOLDER / "tests" / "alerts.yml"


def test_promtool_is_content_with_the_rules() -> None:
    promtool("check", "rules", *sorted((FOLDER / "rules").iterdir()))


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", TESTS)


def test_those_tests_notice_a_time_that_is_wrong(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "prometheus")
    rules = tmp_path / "prometheus" / "rules" / RULES.name
    rules.write_text(rules.read_text().replace("for: 2m", "for: 4m", 1))
    with pytest.raises(AssertionError, match="XfrmctlGatewayDown"):
        promtool("test", "rules", tmp_path / "prometheus" / "tests" / TESTS.name)


def test_every_alert_is_tested() -> None:
    tested = TESTS.read_text()
    for alert in alerts():
        assert re.search(rf"\b{alert['alert']}\b", tested), alert["alert"]


def test_every_recorded_series_is_read_by_somebody() -> None:
    recorded = re.findall(r"record: (\S+)", (FOLDER / "rules" / "xfrmctl.rules.yml").read_text())
    read = "".join(path.read_text() for path in (DEPLOY / "grafana" / "dashboards").iterdir()) + RULES.read_text()
    assert recorded
    assert [name for name in recorded if name not in read] == []


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    for alert in alerts():
        notes = alert["annotations"]
        assert set(notes) == {"summary", "description", "action", "findings", "runbook"}, alert["alert"]
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert notes["runbook"] == f"docs/alerts.md#{alert['alert'].lower()}"
        assert not set(findings(alert)) - set(CATALOGUE), alert["alert"]
        assert alert["alert"].startswith("Xfrmctl")


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run make docs-alerts"


def test_the_page_is_where_the_runbooks_point() -> None:
    headings = {f"#{text.lower()}" for text in re.findall(r"^## (\w+)$", PAGE.read_text(), re.MULTILINE)}
    for alert in alerts():
        path, _, _ = alert["annotations"]["runbook"].partition("#")
        assert ROOT / path == PAGE
        assert alert["annotations"]["runbook"].removeprefix(path) in headings
