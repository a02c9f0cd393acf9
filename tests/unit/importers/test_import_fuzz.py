"""Whatever a file says: parsers end, raise their one error, and show no text; nothing that is read is lost."""

import string
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfrmctl.importers.convert import Request, run
from xfrmctl.importers.detect import Dialect
from xfrmctl.importers.dialects import tables_libreswan, tables_strongswan, tables_vyos
from xfrmctl.importers.dialects.tables_swanctl import CHILD, CONNECTION, PROOF
from xfrmctl.importers.origin import ImportFault, Place
from xfrmctl.importers.syntax import ipsec_conf, ipsec_secrets, sections, vyos_conf

WORDS = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=8)
VALUES = st.text(string.ascii_letters + string.digits + " ./%@*-,", max_size=20)
PIECES = st.sampled_from(
    ["{", "}", "=", "\n", '"', "\\", "#", ":", ",", "@#", " ", "\t", "include x", "a", "b", "§", "\x0b", "\f"]
)
SECRET = "do-not-show-me"


def nothing(pattern: str, place: Place, depth: int) -> Iterable[tuple[str, str]]:
    return []


def itself(pattern: str, place: Place, depth: int) -> Iterable[tuple[str, str]]:
    if depth > 4:
        raise ImportFault(place, "deep", "")
    return [("other", pattern), ("third", "a = b\n")]


@given(st.lists(PIECES, max_size=40).map("".join))
@settings(max_examples=300, deadline=None)
def test_sections_from_pieces(text: str) -> None:
    try:
        tree = sections.parse(text, "f", itself)
        for section in tree.root.walk():
            sections.inherited(tree, section)
    except ImportFault as fault:
        assert fault.place.line >= 1


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_sections_from_any_text(text: str) -> None:
    try:
        sections.parse(text, "f", nothing)
    except ImportFault as fault:
        assert 1 <= fault.place.line <= text.count("\n") + 1


@given(st.dictionaries(WORDS, st.dictionaries(WORDS, VALUES, max_size=4), max_size=4))
def test_sections_are_read_as_they_were_written(data: dict[str, dict[str, str]]) -> None:
    text = "".join(
        f"{name} {{\n" + "".join(f'  {key} = "{value}"\n' for key, value in inner.items()) + "}\n"
        for name, inner in data.items()
    )
    tree = sections.parse(text, "f", nothing)
    found = {n: {k: s.value for k, s in section.settings.items()} for n, section in tree.root.sections.items()}
    assert found == data
    assert len(tree.settings) == sum(len(inner) for inner in data.values())


@pytest.mark.parametrize("text", [f"a {{\n {SECRET} {{\n", f'a = "{SECRET}\n', f"{SECRET}\n}}\n", f"a = {SECRET}}}\n"])
def test_a_fault_never_shows_the_text(text: str) -> None:
    with pytest.raises(ImportFault) as caught:
        sections.parse(text, "f", nothing)
    assert SECRET not in str(caught.value)


def test_sections_do_not_go_too_deep() -> None:
    with pytest.raises(ImportFault, match="too deep"):
        sections.parse("a {\n" * 100, "f", nothing)


LINES = st.lists(
    st.sampled_from(
        [
            *("conn a", "conn b", "conn %default", "config setup", "ca c", "version 2", "include x", "  include y"),
            *(
                "\talso=a",
                "\talso=b",
                "\talsoflip=a",
                "\tleft=192.0.2.1",
                '\tleftid="x',
                "\tright=%any",
                "  auto=add",
                "\t",
            ),
            *("# c", "\tike=aes_gcm;dh19", "\tesp=aes128-sha256!", "\tlifetime=1h", "\tx", "left=1", "\tauthby=secret"),
            *(
                "\tleftsubnet=10.0.0.0/8,x",
                "\trightsubnets={a b}",
                "\tdpdaction=restart",
                "\tmark=%unique",
                "\ttype=drop",
            ),
        ]
    ),
    max_size=25,
).map("\n".join)


@given(LINES)
@settings(max_examples=200, deadline=None)
def test_lines_of_ipsec_conf(text: str) -> None:
    try:
        blocks = ipsec_conf.parse(text, "f", itself)
        for block in blocks.of("conn"):
            ipsec_conf.effective(blocks, block, last_also_wins=True)
    except ImportFault as fault:
        assert fault.place.line >= 1


