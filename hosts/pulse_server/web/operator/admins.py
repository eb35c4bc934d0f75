"""What only operator_admin may see or do."""

from __future__ import annotations

from pulse_core.principal import Role
from pulse_server.web.demands import demands


@demands(Role.OPERATOR_ADMIN)
async def demand_admin() -> None:
    """Let only operator_admin in: for a blueprint's ``before_request``, after the operators' own."""
