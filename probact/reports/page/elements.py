"""Elements of an HTML page, of texts that may hold anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any


def element(name: str, content: str, **attributes: str) -> str:
    """``content`` is HTML already; underscores in names of attributes become dashes, a last one goes (``class_``)."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{given}>{content}</{name}>"


def paragraph(text: str, **attributes: str) -> str:
    """Plain text, with code in backticks."""
    return element("p", marked(text), **attributes)


def marked(text: str) -> str:
    """Plain text as HTML; what stands in backticks as code."""
    odd = text.count("`") % 2
    pieces = [text] if odd else text.split("`")
    return "".join(
        element("code", escape(piece)) if number % 2 else escape(piece, quote=False)
        for number, piece in enumerate(pieces)
    )


def listed(texts: Sequence[str], **attributes: str) -> str:
    """A list, a text an item."""
    return element("ul", "".join(element("li", marked(text)) for text in texts), **attributes)


def code(text: str, label: str) -> str:
    """A block that can be copied; a long line is scrolled."""
    block = element("pre", element("code", escape(text)), tabindex="0", role="region", aria_label=label)
    return element("div", block, class_="code")


def table(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, label: str, long: bool = False
) -> str:
    """A table that can be sorted: the first column heads its rows, the others are numbers or short texts.

    :param label: of the first column; each column has a head, to sort by.
    :param long: scroll within it, with its head in sight.
    """
    head = "".join(element("th", escape(name), scope="col") for name in (label, *columns))
    body = "".join(
        element("tr", element("th", marked(str(first)), scope="row") + "".join(map(_cell, cells)))
        for first, *cells in rows
    )
    content = element("thead", element("tr", head)) + element("tbody", body)
    return scrolled(caption, content, "scroll long" if long else "scroll")


def scrolled(caption: str, content: str, room: str = "scroll", kind: str = "sortable") -> str:
    """A table of that content (HTML) which is scrolled where it is too wide; its caption is not."""
    said = caption.replace("`", "")
    titled = element("caption", element("span", marked(caption))) + content
    return element(
        "div", element("table", titled, class_=kind), class_=room, tabindex="0", role="region",
        aria_label=f"{said}, table",
    )  # fmt: skip


def _cell(value: Any) -> str:
    text = "-" if value is None or value != value else f"{value:.4g}" if isinstance(value, float) else str(value)
    return element("td", escape(text, quote=False))


def details(summary: str, content: str) -> str:
    """What is folded up until it is asked for."""
    return element("details", element("summary", escape(summary)) + content)


def section(heading: str, content: str, level: int, **attributes: str) -> str:
    """``content`` is HTML, the heading plain text."""
    return element("section", element(f"h{level}", marked(heading), class_="part") + content, **attributes)


def data_element(content: Any, name: str) -> str:
    """JSON for the page's own script; nothing in it can end the element."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'
