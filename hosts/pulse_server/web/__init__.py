"""The web application: three APIs, pages to log in on, in the demo a live page. Quart behind a thin ASGI front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.routing import BaseConverter

from pulse_server.activation import PATH, ActivationApp
from pulse_server.health import PATHS, Health
from pulse_server.web import admin, assets, customer, docs, errors, home, operator, plugin_pages, profile, views
from pulse_server.web.around import limits, requests
from pulse_server.web.around.dispatch import Web
from pulse_server.web.entrance import auth, cookies, csrf, login, logout
from pulse_server.web.live import blueprint as live

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from quart import Quart

    from pulse_server.web.services import Services

MAX_BODY_BYTES = 256 * 1024
_BODY_WITHIN_S = 15


def create_app(services: Services) -> Quart:
    """Build the Quart app. ``services`` may still be closed: then whatever needs the database answers 503."""
    app = Web(__name__)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, BODY_TIMEOUT=_BODY_WITHIN_S)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["channel"] = _ChannelType
    app.extensions["services"] = services
    requests.install(app, services.config)
    limits.install(app, services.config.limits)
    cookies.install(app, services.box, services.config.sessions.longest_s)
    csrf.install(app)
    errors.install(app)
    assets.install(app)
    views.install(app)
    app.register_blueprint(auth.blueprint)
    app.register_blueprint(admin.blueprint)
    app.register_blueprint(customer.blueprint)
    app.register_blueprint(operator.blueprint)
    app.register_blueprint(login.blueprint)
    app.register_blueprint(logout.blueprint)
    app.register_blueprint(home.blueprint)
    app.register_blueprint(profile.blueprint)
    app.register_blueprint(docs.blueprint)
    if services.config.demo:
        app.register_blueprint(live)
    plugin_pages.install(app, services.plugins)
    return app


class _ChannelType(BaseConverter):
    """In a path: what can be a channel's name, and so never an id."""

    regex = r"[a-z][a-z0-9_]{0,62}"


class Front:
    """What uvicorn calls: health and activation answer by themselves, the rest is Quart's."""

    def __init__(self, app: Quart, health: Health, activation: ActivationApp) -> None:
        self._app = app
        self._health = health
        self._activation = activation

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Dispatch one request."""
        path = scope.get("path", "")
        if path in PATHS:
            await self._health.app(scope, receive, send)
        elif path == PATH:
            await self._activation(scope, receive, send)
        else:
            await self._app(scope, receive, send)  # type: ignore[arg-type]
