"""The colours of a page: those of the figures, as CSS variables, light and dark."""

from __future__ import annotations

from matplotlib.colors import to_hex, to_rgb

from probact.support import palette
from probact.support.palette import STYLES, styled

NAMES = {
    "learned": palette.LEARNED, "exact": palette.EXACT, "budget": palette.BUDGET, "patience": palette.PATIENCE,
    "prior": palette.PRIOR, "own": palette.OWN, "loss": palette.LOSS,
}  # fmt: skip
CYCLE = 8
"""Colours of training seeds."""


def colors(style: str) -> dict[str, str]:
    """Name -> colour ``#rrggbb``: the roles, ``c0`` .. ``c7`` of seeds, paper and ink, and mixtures of these two."""
    with styled(style):
        paper = to_hex(palette.paper())
        found = {"paper": paper, "ink": to_hex(palette.ink())}
        found |= {name: to_hex(color) for name, color in NAMES.items()}
        found |= {f"c{number}": to_hex(palette.series(number)) for number in range(CYCLE)}
    mixed = {"wash": 0.05, "line": 0.12, "edge": 0.45, "quiet": 0.72}
    return {**found, **{name: _mixed(paper, found["ink"], share) for name, share in mixed.items()}}


def _mixed(paper: str, ink_: str, share: float) -> str:
    """So much ink on the paper."""
    (r, g, b), (x, y, z) = to_rgb(paper), to_rgb(ink_)
    return to_hex((r + share * (x - r), g + share * (y - g), b + share * (z - b)))


def variables() -> str:
    """As CSS: what the system prefers, unless the reader has chosen."""
    of = {style: "".join(f"--{name}:{value};" for name, value in colors(style).items()) for style in STYLES}
    return (
        f":root{{color-scheme:light;{of['light']}}}\n"
        f"@media (prefers-color-scheme: dark){{:root:not([data-theme=light]){{color-scheme:dark;{of['dark']}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{of['dark']}}}"
    )
