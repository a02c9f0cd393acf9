"""Configuration files to test with, and how to load them."""

from pathlib import Path
from textwrap import dedent, indent

import pytest

from xfrmctl.config import written
from xfrmctl.config.load import Configuration, load
from xfrmctl.config.problem import ConfigError, Problem

GOOD = """\
gateway:
  metrics: 127.0.0.1:9877
  bypass:
    - {local: 10.1.1.1/32, remote: 10.1.0.0/16}
connections:
  branch-7:
    local:   {address: 172.16.1.1, id: fqdn:moon.example.org}
    remote:  {address: 172.16.2.1, id: fqdn:sun.example.org}
    auth:    {psk: !file secrets/branch-7.psk}
    ike:     {proposals: [aes256gcm16-prfsha384-x25519], dpd: 30s}
    children:
      lan:
        local_ts:  [10.1.1.0/24]
        remote_ts: [10.1.2.0/24]
        esp:       [aes256gcm16-x25519]
        dataplane: policy          # or interface
        start:     trap            # or start, or none
        mtu: auto                  # the path MTU engine; or a number of bytes
        mss: auto                  # or off, or a number of bytes
        df:  copy                  # or set, or clear
        replay_window: 128
        fail: closed               # or open
"""

MINIMAL = """\
connections:
  c:
    local: {address: 192.0.2.1}
    remote: {address: 192.0.2.2}
    auth: {psk: !file k}
    children:
      lan: {local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/16}
"""


def loaded(place: Path, text: str, previous: Configuration | None = None) -> Configuration:
    file = place / "xfrmctl.yaml"
    file.write_text(text)
    return load(file, previous)


def problems(place: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        loaded(place, text)
    for problem in caught.value.problems:
        assert problem.cause and problem.cure, problem
        assert "Value error" not in str(problem)
    return caught.value.problems


def only(place: Path, text: str) -> Problem:
    found = problems(place, text)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


def keys_changed(old: Configuration, new: Configuration) -> list[str]:
    """Keys of connection c, its children's apart, that differ."""
    before, after = (written.of_connection(found.engine.connections["c"], None) for found in (old, new))
    return [difference.key for difference in written.differences(before, after)]


def minimal(child: str = "", connection: str = "", gateway: str = "") -> str:
    """The minimal file with more lines in its child, its connection, its gateway."""
    text = "gateway:\n" + indent(dedent(gateway).strip() + "\n", "  ") if gateway else ""
    text += "connections:\n  c:\n"
    own = "local: {address: 192.0.2.1}\nremote: {address: 192.0.2.2}\nauth: {psk: !file k}\n"
    keys = {line.split(":")[0] for line in dedent(connection).splitlines() if not line.startswith(" ")}
    kept = "\n".join(line for line in own.splitlines() if line.split(":")[0] not in keys) + "\n"
    text += indent(kept + dedent(connection).strip() + "\n", "    ")
    if "children" not in keys:
        text += "    children:\n      lan:\n"
        words = {line.split(":")[0].strip() for line in dedent(child).splitlines()}
        for word, network in (("local_ts", "10.1.0.0/16"), ("remote_ts", "10.2.0.0/16")):
            if word not in words:
                text += f"        {word}: [{network}]\n"
        text += indent(dedent(child), "        ") + "\n"
    return text


def pair(one: str, two: str, remote: str = "192.0.2.3", more: str = "") -> str:
    return dedent(
        f"""\
        connections:
          a:
            local: {{address: 192.0.2.1}}
            remote: {{address: 192.0.2.2}}
            auth: {{psk: !file k}}
            children: {{lan: {{{one}}}}}
          b:
            local: {{address: 192.0.2.1}}
            remote: {{address: {remote}}}
            auth: {{psk: !file k}}
            children: {{lan: {{{two}}}{more}}}
        """
    )


BASE = "local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/16"
ROUTED = ", dataplane: interface"
