"""Pages that plugins add: each below a place of its plugin's own, behind the guards of those whom it is for.

A plugin brings them with a hook of this host, :func:`pulse_server_register_pages`; other processes know nothing of it.
What a plugin does wrong here is told as its status, and hurts nobody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import pluggy
import structlog
from msgspec import Struct
from msgspec.structs import replace
from quart import Blueprint, current_app, g

from pulse_core.errors import PluginError
from pulse_core.plugin_set import PluginState
from pulse_core.principal import Role
from pulse_server.web.demands import demands
from pulse_server.web.described import page as hidden
from pulse_server.web.entrance.principal import principal
from pulse_server.web.navigation import Group, Place
from pulse_server.web.watching import note_access

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quart import Quart

    from pulse_core.plugin_set import Plugins

log = structlog.get_logger(__name__)

hookspec = pluggy.HookspecMarker("pulse")
_EXTENSION: Final = "plugin_pages"


class PluginPages(Struct, frozen=True):
    """Pages that belong together: one entry of the navigation.

    ``blueprint`` is a Quart blueprint whose ``/`` the entry leads to. ``roles`` are those who may see them, a tenant's
    or operators', not both; ``writing`` are those of them who may send its forms, everybody if it is empty.
    """

    title: str
    blueprint: Blueprint
    roles: frozenset[Role]
    writing: frozenset[Role] = frozenset()


@hookspec
def pulse_server_register_pages() -> Iterable[PluginPages]:
    """Pages for people: called once, in the web process, when its application is built.

    Mark yours ``@hookimpl(optionalhook=True)``: the other processes have no pages.
    """
    return ()


class _Entry(Struct, frozen=True):
    place: Place
    roles: frozenset[Role]


def install(app: Quart, plugins: Plugins) -> None:
    """Let every enabled plugin add its pages. One that cannot is told of in ``plugins.statuses``."""
    entries: list[_Entry] = []
    app.extensions[_EXTENSION] = entries
    hook = getattr(plugins.manager.hook, pulse_server_register_pages.__name__, None)
    for implementation in hook.get_hookimpls() if hook is not None else ():
        name = implementation.plugin_name
        try:
            for number, each in enumerate(cast("Iterable[PluginPages]", implementation.function())):
                entries.append(_added(app, name, number, each))
        except (Exception, SystemExit) as error:
            log.exception("plugin.pages_failed", plugin=name)
            _tell(plugins, name, f"its pages cannot be shown: {type(error).__name__}: {error}")


def group_of(role: Role) -> tuple[Group, ...]:
    """What plugins add to the navigation of a role."""
    entries: list[_Entry] = current_app.extensions[_EXTENSION]
    places = tuple(each.place for each in entries if role in each.roles)
    return (Group("From plugins", places),) if places else ()


def _added(app: Quart, plugin: str, number: int, pages: PluginPages) -> _Entry:
    """Mount the pages below ``/customer/x/<plugin>`` or ``/operator/x/<plugin>``, the second ones ``…/2`` and so on."""
    if not isinstance(pages, PluginPages) or not isinstance(pages.blueprint, Blueprint):
        raise PluginError(f"pulse_server_register_pages must give PluginPages, not {pages!r}")
    tenants = {role.of_a_tenant for role in pages.roles}
    if len(tenants) != 1 or not pages.writing <= pages.roles:
        raise PluginError(f"{pages.title!r} must be for roles of a tenant, or for operators")
    (of_a_tenant,) = tenants
    path = f"/{'customer' if of_a_tenant else 'operator'}/x/{plugin}{f'/{number + 1}' if number else ''}"
    around = Blueprint(f"x_{plugin}_{number}", __name__, url_prefix=path)
    around.before_request(_guard(plugin, pages, watched=not of_a_tenant))
    around.register_blueprint(pages.blueprint)
    app.register_blueprint(around)
    for endpoint, view in app.view_functions.items():
        if endpoint.startswith(f"{around.name}."):
            hidden(view)
    return _Entry(Place(path, pages.title), pages.roles)


def _guard(plugin: str, pages: PluginPages, *, watched: bool) -> Any:
    @demands(*pages.roles, writing=pages.writing or pages.roles)
    async def let_in() -> None:
        """As everywhere else: by role, and who looks across tenants is written down first."""
        g.plugin = plugin
        if watched:
            await note_access(principal().subject, "operator.access")

    return let_in


def _tell(plugins: Plugins, name: str, error: str) -> None:
    plugins.statuses = [
        replace(each, status=PluginState.LOAD_ERROR, error=error) if each.name == name else each
        for each in plugins.statuses
    ]
