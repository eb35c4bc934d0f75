"""A way in that acknowledges *before* the commit, as a distribution of its own: the crash proof must notice it.

The product has no switch for this. The plugin takes the place of ``mqtt`` in the configuration, wraps the intake that
it is given, and answers COMMITTED at once.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
import asyncio
from pulse_core.api import COMMITTED, Ingester, hookimpl
from pulse_mqtt.listener import MqttIngester


class HastyIntake:
    def __init__(self, intake):
        self._intake = intake
        self._waiting = set()

    def __getattr__(self, name):
        return getattr(self._intake, name)

    def submit(self, messages):
        waiting = asyncio.ensure_future(self._intake.submit(messages))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)
        answer = asyncio.get_running_loop().create_future()
        answer.set_result([COMMITTED] * len(messages))
        return answer


class HastyIngester(MqttIngester):
    hasty = None

    def asgi(self, intake):
        return super().asgi(self._hastened(intake))

    async def run(self, intake):
        await super().run(self._hastened(intake))

    def _hastened(self, intake):
        self.hasty = self.hasty or HastyIntake(intake)
        return self.hasty


@hookimpl
def pulse_register_ingesters():
    return [HastyIngester]
"""


def install(folder: Path) -> Path:
    """Lay the distribution out in ``folder``, which goes on the product's module path."""
    info = folder / "pulse_hasty-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pulse-hasty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pulse.plugins]\nhasty = pulse_hasty\n")
    (folder / "pulse_hasty.py").write_text(textwrap.dedent(SOURCE))
    return folder
