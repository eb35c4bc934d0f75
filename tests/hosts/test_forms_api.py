"""A form's JSON meets the API: made, shown, changed, and wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.masking import MASK
from pulse_server.web.forms import Fault, Form, changes
from support.drawing import filled, page

if TYPE_CHECKING:
    from support.admin import Caller

SECRET = "whsec_" + "A" * 44


async def the_form(customer: Caller) -> Form:
    _, body, _ = await customer.get("/channel-types")
    (schema,) = [each["schema"] for each in body["items"] if each["name"] == "webhook"]
    return Form(schema, "config")


async def test_an_integration_is_made_and_changed_with_its_form(customer: Caller) -> None:
    form = await the_form(customer)
    typed = {
        "config.url": "https://x.example/in",
        "config.secret": SECRET,
        "config.headers.0~key": "X-One",
        "config.headers.0": "1",
        "config.headers.1~key": "X-Two",
        "config.headers.1": "2",
    }
    status, made, _ = await customer.post("/integrations", {"name": "n", "config": filled(form, **typed).value})
    assert status == 201, made
    shown = made["config"]
    assert shown["headers"] == {"X-One": MASK, "X-Two": MASK}

    edited = filled(form, shown, **{"config.headers.0~remove": "1", "config.url": "https://y.example/"})
    patch = changes(shown, edited.value)
    assert patch == {"url": "https://y.example/", "headers": {"X-One": None}}
    status, changed, _ = await customer.patch(f"/integrations/{made['integration_id']}", {"config": patch})
    assert (status, changed["config"]) == (200, {**shown, "url": "https://y.example/", "headers": {"X-Two": MASK}})


async def test_what_the_api_refuses_stands_beside_its_field(customer: Caller) -> None:
    form = await the_form(customer)
    typed = {"config.url": "ftp://x", "config.headers.0~key": "Host", "config.headers.0": "1"}
    taken = filled(form, **typed)
    status, body, _ = await customer.post("/integrations", {"name": "n", "config": taken.value})
    assert status == 422
    faults = [Fault(each["field"], each["message"]) for each in body["errors"]]
    found = page(form, taken.value, faults)
    marked = {attrs["id"] for _, attrs in found.elements if attrs.get("aria-invalid")}
    assert marked == {"f-config.url", "f-config.secret", "f-config.headers"}
    assert {box.name: box.value for box in found.boxes}["config.url"] == "ftp://x"
