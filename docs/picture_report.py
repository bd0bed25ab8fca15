"""Draws docs/images/report.png: the part of a run's report where a reader walks from problem to problem.

``python docs/picture_report.py RUN``, with the extra ``browser`` installed and a chromium on the path.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402

from tests.helpers.browser import opened  # noqa: E402

WIDTH, HEIGHT = 1000, 1130


def main() -> None:
    with opened(Path(sys.argv[1]) / "report.html", size=(WIDTH, 900), offline=True) as one:
        top = one.page.get_by_text("One problem at a time").bounding_box()["y"]
        box = {"x": 0, "y": top - 10, "width": WIDTH, "height": HEIGHT}
        content = one.page.screenshot(clip=box, full_page=True)
    picture = Image.open(io.BytesIO(content)).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    picture.save(ROOT / "docs" / "images" / "report.png", optimize=True)


if __name__ == "__main__":
    main()
