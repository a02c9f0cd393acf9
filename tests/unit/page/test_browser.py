"""The status page in a real browser: nothing from elsewhere, nothing refused by its own policy, legible at every width
and in both colour schemes, and told to screen readers as what it is."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.page.browser import PROGRAM, Tab, browse
from tests.unit.page.page_values import Source, hostile, serving

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: tools/setup.sh test installs it on Debian")

WIDTHS = (320, 400, 768, 1000, 1280)
LEAST_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3 (AA)."""

CONTRAST = """
(() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = parse(c).map(v => v / 255).map(v => v <= .04045 ? v / 12.92
    : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (parse(c)[3] !== 0) return c; } return 'rgb(255, 255, 255)'; };
  let worst = [99, ''];
  for (const e of document.body.querySelectorAll('*')) {
    if (e.closest('svg') || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 120)];
  }
  return worst;
})()
"""


def run(source: Source, work: Callable[[Tab, str], Awaitable[None]], past: bool = True) -> None:
    """Serve, browse, work."""

    with serving(source.page(past=past)) as url:
        browse(lambda tab: work(tab, url))


async def visible_text(tab: Tab) -> str:
    return str(await tab.ask("document.body.innerText"))


async def complaints(tab: Tab) -> list[Any]:
    """What the browser has to say: refused styles, failed loads, warnings."""
    await tab.ask("1")  # whatever was said before has come now
    return [*tab.heard("Log.entryAdded"), *tab.heard("Runtime.consoleAPICalled"), *tab.heard("Runtime.exceptionThrown")]


def test_the_page_in_a_browser() -> None:
    async def work(tab: Tab, url: str) -> None:
        await tab.open(url)  # begins to look for faults
        for path in ("/", "/connection/branch-7", "/connection/branch-8"):
            await tab.open(url + path)
            assert await complaints(tab) == []
            asked = [request["request"]["url"] for request in tab.heard("Network.requestWillBeSent")]
            assert asked == [url + path], "one request, and nothing from elsewhere"
            for scheme in ("light", "dark"):
                for width in WIDTHS:
                    await tab.look(width, scheme)
                    assert await tab.ask("document.documentElement.scrollWidth") <= width, (path, width)
                ratio, where = await tab.ask(CONTRAST)
                assert ratio >= LEAST_CONTRAST, (path, scheme, where)
            paper = "getComputedStyle(document.body).backgroundColor"
            dark = await tab.ask(paper)
            await tab.look(1280, "light")
            assert await tab.ask(paper) != dark, "the style sheet is in force"
        await tells(tab, url)

    run(Source(), work)


async def tells(tab: Tab, url: str) -> None:
    """What a reader sees, and what one hears."""
    await tab.open(url)
    text = await visible_text(tab)
    for words in ("1 of 2 connections up", "Error: the peer accepts none", "nothing in common", "branch-7", "1400"):
        assert words in text
    await tab.open(url + "/connection/branch-7")
    text = await visible_text(tab)
    for words in ("The IKE SA and all children stand.", "0xc0000001", "1400 bytes", "1500 bytes", "59 min ago"):
        assert words in text
    images = await tab.ask("[...document.querySelectorAll('svg[role=img]')].map(e => e.getAttribute('aria-label'))")
    assert any(label.startswith("Path MTU, last 59 min: outer MTU 1400 bytes now; between 1400") for label in images)
    for width in (400, 1280):  # as cards, too
        await tab.look(width)
        tree = (await tab.do("Accessibility.getFullAXTree"))["nodes"]
        names = {(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if not node["ignored"]}
        roles = {role for role, _ in names}
        assert {"table", "row", "rowheader", "cell", "image", "heading", "main", "navigation"} <= roles, width
        assert ("heading", "branch-7") in names and ("rowheader", "in") in names
    assert await tab.ask("document.querySelectorAll('script, iframe, link, form, img, object').length") == 0


def test_hostile_words_stay_words() -> None:
    async def work(tab: Tab, url: str) -> None:
        for path in ("/", "/connection/branch-7", "/connection/branch-8"):
            await tab.open(url + path)
            await tab.open(url + path)
            assert await complaints(tab) == []
            assert await tab.ask("document.querySelectorAll('script, img, b.x').length") == 0
            assert "<script>alert(1)</script>" in await visible_text(tab)
            for width in WIDTHS:
                await tab.look(width)
                assert await tab.ask("document.documentElement.scrollWidth") <= width

    run(hostile(), work, past=False)
