"""Pages opened in a real headless browser; a test that needs one is skipped where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Names of a browser's program, looked for on the path in this order; ``PROBACT_BROWSER`` names another."""
WIDE, PHONE = (1280, 900), (390, 844)
"""Sizes of a window, in CSS pixels."""


class Opened(NamedTuple):
    """A page that is open.

    :ivar page: of playwright's sync API.
    :ivar complaints: what it has said in its console as errors and warnings, or raised, or failed to load, so far.
    :ivar requested: addresses that it has asked for.
    """

    page: Any
    complaints: list[str]
    requested: list[str]


def needed() -> str:
    """The browser's program; skips the test, with what is missing, where there is none or no playwright."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra browser)")
    named = os.environ.get("PROBACT_BROWSER")
    found = next((place for name in ([named] if named else BROWSERS) if (place := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: expected one of {named or ', '.join(BROWSERS)} on the path")
    return found


@contextmanager
def opened(
    address: str | Path, *, size: tuple[int, int] = WIDE, dark: bool = False, offline: bool = False, **options: Any
) -> Iterator[Opened]:
    """``address``, a file or a URL, in a window of that size, loaded.

    :param dark: whether the system prefers dark colours.
    :param offline: without any network; files can be opened all the same.
    :param options: of playwright's ``new_context``.
    """
    program = needed()
    from playwright.sync_api import sync_playwright

    url = address.resolve().as_uri() if isinstance(address, Path) else address
    view = {"width": size[0], "height": size[1]}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            scheme = "dark" if dark else "light"
            context = browser.new_context(viewport=view, color_scheme=scheme, offline=offline, **options)
            page, complaints, requested = context.new_page(), list[str](), list[str]()
            page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("requestfailed", lambda request: complaints.append(f"not loaded: {request.url}"))
            page.on("request", lambda request: requested.append(request.url))
            page.goto(url, wait_until="load")
            yield Opened(page, complaints, requested)
        finally:
            browser.close()


def serious_findings(page: Any) -> list[str]:
    """What axe-core finds that keeps people out, of impact serious or critical: rule, reason and the first element."""
    reason = "axe-playwright-python is not installed (extra browser)"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason).Axe()
    found = axe.run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}), {len(one['nodes'])} times: {one['help']}: {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
