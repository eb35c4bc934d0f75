"""Distributions made up for one test: a folder each, as an installer would leave it."""

from __future__ import annotations

import importlib
import sys
import textwrap
from typing import TYPE_CHECKING

from pulse_core.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

STORE = """
from pulse_core.api import Size, TelemetryStore, hookimpl

class MemoryStore(TelemetryStore):
    name = "memory"
    transactional = True
    async def write(self, readings, transaction): ...
    async def known(self, keys): return set()
    async def history(self, device, *, start_us, end_us, limit, before_us=None, msg_types=None): return []
    async def select(self, wanted, *, limit, after=None): return []
    async def drop_before(self, cutoff_us): return 0
    async def forget_device(self, device): return 0
    async def forget_tenant(self, tenant_id): return 0
    async def size(self, tenant_id=None): return Size(0, None)

@hookimpl
def pulse_register_telemetry_stores():
    return [MemoryStore]
"""

CHANNEL = '''
"""Rings a bell."""
from pulse_core.api import Channel, IntegrationConfig, PluginConfig, SecretStr, hookimpl

class BellIntegration(IntegrationConfig):
    pitch: int
    """In hertz."""
    key: SecretStr

class Bell(Channel[BellIntegration]):
    name = "{name}"
    integration_type = BellIntegration
    async def send(self, notification): return "rung"

@hookimpl
def pulse_register_channels():
    return [Bell]
'''


def channel(name: str) -> str:
    """Source of a plugin that contributes one channel of that name."""
    return CHANNEL.replace("{name}", name)


class Workshop:
    """Installs made-up distributions into the running interpreter until the test ends."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._modules: list[str] = []
        self._path = list(sys.path)

    def install(
        self, distribution: str, plugins: Mapping[str, str], *, version: str = "1.0", summary: str = ""
    ) -> dict[str, str]:
        """Install a distribution whose plugins (entry point → source) are modules; return their module names."""
        folder = self._root / distribution
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        info.joinpath("METADATA").write_text(metadata + (f"Summary: {summary}\n" if summary else ""))
        modules = {name: f"{distribution}_{name}".replace("-", "_") for name in plugins}
        lines = [f"{name} = {module}" for name, module in modules.items()]
        info.joinpath("entry_points.txt").write_text("\n".join(["[pulse.plugins]", *lines]) + "\n")
        for name, source in plugins.items():
            folder.joinpath(f"{modules[name]}.py").write_text(textwrap.dedent(source))
        sys.path.append(str(folder))
        importlib.invalidate_caches()
        self._modules += modules.values()
        return modules

    def close(self) -> None:
        """Uninstall everything."""
        sys.path[:] = self._path
        for module in self._modules:
            sys.modules.pop(module, None)
        importlib.invalidate_caches()


def workshop_with_store(root: Path) -> Iterator[Workshop]:
    """Give a workshop that holds the plugin ``memory``, a telemetry store, so that configurations are complete."""
    workshop = Workshop(root)
    workshop.install("pulse-memory", {"memory": STORE})
    yield workshop
    workshop.close()


def config_for(*enabled: str, **tables: object) -> Config:
    """Give the configuration that enables these plugins and the made-up store, with ``[plugins.<name>]`` tables."""
    return Config(telemetry_store="memory", plugins={"enabled": (*enabled, "memory"), **tables})
