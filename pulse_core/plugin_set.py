"""The enabled plugins as one object: what they contribute, how each is doing."""

from __future__ import annotations

import asyncio
import difflib
import inspect
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from pulse_core.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.metadata import Distribution, EntryPoint
    from types import ModuleType

    import pluggy

    from pulse_core.api import AuthProvider, Channel, Contribution, Evaluator, Ingester, PluginConfig, TelemetryStore
    from pulse_core.contributions import Kind


class PluginState(StrEnum):
    """How a plugin is doing, for operators."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    LOAD_ERROR = "load error"
    CONFIG_ERROR = "config error"
    FAILED_SELF_CHECK = "failed self-check"


class PluginStatus(Struct, frozen=True):
    """One installed (or enabled, but missing) plugin as operators see it.

    ``contributes`` lists what it brought, as ``"channel slack"``; nothing for a disabled plugin, which is not
    imported. ``error`` says what is wrong and what to do.
    """

    name: str
    version: str
    distribution: str
    summary: str
    contributes: tuple[str, ...]
    status: PluginState
    error: str = ""


class Plugins:
    """The enabled plugins, in the order of ``plugins.enabled``, and what they contribute."""

    def __init__(self, manager: pluggy.PluginManager, found: Sequence[Found], telemetry_store: str) -> None:
        self.manager = manager
        """For a host that adds hooks of its own: ``plugins.manager.hook.pulse_server_…()``."""
        self.statuses: list[PluginStatus] = [each.status() for each in found]
        """Every installed plugin, the enabled ones first."""
        self._found = [each for each in found if each.enabled]
        self.telemetry_store = _active_store(telemetry_store, self.telemetry_stores)
        """The one store that is active: ``telemetry_store`` of the configuration names it."""

    @property
    def ingesters(self) -> tuple[type[Ingester], ...]:
        """Ways in for devices."""
        return self._of("pulse_register_ingesters")

    @property
    def evaluators(self) -> tuple[type[Evaluator[Any]], ...]:
        """Judges of readings."""
        return self._of("pulse_register_evaluators")

    @property
    def channels(self) -> dict[str, type[Channel[Any]]]:
        """Ways to tell somebody, by name: the integration's type."""
        return {channel.name: channel for channel in self._of("pulse_register_channels")}

    @property
    def telemetry_stores(self) -> tuple[type[TelemetryStore], ...]:
        """Every registered store, the active one and the others."""
        return self._of("pulse_register_telemetry_stores")

    @property
    def auth_providers(self) -> tuple[type[AuthProvider], ...]:
        """Ways to prove who one is."""
        return self._of("pulse_register_auth_providers")

    def config_of(self, contribution: type[Contribution]) -> PluginConfig:
        """Give the operator's configuration for a class, as its ``config_type``. KeyError: not ours."""
        return self._owner(contribution).configs[contribution]

    def plugin_of(self, contribution: type[Contribution]) -> str:
        """Name the plugin that contributed a class, for logs and metrics. KeyError: not ours."""
        return self._owner(contribution).name

    def contributed_by(self, plugin: str) -> tuple[type[Contribution], ...]:
        """The classes that one plugin contributed."""
        return tuple(cls for each in self._found if each.name == plugin for _, cls in each.contributions)

    async def self_check(self, timeout_s: float = 10.0) -> list[PluginStatus]:
        """Run every contribution's ``check`` side by side, note the failures in ``statuses`` and return them.

        A check that raises or hangs fails its own plugin; it keeps serving, marked *failed self-check*.
        """
        faults = await check_all(self._found, timeout_s)
        self.statuses = [with_fault(status, faults.get(status.name)) for status in self.statuses]
        return [status for status in self.statuses if status.status is PluginState.FAILED_SELF_CHECK]

    def _of(self, hook: str) -> tuple[type[Any], ...]:
        return tuple(cls for each in self._found for kind, cls in each.contributions if kind.hook == hook)

    def _owner(self, contribution: type[Contribution]) -> Found:
        for each in self._found:
            if contribution in each.configs:
                return each
        raise KeyError(contribution.__name__)


