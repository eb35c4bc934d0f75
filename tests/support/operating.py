"""What operators do on their pages, step by step, for journeys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

from support.waiting import eventually, until

if TYPE_CHECKING:
    from support.journeys import Device, Person


async def sees_the_tenant(olga: Person) -> None:
    """The matrix shows how each tenant is doing, and leads to it."""
    row = olga.page.locator(".matrix tbody tr").filter(has_text="The Harbour")
    await expect(row.locator("[data-title=Online]")).to_have_text("1")
    await row.locator("[data-title=Online] a").click()
    await olga.is_at("Devices of harbour")
    await olga.sees("crane-1", "tbody")


async def finds_out_why(olga: Person, *, kept: bool) -> None:
    """Quarantine says what was refused and what to do; with its message, once those are kept."""
    meaning = "The token is not this device's: mistyped, another device's, or replaced by a newer one."

    async def is_told() -> bool:
        await olga.go("Quarantine")
        place = ".rows .row-item" if kept else "tbody tr"
        return await olga.page.locator(place).filter(has_text="TOKEN_INVALID").filter(has_text=meaning).count() > 0

    await eventually(is_told, what="the refused message")
    if not kept:
        await olga.sees("MODE is PROD, which keeps none of them.", ".message")
        return
    message = olga.page.locator(".rows .row-item").first
    await expect(message).to_contain_text("harbour · crane-1")
    await message.get_by_text("Payload as").click()
    await expect(message.locator("pre")).to_contain_text("temp_c")


async def has_no_settings(olga: Person) -> None:
    await expect(olga.places.get_by_role("link", name="Settings")).to_have_count(0)
    await olga.page.goto(f"{olga.url}/operator/settings")
    await olga.is_at("Forbidden")
    await olga.was_refused(403)
    assert await olga.forges("/operator/settings", RATE_LIMIT_BURST="1") == 403
    await olga.follow("To your dashboard")
    await olga.is_at("Dashboard")


async def changes_settings(boss: Person) -> None:
    """They take effect, and the page says whose deed that was."""
    await boss.go("Settings")
    await boss.page.get_by_role("radio", name="DEV").check()
    await boss.page.get_by_label("STORE_REJECTS").check()
    await boss.fill({"RATE_LIMIT_BURST": "40"})
    await boss.press("Save")
    await boss.sees("Saved.", "#toasts")
    await expect(boss.box("RATE_LIMIT_BURST")).to_have_value("40")
    whose = boss.page.locator(".field", has=boss.page.get_by_label("RATE_LIMIT_BURST")).locator("+ .changed-last")
    await expect(whose).to_contain_text("by admin1")
    untouched = boss.page.locator(".field", has=boss.page.get_by_label("MAX_PAYLOAD_BYTES")).locator("+ .changed-last")
    await expect(untouched).to_have_text("Never changed.")


async def sees_the_plugins(olga: Person) -> None:
    await olga.go("Plugins")
    for name in ("heartbeat", "http", "mqtt", "webhook", "accounts"):
        item = olga.page.locator(".row-item", has=olga.page.get_by_role("heading", level=2, name=name))
        await expect(item).to_contain_text("enabled")


async def reads_who_looked(boss: Person) -> None:
    """Whoever looks across tenants is written down."""
    await boss.go("Audit log")
    await boss.fill({"Who": "user:operator1"})
    await boss.press("Filter")
    line = boss.page.locator(".deed-log li").filter(has_text="GET /operator/quarantine").first
    await expect(line).to_contain_text("operator1 looked, across tenants, at GET /operator/quarantine")


async def suspends_and_resumes(boss: Person, crane: Device) -> None:
    """Its devices are shut out, and let in again."""
    await boss.go("Tenants")
    await boss.follow("harbour")
    await boss.follow("Suspend")
    await boss.is_at("Suspend The Harbour?")
    await boss.press("Suspend it")
    await boss.sees("Suspended.", "#toasts")
    await boss.sees("It is shut out", ".message.bad")
    await until(lambda: crane.say(temp_c=3) in {401, 403}, what="the end of the device's access")
    await boss.press("Resume")
    await boss.sees("Resumed.", "#toasts")
    await expect(boss.page.get_by_role("heading", level=1)).to_contain_text("active")
    await until(lambda: crane.say(temp_c=3) == 202, what="the device's access")
