"""swanctl.conf: includes, references, what comes twice, and faults."""

from pathlib import Path

import pytest

from tests.unit.importers.imports import KEY, Importer
from tests.unit.importers.swanctl_text import connection
from xfrmctl.importers.origin import ImportFault


def test_a_later_value_replaces_the_former_and_that_is_told(importer: Importer) -> None:
    done = importer.text("swanctl.conf", connection("dpd_delay = 10s\n dpd_delay = 20s"))
    assert done.connection("net")["ike"]["dpd"] == "20s"
    assert done.fate("dpd_delay") == {"mapped", "dropped"}


def test_includes_and_references(importer: Importer) -> None:
    importer.file("conf.d/b.conf", "net : base.all {\n local_addrs = 192.0.2.1\n dpd_delay =\n}\n")
    importer.file("conf.d/secret.conf", f"ike {{\n secret = {KEY}\n}}\n")
    main = """
connections {
  include conf.d/b.conf
}
secrets {
  include conf.d/s*.conf
}
base {
  all : proof {
    remote_addrs = 198.51.100.1
    dpd_delay = 5s
    children {
      lan {
        local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16
      }
    }
  }
}
proof {
  local {
    auth = psk
  }
  remote {
    auth = psk
  }
}
"""
    done = importer.text("swanctl.conf", main)
    assert done.connection("net")["ike"]["dpd"] == "off"  # an empty value takes the inherited one away
    assert done.loaded["net"].psk == KEY.encode()
    assert done.imported.is_complete
    assert "conf.d/b.conf:2" in done.imported.text


def test_includes_lead_nowhere_else(importer: Importer, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.conf"
    elsewhere.write_text("connections {\n}\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "link.conf").symlink_to(elsewhere)
    text = f"include {elsewhere}\ninclude link.conf\ninclude ../elsewhere.conf\ninclude missing.conf\n{connection()}"
    done = importer.text("swanctl.conf", text)
    assert sum("it leads out of the directory" in line for line in done.decisions) == 3
    assert sum("there is no such file" in line for line in done.decisions) == 1
    assert list(done.data["connections"]) == ["net"]
    allowed = importer.run(tmp_path / "etc" / "swanctl.conf", follow=[tmp_path])
    assert sum("leads out" in line for line in allowed.decisions) == 0


def test_absolute_paths_start_at_the_root_of_a_copy(importer: Importer, tmp_path: Path) -> None:
    importer.file("swanctl/conf.d/a.conf", connection())
    main = importer.file("swanctl/swanctl.conf", "include /etc/swanctl/conf.d/*.conf\n")
    assert list(importer.run(main, root=tmp_path).data["connections"]) == ["net"]


def test_a_file_that_includes_itself_ends(importer: Importer) -> None:
    with pytest.raises(ImportFault, match=r"swanctl.conf:1: includes go deeper"):
        importer.text("swanctl.conf", "include swanctl.conf\n")


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("connections {\n a {\n", 2, "no end"),
        ("connections {\n}\n}\n", 3, "without its {"),
        ("connections {\n a { b = c }\n}\n", 2, "a brace in a value"),
        ("connections {\n secret\n}\n", 2, "without = or {"),
        ('connections {\n a = "b\n}\n', 2, "without its end"),
        ("connections {\n a : gone {\n }\n}\n", 2, "not there"),
        ("connections {\n a : connections.b {\n }\n b : connections.a {\n }\n}\n", 0, "circle"),
        ("connections {\n = x\n}\n", 2, "neither a name"),
    ],
)
def test_faults_have_file_and_line_and_never_the_text(importer: Importer, text: str, line: int, cause: str) -> None:
    with pytest.raises(ImportFault, match=cause) as caught:
        importer.text("swanctl.conf", text)
    assert caught.value.place.file.endswith("swanctl.conf")
    assert not line or caught.value.place.line == line
