"""The dashboards as files."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards import fleet, gateway, path_mtu, tunnel

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards"


def files() -> dict[str, str]:
    """Names and contents."""
    made = (module.dashboard() for module in (fleet, gateway, tunnel, path_mtu))
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{dashboard.uid}.json": encoder.encode(dashboard) + "\n" for dashboard in made}
