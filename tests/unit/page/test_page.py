"""The status page over HTTP: who may ask, what it says, what it remembers, and that every word is escaped."""

import http.client
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.unit.control.gateway_values import CHILD, IKE, SNAPSHOT, UP
from tests.unit.page.page_values import EVIL, Source, after, hostile, hour, serving
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.snapshot import Snapshot
from xfrmctl.model.words import rate
from xfrmctl.page import history, server
from xfrmctl.page.history import MOST_CHILDREN, POINTS, History
from xfrmctl.page.markup import Html, join, tag
from xfrmctl.page.plot import Line, drawing, figure, thinned
from xfrmctl.page.server import PageError, StatusPage, Watch, own_host
from xfrmctl.page.style import DIGEST, STYLE


class Answer:
    """One answer of the page."""

    def __init__(self, url: str, path: str = "/", method: str = "GET", host: str | None = None) -> None:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request(method, path, headers={"Host": host} if host is not None else {})
        response = connection.getresponse()
        self.status, self.headers, self.text = response.status, response.headers, response.read().decode()
        connection.close()


def findings(url: str, path: str = "/") -> str:
    """The page once the look for faults is over."""
    for _ in range(200):
        found = Answer(url, path).text
        if "Looking for faults" not in found:
            return found
        time.sleep(0.01)
    raise AssertionError("the look for faults does not end")


# ---- who may ask -------------------------------------------------------------------------------------------------


def test_it_is_read_only() -> None:
    with serving(Source().page()) as url:
        assert Answer(url).status == 200
        head = Answer(url, method="HEAD")
        assert head.status == 200 and head.text == ""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
            refused = Answer(url, method=method)
            assert refused.status == 405 and refused.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/nothing", "/connection/nobody", "/connection/%3Cscript%3E"])
def test_the_same_headers_on_everything(path: str) -> None:
    with serving(Source().page()) as url:
        headers = Answer(url, path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith(f"default-src 'none'; style-src 'sha256-{DIGEST}'; ")
        assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Content-Type"].startswith("text/html")
        assert "aiohttp" not in headers["Server"].lower()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9880", "127.0.0.1.evil.example", "", "localhost.evil:80"]
)
def test_a_strangers_name_that_points_here_reads_nothing(host: str) -> None:
    """DNS rebinding: the browser believes to be on its own site."""
    with serving(Source().page()) as url:
        refused = Answer(url, host=host)
        assert refused.status == 421 and "branch-7" not in refused.text


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9880", "[::1]:9880", "[::1]", "localhost:1", "LOCALHOST", "10.0.0.1"]
)
def test_addresses_and_localhost_are_its_own(host: str) -> None:
    assert own_host(host)


def test_a_port_that_is_taken() -> None:
    with serving(Source().page()) as url:
        other = StatusPage(Watch(Source().take, Source().diagnose), "moon", "127.0.0.1", int(url.rpartition(":")[2]))
        with (
            pytest.raises(PageError, match=r"gateway.status_page: cannot listen on 127.0.0.1:.*choose a free"),
            serving(other),
        ):
            pass


# ---- what it says ------------------------------------------------------------------------------------------------


def test_the_overview() -> None:
    with serving(Source().page(past=True)) as url:
        text = findings(url)
    for words in (
        "1 of 2 connections up",
        "accepts none of our",
        "next try in 16 s",
        "1400",
        "1298",
        "6 policies, 2 SAs",
    ):
        assert words in text
    assert text.index(">branch-8<") < text.index(">branch-7<"), "trouble first"
    assert "Error: " in text and "no-common-ike-proposal" in text and "strongSwan: proposals" in text


def test_the_page_of_a_connection() -> None:
    with serving(Source().page(past=True)) as url:
        up, down = findings(url, "/connection/branch-7"), Answer(url, "/connection/branch-8").text
        wrong = Answer(url, "/connection/brunch-7")
    for words in ("0xc0000001", "10.1.1.0/24 to 10.1.2.0/24", "Path MTU, last 59 min", "Nothing found", "aes256gcm16"):
        assert words in up
    assert "no-common-ike-proposal" not in up and "no-common-ike-proposal" in down
    for words in ("Failed: ", "We offered", "Peer offered", "aes128-sha256-modp2048"):
        assert words in down
    assert wrong.status == 404 and "Did you mean &#x27;branch-7&#x27;?" in wrong.text


