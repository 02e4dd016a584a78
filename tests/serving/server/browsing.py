"""A person at the page, in the system's Chromium: what the tests of the page have in common."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, expect
from running import Running

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 60_000  # milliseconds; nothing that is waited for takes so long but on a busy machine

expect.set_options(timeout=PATIENCE)


def chromium() -> str | None:
    """Where Chromium is: `VIPE_CHROMIUM`, or on the PATH."""
    return os.environ.get("VIPE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Visit:
    """One person's visit to the page.

    Attributes:
        page: Playwright's.
    """

    def __init__(self, page: Page, server: Running) -> None:
        self.page, self.server = page, server
        self.troubles: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", self._console)
        page.on("request", self._request)
        page.goto(server.url)
        page.locator("html[data-ready]").wait_for()

    def _console(self, message: Any) -> None:
        # A status that the page tells of itself is no trouble.
        if message.type in ("error", "warning") and "the server responded" not in message.text:
            self.troubles.append(message.text)

    def _request(self, request: Any) -> None:
        if urlsplit(request.url).scheme != "blob" and not request.url.startswith(self.server.url):
            self.troubles.append(f"asks {request.url}")

    def give(self, *files: Path | dict[str, Any]) -> None:
        """Choose files for upload."""
        self.page.locator("#file").set_input_files(list(files))  # type: ignore[arg-type]

    def see(self, *files: Path) -> None:
        """Upload videos, and wait until they are seen."""
        self.give(*files)
        for file in files:
            self.seen(file.name).wait_for()
        self.page.locator("#progress").wait_for(state="hidden")

    def seen(self, name: str) -> Locator:
        """The row of a seen video."""
        return self.page.locator("#seen li", has_text=name)

    def ask(self, question: str) -> str:
        """Ask, wait for the whole answer, and return it."""
        before = self.page.locator(".cost").count()
        self.page.get_by_label("Your question").fill(question)
        self.page.get_by_role("button", name="Ask", exact=True).click()
        self.page.locator(".cost").nth(before).wait_for()
        return self.page.locator(".answer").last.inner_text()

    def stage(self, name: str) -> Locator:
        """A stage of looking at a video."""
        return self.page.locator("#stages li", has_text=re.compile(f"^{name}"))

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(
            self.page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
        )


@contextmanager
def visiting(browser: Browser, server: Running, **settings: Any) -> Iterator[Visit]:
    """Visit the page; in the end there must have been no trouble, and no call to elsewhere."""
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | settings)
    try:
        visit = Visit(context.new_page(), server)
        yield visit
        assert visit.troubles == []
    finally:
        context.close()
