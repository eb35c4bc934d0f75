"""``/operator/settings``: the live settings; every process hears of a change at once. For operator_admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import RootModel, ValidationError
from quart import Blueprint, Response

from pulse_core.plugin_set import did_you_mean
from pulse_core.settings import Settings
from pulse_postgres.settings import revision_of
from pulse_server.outputs.settings import SettingChanges, SettingsNow
from pulse_server.problems import field_errors
from pulse_server.web import pages
from pulse_server.web.bodies import Problem, body_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.described import described
from pulse_server.web.entrance.principal import principal
from pulse_server.web.operator import settings_form
from pulse_server.web.operator.admins import demand_admin
from pulse_server.web.replies import reply
from pulse_server.web.services import services

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

blueprint = Blueprint("settings", __name__, url_prefix="/settings")
blueprint.before_request(demand_admin)


class _Changes(RootModel[dict[str, Any]]):
    """Settings by name."""


@blueprint.get("")
@described(SettingsNow)
async def show() -> Response:
    """The settings as they take effect."""
    found = await services().settings.load()
    response = await settings_form.show(found) if pages.wanted() else _shown(found)
    response.vary.add("Accept")
    return response


@blueprint.post("")
@described(SettingsNow, body=Settings)
async def save() -> Response:
    """Change some of them. PROD forces both reject flags off."""
    if pages.wanted():
        return await settings_form.take(_saved)
    only_if, changes = wanted_revisions(), (await body_as(_Changes)).root
    return _shown(await _saved(changes, only_if))


@blueprint.get("/changes")
@described(SettingChanges)
async def last_changes() -> Response:
    """Who changed which setting last, and when."""
    return reply({"items": await services().settings.last_changes()})


async def _saved(changes: Mapping[str, Any], only_if: Collection[str] | None) -> Settings:
    """All settings, once these are changed. Raises Problem: 422; Stale."""
    if wrong := _wrong(changes):
        raise Problem(422, "some fields are wrong", errors=wrong)
    return await services().settings.save(changes, principal().subject, only_if=only_if)


def _wrong(changes: Mapping[str, Any]) -> list[dict[str, str]]:
    """What cannot be saved, and why: each setting stands for itself, so the others need not be looked at."""
    unknown = [name for name in changes if name not in Settings.model_fields]
    if unknown:
        return [{"field": name, "message": f"there is no such setting{_near(name)}"} for name in unknown]
    try:
        Settings.model_validate(changes, strict=True)
    except ValidationError as error:
        return field_errors(error)
    return []


def _near(name: str) -> str:
    return did_you_mean(name.upper(), Settings.model_fields)


def _shown(settings: Settings) -> Response:
    return versioned(settings.as_mode_allows().model_dump(), revision=revision_of(settings))
