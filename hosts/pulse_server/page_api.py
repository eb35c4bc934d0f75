"""What a plugin needs to add pages: see docs/how-to/write-a-page.md. For the web process alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.principal import Role
from pulse_server.web.entrance.principal import principal as caller
from pulse_server.web.plugin_pages import PluginPages
from pulse_server.web.services import services
from pulse_server.web.views import view

if TYPE_CHECKING:
    from quart import Response

    from pulse_postgres.connections import TenantPool

__all__ = ["PluginPages", "Role", "caller", "own_rows", "show"]


async def show(template: str, **values: Any) -> Response:
    """Answer with a page inside the frame of all pages; the template begins with ``{% extends "frame.html" %}``."""
    return await view(template, **values)


def own_rows() -> TenantPool:
    """The database, as a tenant's people reach it: no row of another tenant is there. Not for operators' pages.

    :raises ValueError: the caller belongs to no tenant.
    """
    tenant_id = caller().tenant_id
    if not tenant_id:
        raise ValueError("operators have no tenant whose rows these could be")
    return services().tenant_pool(tenant_id)
