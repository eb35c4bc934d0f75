"""``/operator/settings``: the live settings; every process hears of a change at once. For operator_admin."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel, ValidationError
from quart import Blueprint, Response

from pulse_core.plugin_set import did_you_mean
from pulse_core.settings import Settings
from pulse_postgres.settings import revision_of
from pulse_server.outputs.settings import SettingsNow
from pulse_server.problems import field_errors
from pulse_server.web.bodies import Problem, body_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.described import described
from pulse_server.web.entrance.principal import principal
from pulse_server.web.operator.admins import demand_admin
from pulse_server.web.services import services

blueprint = Blueprint("settings", __name__, url_prefix="/settings")
blueprint.before_request(demand_admin)


class _Changes(RootModel[dict[str, Any]]):
    """Settings by name."""


@blueprint.get("")
@described(SettingsNow)
async def show() -> Response:
    """The settings as they take effect."""
    return _shown(await services().settings.load())


@blueprint.post("")
@described(SettingsNow, body=Settings)
async def save() -> Response:
    """Change some of them. PROD forces both reject flags off."""
    only_if, changes = wanted_revisions(), (await body_as(_Changes)).root
    if wrong := _wrong(changes):
        raise Problem(422, "some fields are wrong", errors=wrong)
    return _shown(await services().settings.save(changes, principal().subject, only_if=only_if))


def _wrong(changes: dict[str, Any]) -> list[dict[str, str]]:
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
