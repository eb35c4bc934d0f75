"""The page of the live settings: a form made of their own model, and who changed each of them last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pulse_core.errors import Stale
from pulse_core.settings import Settings
from pulse_postgres.settings import revision_of
from pulse_server.web import after
from pulse_server.web.bodies import Problem
from pulse_server.web.corrections import demanded_revision, wrong
from pulse_server.web.entrance import csrf
from pulse_server.web.forms import Fault, Form, changes
from pulse_server.web.services import services
from pulse_server.web.views import view

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from quart import Response

    Save = Callable[[Mapping[str, Any], Collection[str] | None], Awaitable[Settings]]

PATH: Final = "/operator/settings"
_STALE = "Somebody else has changed a setting since you opened this form. Open it anew, and change it once more."
_FORCED_OFF = ("STORE_REJECTS", "MIRROR_REJECTS_TO_RAW")
"""What PROD allows nobody to switch on."""


async def show(settings: Settings) -> Response:
    """The form with the settings as they take effect."""
    return await _page(_values(settings), revision_of(settings))


async def take(save: Save) -> Response:
    """Save what was changed in the form, unless somebody else changed something meanwhile."""
    sent = await csrf.form()
    revision = demanded_revision(sent)
    before = _values(await services().settings.load())
    taken = _FORM.take(sent, before)
    try:
        after_ = await save(changes(before, taken.value), frozenset({revision}))
    except Problem as error:
        return await _page(taken.value, revision, *wrong(error, taken.faults))
    except Stale:
        return await _page(taken.value, revision, 412, [Fault("", _STALE)])
    forced = any(taken.value.get(name) is True and not getattr(after_, name) for name in _FORCED_OFF)
    return after.to(PATH, "saved_without_rejects" if forced else "saved")


async def _page(value: Any, revision: str, status: int = 200, faults: Iterable[Fault] = ()) -> Response:
    last = {each["name"]: each for each in await services().settings.last_changes()}
    return await view(
        "operator/settings.html",
        status,
        shown=_FORM.show(value, faults),
        revision=revision,
        last=last,
        forced=_FORCED_OFF if value.get("MODE") == "PROD" else (),
    )


def _values(settings: Settings) -> dict[str, Any]:
    """As JSON has them: 5.0 is 5."""
    values = settings.as_mode_allows().model_dump()
    return {name: int(each) if isinstance(each, float) and each.is_integer() else each for name, each in values.items()}


def _form() -> Form:
    """Each setting under the name that programs, logs and the documentation know it by, with its limits."""
    told = {
        name: {"title": name, "description": f"{each['description']}{_limits(each)}"}
        for name, each in Settings.model_json_schema()["properties"].items()
    }
    return Form.of(Settings, told)


def _limits(schema: Mapping[str, Any]) -> str:
    """Within what a number must be, and what it is unless somebody changes it."""
    if "maximum" not in schema:
        return ""
    least = f"from {schema['minimum']:,}" if "minimum" in schema else f"more than {schema['exclusiveMinimum']:,}"
    return f" {least.capitalize()}, up to {schema['maximum']:,}; {schema['default']:,g} unless changed."


_FORM = _form()