def test_trouble_of_the_gateway_itself() -> None:
    kernel = replace(SNAPSHOT.kernel, problems=["policy out is missing"], disturbances=["-j ACCEPT stood"])
    clamps = [replace(clamp, standing=False) for clamp in SNAPSHOT.clamps]
    bad = replace(SNAPSHOT, kernel=kernel, clamps=clamps, reload_ok=False, reload_error="x.yaml:1: bad")
    with serving(Source(bad).page()) as url:
        text = Answer(url).text
    for words in ("policy out is missing", "-j ACCEPT stood", "MSS 1298 (IPv4) is not in force", "x.yaml:1: bad"):
        assert words in text
    with serving(Source().page()) as url:
        assert 'role="alert"' not in Answer(url).text


def test_a_gateway_without_connections() -> None:
    with serving(Source(replace(SNAPSHOT, connections=[])).page()) as url:
        assert "No connection is configured yet" in Answer(url).text


def test_many_connections_come_in_pages() -> None:
    many = [replace(UP, name=f"c{n}", ike_sas=[]) for n in range(450)]
    with serving(Source(replace(SNAPSHOT, connections=many)).page()) as url:
        first, last = Answer(url).text, Answer(url, "/?page=3&refresh=10").text
        beyond = Answer(url, "/?page=999999").text
    assert first.count('role="rowheader"') == 200 and "Page 1 of 3" in first and 'href="/?page=2#connections"' in first
    assert last.count('role="rowheader"') == 50 and "/?page=2&amp;refresh=10#connections" in last
    assert "Page 3 of 3" in beyond


def test_it_comes_anew_as_often_as_asked() -> None:
    with serving(Source().page()) as url:
        findings(url)
        assert "http-equiv" not in Answer(url).text
        assert '<meta http-equiv="refresh" content="10">' in Answer(url, "/?refresh=10").text
        for nonsense in ("1", "-1", "x", "9" * 400, "%00", ""):
            assert "http-equiv" not in Answer(url, f"/?refresh={nonsense}").text


def test_faults_are_looked_for_only_while_somebody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source()
    with serving(source.page()) as url:
        assert source.looks == 0
        first = Answer(url)
        assert "Looking for faults" not in first.text or first.headers["Refresh"] == "5"
        findings(url)
        for _ in range(3):
            Answer(url)
        assert source.looks == 1, "once a minute"
        monkeypatch.setattr(server, "LOOK_S", 0.0)
        Answer(url)
        findings(url)
        assert source.looks >= 2


def test_what_cannot_be_read_is_said() -> None:
    class Broken(Source):
        async def take(self) -> Snapshot:
            raise KernelRefusal("dump SAs", 1, "Operation not permitted")

    class Blind(Source):
        async def diagnose(self) -> Diagnosis:
            raise KernelRefusal("read routes", 1, "Operation not permitted")

    with serving(Broken().page()) as url:
        found = Answer(url)
        assert found.status == 503 and "dump SAs: Operation not permitted" in found.text
    with serving(Blind().page()) as url:
        assert "Could not look for faults: read routes" in findings(url)


def test_a_programming_error_is_in_the_log_and_not_on_the_page() -> None:
    class Bug(Source):
        taken = 0

        async def take(self) -> Snapshot:
            self.taken += 1
            if self.taken > 1:
                raise RuntimeError("secret details")
            return SNAPSHOT

    page = Bug().page()
    with pytest.MonkeyPatch.context() as patch, serving(page) as url:
        patch.setattr(server, "FRESH_S", -1.0)
        found = Answer(url)
    assert found.status == 500 and "secret details" not in found.text
    assert "default-src 'none'" in found.headers["Content-Security-Policy"]


# ---- every word is escaped ---------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """The elements of a page and what they name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "xlink:href")]


@pytest.mark.parametrize("path", ["/", "/connection/branch-7", "/connection/branch-8", "/connection/%3Cimg%20src=x%3E"])
def test_nothing_comes_from_elsewhere_and_no_word_becomes_markup(path: str) -> None:
    with serving(hostile().page()) as url:
        findings(url)
        text = Answer(url, path).text
    found = Elements(text)
    assert not found.tags & {"script", "img", "iframe", "link", "object", "embed", "form", "base"}
    assert not {name for name in found.attributes if name.startswith("on") or name == "style"}
    assert all(link.startswith(("/", "#")) and not link.startswith("//") for link in found.links)
    assert not re.search(r"https?://|@import|url\(", text)
    assert "\u202e" not in text and "\x1b" not in text


def test_markup() -> None:
    assert tag("p", EVIL[:8], class_='a"b') == '<p class="a&quot;b">&lt;script&gt;</p>'
    assert tag("p", Html("<b>x</b>"), None, 7, aria_label=None) == "<p><b>x</b>7</p>"
    assert join("a\u202eb\x00c\nd") == "a\ufffdb\ufffdc\nd"


