"""Build the page in export/browser, serve it on the loopback interface and open headless Chromium.

Tests and tools/bench_browser.py share this. MissingProgram names what this machine lacks.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import pathlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping

SOURCE = pathlib.Path(__file__).parents[1] / "export" / "browser"
# Headers that a server must send for threads: https://developer.mozilla.org/docs/Web/API/Window/crossOriginIsolated
ISOLATION_HEADERS = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
_CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# npm's codes for a registry that does not respond or does not have the packages.
_NO_REGISTRY = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ERR_SOCKET_TIMEOUT|E40[134]|E5\d\d|ENOTCACHED)\b")


class MissingProgram(Exception):
    """A program or service that this machine lacks."""


def build_page(folder: pathlib.Path) -> pathlib.Path:
    """A copy of export/browser in `folder`, installed with npm and built; returns the folder to be served."""
    if shutil.which("npm") is None:
        raise MissingProgram("npm is not installed")
    page = folder / "export" / "browser"
    shutil.copytree(SOURCE, page, ignore=shutil.ignore_patterns("node_modules", "dist"))
    shutil.copy(SOURCE.parents[1] / "LICENSE", folder)
    options = ["--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries=0"]
    installed = subprocess.run(["npm", "ci", *options], cwd=page, capture_output=True, text=True)
    if installed.returncode != 0 and (code := _NO_REGISTRY.search(installed.stderr)):
        raise MissingProgram(f"npm reaches no registry with LiteRT.js ({code[0]})")
    installed.check_returncode()
    subprocess.run(["npm", "run", "build"], cwd=page, capture_output=True, check=True)
    return page / "dist"


@contextlib.contextmanager
def serve(folder: pathlib.Path, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address at which `folder` is served, with additional response headers."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def open_chromium():
    """A headless Chromium with an empty profile, as a Browser of playwright's synchronous interface."""
    path = next(filter(None, map(shutil.which, _CHROMIUM_NAMES)), None)
    if path is None:
        raise MissingProgram(f"none of {', '.join(_CHROMIUM_NAMES)} is installed")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingProgram("the Python package playwright is not installed") from error
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=_CHROMIUM_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
