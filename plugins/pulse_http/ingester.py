"""The way in over HTTP. The host serves the app on the device HTTP port; this looks after its beginning and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pulse_core.api import Ingester
from pulse_http.app import IngestApp
from pulse_http.config import HttpConfig

if TYPE_CHECKING:
    from pulse_core.api import AsgiApp, Intake, PluginConfig, Services

MOUNT = "/ingest"


class HttpIngester(Ingester):
    """Devices in over HTTP: one message, or a batch, a request; answered after the commit. Commands are fetched."""

    name = "http"
    summary = (
        "HTTP: POST /ingest/v1/tenant/{tenant_id}/device/{device_id}/{msg_type} and /ingest/v1/batch; "
        "GET …/{device_id}/commands."
    )
    config_type: ClassVar[type[PluginConfig]] = HttpConfig
    config: HttpConfig

    def __init__(self, config: HttpConfig, services: Services) -> None:
        super().__init__(config, services)
        self._app: IngestApp | None = None

    def asgi(self, intake: Intake) -> tuple[str, AsgiApp]:
        """Mounted at ``/ingest``; it sees the whole path."""
        self._app = IngestApp(intake, self.config, self.name, self.services.log)
        return MOUNT, self._app

    async def run(self, intake: Intake) -> None:
        """Wait for the stop, then for what is still undecided; new requests are sent away meanwhile."""
        intake.receiving(True)
        try:
            await intake.stopping.wait()
        finally:
            intake.receiving(False)
        if self._app is not None:
            await self._app.answered(self.config.drain_timeout_s)