@given(
    st.one_of(
        st.text(max_size=120),
        st.lists(st.sampled_from([":", " ", "\n", '"', "PSK", "a", "{", "}", "'", "#", "\t"]), max_size=30).map(
            "".join
        ),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_secrets(text: str) -> None:
    try:
        for entry in ipsec_secrets.parse(text, "f", nothing):
            assert entry.setting.place.line >= 1
    except ImportFault as fault:
        assert fault.place.line >= 1


@given(
    st.one_of(
        st.text(max_size=120),
        st.lists(
            st.sampled_from(["vpn ", "a", "{", "}", "\n", '"', "'", "/*", "*/", "//", "set ", "\\"]), max_size=40
        ).map("".join),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_vyos(text: str) -> None:
    try:
        root = vyos_conf.parse(text, "f")
        assert sum(1 for _ in root.leaves()) <= len(text) + 1
    except ImportFault as fault:
        assert fault.place.line >= 1


OPTIONS = st.sampled_from(
    [*CONNECTION, *("unknown", "x-y"), *(f"children.{name}" for name in CHILD), *(f"remote.{name}" for name in PROOF)]
)
GIVEN = st.sampled_from(
    ["", "yes", "no", "1", "3h", "%any", "psk", "pubkey", "10.1.0.0/16", "aes128-sha256-x25519", "trap", "?"]
)


@given(st.dictionaries(OPTIONS, GIVEN, max_size=12))
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_nothing_is_lost(options: dict[str, str]) -> None:
    """Known or not, sound or not: each option is in the report, and what comes out has gone through the check."""

    def lines(prefix: str) -> str:
        own = {name.removeprefix(prefix): value for name, value in options.items() if name.startswith(prefix)}
        return "".join(f"{name} = {value}\n" for name, value in own.items() if "." not in name)

    text = f"""
connections {{
net {{
{lines("")}
remote {{
{lines("remote.")}
}}
children {{
net {{
{lines("children.")}
}}
}}
}}
}}
secrets {{
ike {{
secret = {SECRET}
}}
}}
"""
    lines_of = {n for n, line in enumerate(text.splitlines(), 1) if " = " in f"{line} "}
    whole("swanctl.conf", text, Dialect.SWANCTL, lines_of)


def whole(name: str, text: str, dialect: Dialect, lines_of: set[int]) -> None:
    """Import a file: nothing is lost, nothing is shown, and what is called complete has passed the check."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / name
        file.write_text(text)
        (Path(directory) / "ipsec.secrets").write_text(f": PSK {SECRET}\n")
        done = run(Request(file=file, dialect=dialect, target=Path(directory) / "new"))
        report = done.report
        told = {e.place.line for e in report.entries if e.place and e.place.file.endswith(name)}
        assert lines_of <= told
        assert not done.is_complete or not done.problems
        assert SECRET not in report.text() + done.text + str(report.plain())


IPSEC = {
    dialect: [
        *tables.CONN,
        *(side + row.replace("host", "") for row in tables.END for side in ("left", "right")),
        "x-y",
    ]
    for dialect, tables in ((Dialect.STRONGSWAN, tables_strongswan), (Dialect.LIBRESWAN, tables_libreswan))
}


@pytest.mark.parametrize("dialect", IPSEC)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_ipsec_conf_says_nothing_is_lost(dialect: Dialect, data: st.DataObject) -> None:
    known = [name for name in IPSEC[dialect] if name not in ("also", "alsoflip", "auto")]
    options = data.draw(st.dictionaries(st.sampled_from(known), GIVEN, max_size=10))
    lines = ["conn net", "  auto=add", *(f"  {name}={value}" for name, value in options.items())]
    whole("ipsec.conf", "\n".join(lines), dialect, set(range(2, len(lines) + 1)))


VYOS = [
    *(f"ike-group G {row}" for row in tables_vyos.IKE_GROUP),
    *(f"esp-group G {row}" for row in tables_vyos.ESP_GROUP),
    *(f"site-to-site peer P {row}".replace("tunnel ", "tunnel 0 ") for row in tables_vyos.PEER),
    *tables_vyos.OTHER,
    "frobnicate",
]
OWN = [
    "site-to-site peer P ike-group G",
    "site-to-site peer P default-esp-group G",
    "site-to-site peer P tunnel 0 protocol tcp",
]


@given(st.dictionaries(st.sampled_from(VYOS), GIVEN, max_size=10))
@settings(max_examples=40, deadline=None)
def test_whatever_vyos_says_nothing_is_lost(options: dict[str, str]) -> None:
    given = [
        f"{name.replace('proposal ', 'proposal 1 ').replace('psk ', 'psk N ')} {value}"
        for name, value in options.items()
    ]
    lines = list(dict.fromkeys(f"set vpn ipsec {line}".rstrip() for line in [*OWN, *given]))
    inner = [line for line in lines if any(other.startswith(f"{line} ") for other in lines)]
    whole(
        "commands.txt", "\n".join(lines), Dialect.VYOS, {lines.index(line) + 1 for line in lines if line not in inner}
    )