def test_the_style_names_nothing_from_elsewhere() -> None:
    assert "url(" not in STYLE and "@import" not in STYLE and "//" not in STYLE


# ---- what it remembers -------------------------------------------------------------------------------------------


def test_the_history_is_bounded() -> None:
    past = History()
    for number in range(POINTS + 50):
        past.observe(after(number, number, number), number * 10.0)
    points = past.of("branch-7", "lan")
    assert len(points) == len(past.total()) == POINTS and points[-1].at == (POINTS + 49) * 10
    many = replace(SNAPSHOT, connections=[replace(UP, name=f"c{n}") for n in range(MOST_CHILDREN + 5)])
    past.observe(many, 1e6)
    assert past.of(f"c{MOST_CHILDREN - 1}", "lan") and not past.of(f"c{MOST_CHILDREN}", "lan")
    assert not past.of("branch-7", "lan"), "who is not configured any more is forgotten"


def test_rates_are_bits_per_second_and_survive_a_rekey() -> None:
    past = History()
    past.observe(after(0, 1000, 0), 0.0)
    past.observe(after(10, 2000, 500), 10.0)
    successor = replace(CHILD, inbound=replace(CHILD.inbound, spi="0xnew", bytes=250))
    past.observe(replace(SNAPSHOT, connections=[replace(UP, ike_sas=[replace(IKE, children=[successor])])]), 20.0)
    first, second, third = past.of("branch-7", "lan")
    assert (first.received, first.sent) == (None, None)
    assert (second.received, second.sent) == (800.0, 400.0)
    assert third.received == 200.0, "a successor counts from 0"
    assert past.total()[1].received == 800.0


def test_a_child_that_is_down_is_a_gap() -> None:
    past = History()
    past.observe(after(0, 0, 0, 1500), 0.0)
    past.observe(replace(SNAPSHOT, connections=[replace(UP, ike_sas=[])]), 10.0)
    past.observe(after(20, 100, 100, 1400), 20.0)
    points = past.of("branch-7", "lan")
    assert [p.mtu for p in points] == [1500, None, 1400]
    assert points[1].received is None and points[2].received == 80.0


def test_an_hour_is_an_hour() -> None:
    past = History()
    for at, snapshot in hour():
        past.observe(snapshot, at)
    points = past.of("branch-7", "lan")
    assert points[-1].at - points[0].at == (POINTS - 1) * history.STEP_S
    assert [p.mtu for p in points].count(1500) == 240


# ---- plots -------------------------------------------------------------------------------------------------------


def path_of(values: list[float | None], times: list[float], steps: bool = False) -> str:
    drawn = drawing([Line("x", "in", values, steps)], times, 0.0, 10.0, "x")
    found = re.search(r'd="([^"]*)"', drawn)
    assert found is not None
    return found[1]


def test_a_line_has_gaps_and_its_own_times() -> None:
    assert path_of([0.0, 10.0], [0.0, 1.0]) == "M0.0 97.0L600.0 3.0"
    assert path_of([0.0, 0.0, 10.0], [0.0, 9.0, 10.0]) == "M0.0 97.0L540.0 97.0L600.0 3.0"
    assert path_of([0.0, None, 10.0], [0.0, 1.0, 2.0]) == "M0.0 97.0h3M600.0 3.0h3"
    assert path_of([0.0, 10.0], [0.0, 1.0], steps=True) == "M0.0 97.0H600.0V3.0"
    assert path_of([None], [0.0]) == "" and path_of([5.0], [0.0]) == "M0.0 50.0h3"


def test_a_plot_says_its_numbers_in_words() -> None:
    lines = [Line("received", "in", [0.0, 2e6]), Line("sent", "out", [None, None])]
    text = figure("Traffic", lines, [0.0, 600.0], rate, floor=True)
    assert 'aria-label="Traffic, last 10 min: received 2.0 Mbit/s now; between 0 bit/s and 2.0 Mbit/s"' in text
    assert "10 min ago" in text and "sent" not in text
    assert "nothing measured yet" in figure("Traffic", [Line("sent", "out", [])], [], rate, floor=True)


def test_thinned_keeps_peaks() -> None:
    assert thinned([1.0, 9.0, None, None, 2.0], 3) == [9.0, None, 2.0]
    assert thinned([], 3) == [] and thinned([1.0], 3) == [1.0]


def test_rates_in_words() -> None:
    assert [rate(n) for n in (0, 999, 1000, 1.5e6, 2e9, 3e12)] == [
        "0 bit/s",
        "999 bit/s",
        "1.0 kbit/s",
        "1.5 Mbit/s",
        "2.0 Gbit/s",
        "3.0 Tbit/s",
    ]
