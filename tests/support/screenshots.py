"""Pictures of the main pages for the documentation: ``make docs`` takes them, of a tenant that has been lived in."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pulse_core.principal import Role
from support import lived_in
from support.chromium import CHROMIUM, served
from support.database import PostgresServer
from support.looking import chromium, visiting
from support.pages import FETCHED
from support.people import person
from support.tree import ROOT

if TYPE_CHECKING:
    from playwright.async_api import Browser

FOLDER: Final = ROOT / "docs/images"
MOST_BYTES: Final = 200_000
_SIZE: Final = {"width": 1280, "height": 800}


class Picture(NamedTuple):
    """One page, and who looks at it."""

    path: str
    role: Role = Role.CUSTOMER_ADMIN


PICTURES: Final = {
    "dashboard": Picture("/customer/dashboard"),
    "device": Picture(f"/customer/devices/{lived_in.SHOWN}"),
    "alerts": Picture("/customer/alerts"),
    "integration-form": Picture("/customer/integrations/webhook/new"),
    "routes": Picture("/customer/integration-routes"),
    "operator-dashboard": Picture("/operator/dashboard", Role.OPERATOR_ADMIN),
    "plugins": Picture("/operator/plugins", Role.OPERATOR_ADMIN),
}
"""By the name of the file; the text that stands for the picture is written where a page of the docs shows it."""


async def take() -> dict[str, bytes]:
    """Take all of them. Raises RuntimeError: a page is not there, or a picture too big."""
    postgres = PostgresServer()
    try:
        database = postgres.fresh()
        lived_in.fill(database)
        people = {Role.CUSTOMER_ADMIN: "ada", Role.OPERATOR_ADMIN: "olga"}
        for role, name in people.items():
            person(database, name, role, lived_in.TENANT if role.of_a_tenant else "")
        with tempfile.TemporaryDirectory() as data_dir:
            async with served(database, Path(data_dir)) as url, chromium() as browser:
                return {
                    name: await _picture(browser, url.rstrip("/"), people[picture.role], picture.path)
                    for name, picture in PICTURES.items()
                }
    finally:
        postgres.stop()


async def _picture(browser: Browser, url: str, who: str, path: str) -> bytes:
    async with visiting(browser, url, color_scheme="light", reduced_motion="reduce", timezone_id="UTC") as visitor:
        await visitor.page.set_viewport_size({"width": _SIZE["width"], "height": _SIZE["height"]})
        await visitor.log_in(who)
        if wrong := await visitor.open(path):
            raise RuntimeError(f"{path}: {', '.join(wrong)}")
        if await visitor.page.locator("#live").count():
            await visitor.page.get_by_text("Updates by itself").wait_for()
        taken = await visitor.page.screenshot(animations="disabled")
    if len(taken) > MOST_BYTES:
        raise RuntimeError(f"{path}: {len(taken)} bytes, more than {MOST_BYTES}")
    return taken


def main() -> None:
    """Take them, or say why not."""
    if CHROMIUM is None or not FETCHED:
        lacking = "Chromium is not installed" if CHROMIUM is None else "npm has not brought what the pages load"
        sys.stderr.write(f"{lacking}: the pictures of docs/images stay as they are\n")
        return
    FOLDER.mkdir(exist_ok=True)
    for name, taken in asyncio.run(take()).items():
        file = FOLDER / f"{name}.png"
        file.write_bytes(taken)
        sys.stdout.write(f"{file.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
