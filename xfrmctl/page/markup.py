"""HTML from values: whatever is not made here is text, and escaped."""

from html import escape

VOID = frozenset({"meta", "link", "br", "path", "line", "circle", "rect"})


class Html(str):
    """Markup that :func:`tag` has made; a plain ``str`` is text."""

    __slots__ = ()


Content = str | int | None
"""``Html`` as it is, text escaped, None for nothing."""


def tag(name: str, /, *content: Content, **attributes: Content) -> Html:
    """One element. ``class_`` is ``class``, ``aria_label`` is ``aria-label``; attributes that are None are left out."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{words}>" if name in {"meta", "link", "br"} else f"<{name}{words}/>")
    return Html(f"<{name}{words}>{join(*content)}</{name}>")


def join(*content: Content) -> Html:
    """Several pieces, one after the other."""
    return Html("".join(piece if isinstance(piece, Html) else text(piece) for piece in content if piece is not None))


def text(value: Content) -> str:
    """Text with nothing in it that a browser, or a reader's eye, takes for something else."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(value)))
