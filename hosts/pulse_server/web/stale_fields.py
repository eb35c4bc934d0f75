"""When a tenant's devices are STALE, as forms ask for it."""

from __future__ import annotations

from typing import Any, Final

STALE_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "stale_after_s": {},
    "stale_on_disconnect": {
        "enumNames": ["never: only silence counts", "when it was lost", "always, also when it said good-bye"]
    },
}
"""For :meth:`~pulse_server.web.forms.Form.of`."""
