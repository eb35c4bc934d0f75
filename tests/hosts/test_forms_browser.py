"""Forms in a real browser: it sends what the other tests take it to send, and Enter saves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from quart import Response, render_template_string
from werkzeug.datastructures import MultiDict

from pulse_core.masking import MASK
from pulse_core.plugins import channel_schema
from pulse_server.web.forms import Form
from support.channel_configs import CHANNELS
from support.drawing import TEMPLATE, page
from support.pages import CHROMIUM, browsing, closed_app, serving, violations

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

EVIL = "</textarea><script>document.title='owned'</script>\"' onfocus=x autofocus \u2028 \\ é 😀"
VALUES: dict[str, dict[str, Any]] = {
    "email": {
        "host": " h ",
        "port": None,
        "from_address": "a@b.example",
        "from_name": EVIL,
        "to": ["a@b.example", "c@d.example"],
        "html_template": f"\n\n<b>\r\nx\ty</b>\n{EVIL}\n",
        "format": "text",
    },
    "mqtt": {"url": "mqtts://x.example:8883", "user": EVIL, "password": MASK, "qos": 2, "retain": True},
    "slack": {"webhook_url": MASK, "mention": EVIL},
    "snmp": {"host": "h", "version": "3", "auth_protocol": "SHA-512", "timeout_s": 0.5, "engine_boots": 2**31 - 2},
    "webhook": {"url": "https://x.example/?a=1&b=%20", "secret": MASK, "headers": {"A": MASK, "B~.c": MASK}},
}
SENT = "[...new FormData(document.forms[0])].map(([name, value]) => [name, value.replace(/\\r?\\n/g, '\\r\\n')])"
PRESSED = """() => { window.pressed = []; document.forms[0].addEventListener('submit', event => {
    event.preventDefault(); window.pressed.push(event.submitter ? event.submitter.name : 'none'); }); }"""


async def test_it_sends_what_we_take_it_to_send(tmp_path: Path) -> None:
    app = closed_app(tmp_path)
    forms = {name: Form(channel_schema(channel), "config") for name, channel in CHANNELS.items()}

    @app.get("/form/<name>")
    async def form(name: str) -> Response:
        html = f'<!doctype html><title>t</title><link rel="icon" href="/static/pulse.svg"><form>{TEMPLATE}</form>'
        text = await render_template_string(html, shown=forms[name].show(VALUES[name]))
        return Response(text, content_type="text/html; charset=utf-8")

    complaints: list[str] = []
    async with serving(app) as url, browsing(complaints, width=375) as browser:
        for name, value in VALUES.items():
            await browser.goto(f"{url}/form/{name}")
            sent = MultiDict([(each[0], each[1]) for each in await browser.evaluate(SENT)])
            assert sent == page(forms[name], value).sent(), name
            taken = forms[name].take(sent, value)
            assert {key: taken.value[key] for key in value} == value
            assert await browser.title() == "t"
            assert await violations(browser) == []
        await browser.evaluate(PRESSED)
        await browser.locator("[name='config.url']").press("Enter")
        await browser.locator("button[name='~more']").click()
        assert await browser.evaluate("window.pressed") == ["", "~more"]
    assert complaints == []
