"""For the API pages: docstrings, which are written for people at a terminal, as Markdown."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

FIELD = re.compile(r"^(\s*):(param|ivar|raises|return)(?: ([^:]+))?: ", re.MULTILINE)


class AsMarkdown(Extension):
    """Turns every docstring into Markdown."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """Fields as a list, doctests as code, ``::`` as a colon; what stands indented is code in Markdown, too."""
    text = re.sub(r"::$", ":", docstring, flags=re.MULTILINE)
    text = re.sub(r"(?<=;) :param (\w+):", r" `\1`:", text)
    lines, shown, listed = list[str](), False, False
    for line in text.splitlines():
        if line.startswith(">>> ") and not shown:
            lines += ["", "```pycon"]
            shown = True
        elif shown and not line.strip():
            lines.append("```")
            shown = False
        field = None if shown else FIELD.match(line)
        if field and not listed:
            lines.append("")
        listed = bool(field) or (listed and line.startswith(" "))
        lines.append(FIELD.sub(_item, line) if field else line)
    return "\n".join(lines + ["```"] * shown)


def _item(field: re.Match[str]) -> str:
    names = ", ".join(f"`{name.strip()}`" for name in (field[3] or "").split(","))
    said = {"raises": f"raises {names}", "return": "returns"}.get(field[2], names)
    return f"{field[1]}- {said}: "
