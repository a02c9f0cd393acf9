"""The monitoring stack as files: promtool takes the configuration, and every path that one file names exists."""

import json
import re
import shlex
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.unit.deploy.prometheus import DEPLOY, ROOT, promtool

COMPOSE = DEPLOY / "compose" / "compose.yml"
PROVISIONING = DEPLOY / "grafana" / "provisioning"
README = (DEPLOY / "README.md").read_text()


def load(path: Any) -> Any:
    return yaml.safe_load(path.read_text())


def test_promtool_takes_the_configuration_and_finds_rules_and_targets() -> None:
    said = promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    assert "2 rule files found" in said
    assert re.findall(r"SUCCESS: (\d+) rules found", said) and "FAILED" not in said
    assert list((DEPLOY / "prometheus" / "targets").glob("*.yml"))


def test_the_targets_are_gateways_with_names() -> None:
    for group in load(DEPLOY / "prometheus" / "targets" / "gateways.yml"):
        assert group["targets"] and group["labels"]["instance"]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = load(COMPOSE)["services"]
    return found


def test_the_compose_file_is_what_its_specification_asks_for() -> None:
    """The schema is that of Debian 12's docker-compose; later ones carry it within a program."""
    schema = ROOT / "build/peers/docker-compose/usr/lib/python3/dist-packages/compose/config/compose_spec.json"
    if not schema.exists():
        pytest.skip("the distribution's docker-compose has no schema as a file: Debian 12's has")
    found = load(COMPOSE)
    assert found.pop("name") == "xfrmctl-monitoring"  # which the specification has had since 2022, and that schema not
    Draft7Validator(json.loads(schema.read_text())).validate(found)
    wrong = {**found, "services": {**found["services"], "grafana": {"image": "x", "volume": ["a:/b"]}}}
    assert list(Draft7Validator(json.loads(schema.read_text())).iter_errors(wrong))


def test_what_the_compose_file_depends_on_is_in_it(services: dict[str, Any]) -> None:
    for service in services.values():
        assert set(service.get("depends_on", [])) <= set(services)
        for variable in re.findall(r"\$\{(\w+)", yaml.safe_dump(service)):
            assert variable in COMPOSE.read_text().partition("services:")[0] + README


def test_the_compose_file_mounts_what_exists(services: dict[str, Any]) -> None:
    volumes = load(COMPOSE)["volumes"]
    for service in services.values():
        for mount in service["volumes"]:
            source, target, *mode = mount.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert mode == ["ro"] and (COMPOSE.parent / source).exists(), source
            else:
                assert source in volumes


def test_the_containers_listen_on_loopback_and_have_a_version(services: dict[str, Any]) -> None:
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert re.search(r":\$\{\w+:-v?\d+\.\d+\.\d+\}$", service["image"])


def test_prometheus_finds_its_files_in_the_container(services: dict[str, Any]) -> None:
    """The configuration names its neighbours: they are mounted beside it."""
    targets = {mount.split(":")[1] for mount in services["prometheus"]["volumes"]}
    config = load(DEPLOY / "prometheus" / "prometheus.yml")
    named = [*config["rule_files"], *config["scrape_configs"][0]["file_sd_configs"][0]["files"]]
    assert {f"/etc/prometheus/{name.split('/')[0]}" for name in named} <= targets
    assert "--config.file=/etc/prometheus/prometheus.yml" in services["prometheus"]["command"]


def test_grafana_finds_its_dashboards(services: dict[str, Any]) -> None:
    (provider,) = load(PROVISIONING / "dashboards" / "xfrmctl.yml")["providers"]
    path = provider["options"]["path"]
    mounts = dict(mount.split(":")[1::-1] for mount in services["grafana"]["volumes"])
    assert mounts[path] == "../grafana/dashboards"
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DEPLOY / "grafana" / "dashboards" / home.removeprefix(f"{path}/")).exists()
    assert path in README


def test_the_data_sources_differ_in_where_prometheus_is_and_ask_as_often_as_it_scrapes() -> None:
    (plain,), (inside,) = (
        load(path)["datasources"]
        for path in (PROVISIONING / "datasources" / "xfrmctl.yml", COMPOSE.parent / "datasource.yml")
    )
    assert (plain.pop("url"), inside.pop("url")) == ("http://127.0.0.1:9090", "http://prometheus:9090")
    assert plain == inside
    assert (
        plain["jsonData"]["timeInterval"] == load(DEPLOY / "prometheus" / "prometheus.yml")["global"]["scrape_interval"]
    )


def test_the_commands_of_the_readme_name_files_that_there_are() -> None:
    commands = [line.lstrip("#$ ") for line in re.findall(r"^[#$] .*deploy/.*$", README, re.MULTILINE)]
    assert len(commands) >= 4
    for command in commands:
        for word in shlex.split(command):
            if word.startswith("deploy/"):
                assert list(ROOT.glob(word.removesuffix("/."))), word


def test_the_readme_counts_right() -> None:
    alerts = (DEPLOY / "prometheus" / "rules" / "xfrmctl.alerts.yml").read_text().count("- alert:")
    assert f"[{alerts} alerts]" in README
    for name in re.findall(r"^\| `([\w/.-]+)`", README, re.MULTILINE):
        assert (DEPLOY / name).exists(), name
