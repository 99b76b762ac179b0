"""A real browser for tests: Debian's chromium, driven by playwright; skipped out loud where one of them is missing."""

import shutil
import socket
from contextlib import contextmanager
from urllib.parse import urlparse

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SOFTWARE = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PATIENCE = 120_000  # ms; the machine may be busy, and paints by its processor


def free_port():
    """One that nobody listens at just now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextmanager
def opened(address, *, width=1000, height=700):
    """The page at ``address``, and the list of hosts that it asks for anything, which grows."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install playwright: no browser is driven without"
    )
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(SOFTWARE))
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE)
        hosts = []
        page.on("request", lambda request: hosts.append(urlparse(request.url.removeprefix("blob:")).hostname))
        page.goto(address)
        try:
            yield page, hosts
        finally:
            browser.close()
