"""What every page has: head, title, the reader's choice of how often it comes anew; and small pieces of all pages."""

from collections.abc import Sequence
from urllib.parse import quote

from xfrmctl.model.words import duration
from xfrmctl.page.markup import Content, Html, join, tag
from xfrmctl.page.style import STYLE
from xfrmctl.page.view import REFRESH, View

STATES = {"up": "good", "partial": "warn", "connecting": "warn", "waiting": "bad", "down": "bad", "trap": "dim"}
"""How serious a state is; the word itself is always there too."""

_SHAPES = {
    "up": tag("circle", cx=8, cy=8, r=6, class_="solid"),
    "partial": join(tag("circle", cx=8, cy=8, r=6), tag("path", d="M8 2a6 6 0 0 0 0 12z", class_="solid")),
    "connecting": tag("circle", cx=8, cy=8, r=6, stroke_dasharray="3 3"),
    "trap": tag("circle", cx=8, cy=8, r=6),
}
_CROSS = tag("path", d="M3 3l10 10M13 3L3 13")


def document(title: str, *content: Content, refresh: int = 0) -> Html:
    """A whole page."""
    again = tag("meta", http_equiv="refresh", content=refresh) if refresh else None
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="robots", content="noindex"),
        again,
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    return join(Html("<!DOCTYPE html>\n"), tag("html", head, tag("body", *content), lang="en"))


def header(view: View, where: str, path: str, said: Content, home: bool) -> Html:
    """Title line: where this is, how it is, when it was, and how often it comes anew."""
    choices = []
    for seconds in REFRESH:
        words = f"every {seconds} s" if seconds else "off"
        address = path + (f"?refresh={seconds}" if seconds else "")
        choices.append(
            tag("b", words, aria_current="true") if seconds == view.refresh else tag("a", words, href=address)
        )
    back = None if home else tag("a", "All connections", href=_kept("/", view))
    return tag(
        "header",
        tag("h1", where),
        tag("p", said),
        tag("p", f"as of {view.taken}"),
        tag("nav", back, tag("span", "Refresh", class_="dim"), *choices, aria_label="Page"),
    )


def link(view: View, name: str) -> Html:
    """To the page of a connection."""
    return tag("a", name, href=_kept(f"/connection/{quote(name, safe='')}", view))


def _kept(path: str, view: View) -> str:
    return path + (f"?refresh={view.refresh}" if view.refresh else "")


def state(word: str) -> Html:
    """A state: a shape and its word, in a colour that says no more than they do."""
    shape = tag("svg", _SHAPES.get(word, _CROSS), viewBox="0 0 16 16", aria_hidden="true")
    return tag("span", shape, word, class_=f"state {STATES.get(word, 'bad')}")


def facts(*pairs: tuple[str, Content]) -> Html:
    """Names and values; those without a value are left out."""
    return tag(
        "dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs if value not in (None, ""))
    )


def terms(*pairs: tuple[str, Content]) -> Html:
    """The same in a card, one under the other."""
    return tag("dl", *(join(tag("dt", name), tag("dd", value)) for name, value in pairs if value not in (None, "")))


def table(caption: Content, columns: Sequence[tuple[str, str | None]], rows: Sequence[Sequence[Content]]) -> Html:
    """A table whose first column names the row; a column has a name and a style. Where it is narrow, rows are cards."""
    head = (tag("th", name, scope="col", class_=style) for name, style in columns)
    body = []
    for first, *rest in rows:
        cells = [
            tag("td", tag("div", value), class_=style, data_label=name, role="cell")
            for (name, style), value in zip(columns[1:], rest, strict=True)
        ]
        body.append(tag("tr", tag("th", first, scope="row", role="rowheader"), *cells, role="row"))
    return tag("table", tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *body), role="table")


def sentence(words: str) -> str:
    """With a capital letter and a full stop."""
    return words[:1].upper() + words[1:] + "."


def footer(view: View) -> Html:
    """What this is, and what it cannot do."""
    return tag(
        "footer",
        f"xfrmctl {view.snapshot.version}, up for {duration(view.snapshot.uptime_s)}. This page changes nothing: ",
        tag("code", "xfrmctl up"),
        ", ",
        tag("code", "down"),
        " and ",
        tag("code", "diagnose"),
        " are commands of the gateway.",
    )