class Found:
    """One plugin on its way through the door; ``error`` is the first thing that stopped it."""

    def __init__(self, name: str, entry_points: Sequence[EntryPoint], *, enabled: bool) -> None:
        self.name = name
        self.entry_points = entry_points
        self.enabled = enabled
        self.module: ModuleType | None = None
        self.contributions: list[tuple[Kind, type[Contribution]]] = []
        self.configs: dict[type[Contribution], PluginConfig] = {}
        self.error: PluginError | ConfigError | None = None

    @property
    def origin(self) -> str:
        """Whence it comes, for people: ``pulse-slack 0.1.0``."""
        return " and ".join(_origin(entry_point) for entry_point in self.entry_points) or "not installed"

    @contextmanager
    def contained(self, doing: str) -> Iterator[None]:
        """Turn whatever the plugin's own code raises into a PluginError that names the plugin."""
        try:
            yield
        except ConfigError as error:
            self.error = error
        except PluginError as error:
            self.error = PluginError(f"plugin {self.name!r} ({self.origin}): {error}")
            self.error.__cause__ = error
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything, at import too
            what = f"{type(error).__name__}: {error}"
            self.error = PluginError(f"plugin {self.name!r} ({self.origin}) failed while {doing}: {what}")
            self.error.__cause__ = error

    def status(self) -> PluginStatus:
        """How it is doing."""
        dist = self.entry_points[0].dist if self.entry_points else None
        state = PluginState.ENABLED if self.enabled else PluginState.DISABLED
        if self.error is not None:
            state = PluginState.CONFIG_ERROR if isinstance(self.error, ConfigError) else PluginState.LOAD_ERROR
        documented = inspect.getdoc(self.module) if self.module else None
        return PluginStatus(
            name=self.name,
            version=dist.version if dist else "",
            distribution=dist.name if dist else "",
            summary=(documented or _summary(dist)).partition("\n")[0],
            contributes=tuple(f"{kind.noun} {cls.name}" for kind, cls in self.contributions),
            status=state,
            error=str(self.error or ""),
        )


def with_fault(status: PluginStatus, fault: str | None) -> PluginStatus:
    """The status of a plugin after its self-check: ``fault`` is what it said, None when all is well."""
    if fault is None:
        return status
    return replace(status, status=PluginState.FAILED_SELF_CHECK, error=fault)


async def check_all(plugins: Sequence[Found], timeout_s: float) -> dict[str, str]:
    """Run the self-checks of all that these plugins contribute, side by side; return the faults by plugin."""
    checks = {
        asyncio.create_task(_fault_of(contribution, config)): (each.name, contribution.name)
        for each in plugins
        for contribution, config in each.configs.items()
    }
    if not checks:
        return {}
    _, hanging = await asyncio.wait(checks, timeout=timeout_s)
    for task in hanging:
        task.cancel()
    faults: dict[str, list[str]] = {}
    for task, (plugin, contribution) in checks.items():
        if fault := f"no answer in {timeout_s:g} s" if task in hanging else task.result():
            faults.setdefault(plugin, []).append(f"{contribution}: {fault}")
    return {plugin: "; ".join(texts) for plugin, texts in faults.items()}


def _active_store(name: str, stores: Sequence[type[TelemetryStore]]) -> type[TelemetryStore]:
    for store in stores:
        if store.name == name:
            return store
    names = [store.name for store in stores]
    raise ConfigError(
        f"telemetry_store: no enabled plugin brings a store {name!r}{did_you_mean(name, names)}; "
        f"there are: {', '.join(names) or 'none'}"
    )


async def _fault_of(contribution: type[Contribution], config: PluginConfig) -> str:
    """Run one self-check; whatever the plugin's code raises becomes the text, empty when all is well."""
    try:
        await contribution.check(config)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything
        return f"{type(error).__name__}: {error}"
    return ""


def _summary(dist: Distribution | None) -> str:
    found = dist.metadata.get_all("Summary") if dist else None  # [] raises where importlib_metadata is installed
    return found[0] if found else ""


def _origin(entry_point: EntryPoint) -> str:
    dist = entry_point.dist
    return f"{dist.name} {dist.version}" if dist else entry_point.value


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'slack'?`` for the nearest of ``known``, nothing when none is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
