"""A real Chromium that looks at the pages: Debian's, driven by Playwright; and axe-core, which npm fetches when it is there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.service.servers import Server

CHROMIUM = Path("/usr/bin/chromium")
AXE = "axe-core@4.14.1"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAULTS = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .filter((found) => ["serious", "critical"].includes(found.impact))
    .map((found) => `${found.id}: ${found.nodes.slice(0, 4).map((node) => node.html.slice(0, 160)).join(" | ")}`)"""


def reason_to_skip() -> str | None:
    """Say why there is no browser, or return None."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "the Python package playwright is not installed"
    return None if CHROMIUM.exists() else f"{CHROMIUM} is not there: `apt-get install chromium`"


def axe_script(folder: Path) -> str | None:
    """Return the script of axe-core; None where npm is missing or cannot fetch it."""
    if shutil.which("npm") is None:
        return None
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), AXE]
    if subprocess.run(command, capture_output=True, check=False, timeout=120).returncode != 0:
        return None
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


class Looked:
    """What went wrong while a browser looked: errors of scripts, dialogs, refused content, requests to anywhere else."""

    def __init__(self, page: Any, server: Server) -> None:
        self.wrong: list[str] = []
        self.page = page
        page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        page.on("dialog", lambda dialog: self._dialog(dialog))
        page.on("console", lambda said: self._said(said))
        page.on("request", lambda request: None if request.url.startswith(server.url) else self.wrong.append(f"asked {request.url}"))

    def _dialog(self, dialog: Any) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _said(self, said: Any) -> None:
        if said.type == "error" and "status of 4" not in said.text:  # an answer that says no is no fault of a page
            self.wrong.append(f"console: {said.text}")


@contextmanager
def looking(browser: Any, server: Server, width: int = 1100, scheme: str = "light", scripts: bool = True) -> Iterator[Any]:
    """Yield a page of somebody who is logged in as an admin; at the end nothing must have gone wrong."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts, base_url=server.url
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    looked = Looked(page, server)
    page.goto("/login")
    page.get_by_label("Token").fill(server.token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/runs")
    yield page
    context.close()
    assert not looked.wrong
