"""Pages of plugins: the example of the documentation, and plugins that do it wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pulse_core.principal import Role
from support import two_tenants
from support.admin import admin_api
from support.browsing import Browser, at_browser
from support.distributions import Workshop
from support.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.database import Database

ENABLED = ["http", "mqtt", "heartbeat", "webhook", "postgres", "accounts"]
HOW_TO = ROOT / "docs/how-to/write-a-page.md"
HOOK = "from pulse_core.api import hookimpl\n\n@hookimpl(optionalhook=True)\ndef pulse_server_register_pages():\n"
PAGE = """
    from quart import Blueprint
    from pulse_server.page_api import PluginPages, Role, own_rows, show
    blueprint = Blueprint("{name}", __name__)
    @blueprint.route("/", methods=["GET", "POST"])
    async def now():
        return {answer}
    return [PluginPages("Title of {name}", blueprint, frozenset({{{roles}}}))]
"""


def page(name: str, answer: str = "'shown'", roles: str = "Role.OPERATOR, Role.OPERATOR_ADMIN") -> str:
    return HOOK + PAGE.format(name=name, answer=answer, roles=roles)


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path / "workshop")
    yield made
    made.close()


def of_the_page(language: str, name: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", HOW_TO.read_text(), re.DOTALL | re.MULTILINE)
    return str(next(block for block in blocks if name in block.partition("\n")[0]))


async def test_the_example_of_the_documentation(workshop: Workshop, database: Database, tmp_path: Path) -> None:
    two_tenants.fill(database)
    with database.superuser() as hand:
        hand.execute("UPDATE alerts SET summary = '<b>alert</b> of ' || tenant_id")
    workshop.install("stranger", {"shifts": of_the_page("python", "pulse_shifts.py")})
    folder = tmp_path / "workshop" / "stranger"
    folder.joinpath("pulse_shifts_pages.py").write_text(of_the_page("python", "pulse_shifts_pages.py"))
    folder.joinpath("templates/shifts").mkdir(parents=True)
    folder.joinpath("templates/shifts/now.html").write_text(of_the_page("html", "now.html"))
    async with admin_api(database, tmp_path, plugins={"enabled": [*ENABLED, "shifts"]}) as admin:
        for role in Role:
            browser = await at_browser(admin, database, role)
            shown = await browser.go("/customer/x/shifts")
            assert shown.status == (200 if role.of_a_tenant else 403)
            if role.of_a_tenant:
                assert "&lt;b&gt;alert&lt;/b&gt; of tenant-a" in shown.text
                assert "tenant-b" not in shown.text
                assert "script-src 'self';" in shown.headers["Content-Security-Policy"]
                assert '<a href="/customer/x/shifts" aria-current="page">Shifts</a>' in shown.text
            beginning = await browser.go("/customer/devices" if role.of_a_tenant else "/operator/plugins")
            assert ('href="/customer/x/shifts"' in beginning.text) is role.of_a_tenant
        assert (await Browser(admin.client.app).go("/customer/x/shifts")).to.startswith("/login")
        document = await Browser(admin.client.app).go("/openapi.json", Accept="application/json")
        assert "/customer/x/" not in document.text


async def test_what_a_plugin_does_wrong_hurts_nobody_else(
    workshop: Workshop, database: Database, tmp_path: Path
) -> None:
    two_tenants.fill(database)
    sources = {
        "fine": page("fine"),
        "broken": page("broken", "1 / 0"),
        "raising": f"{HOOK}    raise RuntimeError('no pages today')\n",
        "junk": f"{HOOK}    return ['a page']\n",
        "mixed": page("mixed", roles="Role.OPERATOR, Role.CUSTOMER_VIEWER"),
    }
    workshop.install("stranger", sources)
    async with admin_api(database, tmp_path, plugins={"enabled": [*ENABLED, *sources]}) as admin:
        browser = await at_browser(admin, database, Role.OPERATOR)
        assert (await browser.go("/operator/x/fine")).text == "shown"
        assert (await browser.post("/operator/x/fine")).status == 403, "without the token"
        failed = await browser.go("/operator/x/broken")
        assert (failed.status, "plugin broken" in failed.text) == (500, True)
        for name in ("raising", "junk", "mixed"):
            assert (await browser.go(f"/operator/x/{name}")).status == 404
        listed = (await browser.go("/operator/plugins", Accept="application/json")).json()["items"]
        found = {each["name"]: (each["status"], each["error"]) for each in listed}
        assert found["raising"] == ("load error", "its pages cannot be shown: RuntimeError: no pages today")
        assert "must give PluginPages" in found["junk"][1]
        assert "must be for roles of a tenant, or for operators" in found["mixed"][1]
        assert [found[name][0] for name in ("fine", "broken", "http")] == ["enabled"] * 3
        with database.superuser() as hand:
            looked = hand.execute("SELECT count(*) FROM audit_log WHERE resource = 'GET /operator/x/fine'").fetchone()
        assert looked == (1,)
