"""The loader: which modules may be imported (stevedore), and what they contribute (pluggy).

::

    pulse.toml ─enabled→ entry points ─import→ modules ─hooks→ classes ─rules, [plugins.<name>]→ Plugins

A plugin that is not enabled is never imported. Whatever a plugin does wrong is told with its name and what to
do about it: :func:`load_plugins` raises it, :func:`survey` shows it.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import itertools
from collections import Counter
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import pluggy
import structlog
from pydantic import ValidationError
from stevedore import NamedExtensionManager

from pulse_core import hookspecs
from pulse_core.config import explain
from pulse_core.contributions import KINDS, NAME, Kind, channel_schema, check_contribution
from pulse_core.errors import ConfigError, PluginError
from pulse_core.plugin_set import Found, Plugins, PluginState, PluginStatus, check_all, did_you_mean, with_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.metadata import EntryPoint

    from pulse_core.api import Contribution, PluginConfig
    from pulse_core.config import Config

__all__ = [
    "GROUP",
    "PluginState",
    "PluginStatus",
    "Plugins",
    "channel_schema",
    "checked_survey",
    "load_plugins",
    "survey",
]

GROUP = "pulse.plugins"
"""The entry-point group in which a distribution names its plugins."""

log = structlog.get_logger("pulse.plugins")


def load_plugins(config: Config, *, specs: Sequence[ModuleType] = ()) -> Plugins:
    """Import the enabled plugins, register them and check everything that they bring.

    :param specs: hook specifications of the host, beside :mod:`pulse_core.hookspecs`.
    :raises PluginError: enabled plugins are missing, cannot be imported, or break a rule of the door; all are
        named.
    :raises ConfigError: ``[plugins.<name>]`` or ``telemetry_store`` is wrong; every fault is listed.
    """
    manager, found = _examine(config, specs)
    for kind_of_error in (PluginError, ConfigError):
        faults = [fault for each in found if isinstance(fault := each.error, kind_of_error)]
        if kind_of_error is ConfigError:
            faults += [ConfigError(text) for text in _stray_tables(config, found)]
        if faults:
            raise kind_of_error("\n".join(str(fault) for fault in faults)) from faults[0]
    return Plugins(manager, found, config.telemetry_store)


def survey(config: Config, *, specs: Sequence[ModuleType] = ()) -> list[PluginStatus]:
    """Tell how every installed plugin is doing, without raising: for ``pulse plugins``."""
    return [each.status() for each in _examine(config, specs)[1]]


async def checked_survey(
    config: Config, *, specs: Sequence[ModuleType] = (), timeout_s: float = 10.0
) -> list[PluginStatus]:
    """As :func:`survey`, with the self-checks run."""
    found = _examine(config, specs)[1]
    faults = await check_all(found, timeout_s)
    return [with_fault(each.status(), faults.get(each.name)) for each in found]


class _OnePlugin(NamedExtensionManager[ModuleType]):
    """Imports one entry point. Named, for stevedore's *enabled* manager imports even what is not enabled.

    The entry point is given to it, read afresh: its own are cached on disk and lack their distribution.
    """

    def __init__(self, entry_point: EntryPoint) -> None:
        self._entry_points = [entry_point]
        super().__init__(
            GROUP,
            names=[entry_point.name],
            on_load_failure_callback=self._failed,
            on_missing_entrypoints_callback=None,
        )

    def list_entry_points(self) -> list[EntryPoint]:
        """Only the one."""
        return self._entry_points

    @staticmethod
    def _failed(_manager: object, _entry_point: EntryPoint, error: BaseException) -> NoReturn:
        """Without this, stevedore logs the failure and goes on without the plugin."""
        raise error


def _examine(config: Config, specs: Sequence[ModuleType]) -> tuple[pluggy.PluginManager, list[Found]]:
    found = _find(config.plugins.enabled)
    enabled = [each for each in found if each.enabled]
    manager = _manager(specs)
    for each in reversed(enabled):  # pluggy calls the last one registered first
        with each.contained("being imported"):
            each.module = _import(each, [other.name for other in found if other.entry_points])
            _check_hooks(each.name, each.module, specs)
            manager.register(each.module, name=each.name)
    for each in enabled:
        if each.error is None:
            with each.contained("registering"):
                each.contributions = list(_contributions(manager, each))
    _refuse_namesakes(enabled)
    for each in enabled:
        if each.error is None:
            with each.contained("reading its configuration"):
                each.configs = _configs(each, config.plugins.table(each.name))
    manager.check_pending()
    return manager, found


def _find(enabled: Sequence[str]) -> list[Found]:
    """Name every plugin there is: the enabled ones in their order, then the others by name."""
    installed: dict[str, list[EntryPoint]] = {}
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        installed.setdefault(entry_point.name, []).append(entry_point)
    found = [Found(name, installed.get(name, ()), enabled=True) for name in dict.fromkeys(enabled)]
    found += [Found(name, installed[name], enabled=False) for name in sorted(set(installed) - set(enabled))]
    for name, count in Counter(enabled).items():
        if count > 1:
            twice = next(each for each in found if each.name == name)
            twice.error = ConfigError(f"plugins.enabled: {name!r} stands there {count} times; once is enough")
    return found


def _manager(specs: Sequence[ModuleType]) -> pluggy.PluginManager:
    manager = pluggy.PluginManager("pulse")
    for module in (hookspecs, *specs):
        manager.add_hookspecs(module)
    return manager


def _import(plugin: Found, installed: Iterable[str]) -> ModuleType:
    if not NAME.fullmatch(plugin.name) or plugin.name == "enabled":
        raise PluginError("a plugin's name must be a lower-case word ([a-z][a-z0-9_]*), and not 'enabled'")
    if not plugin.entry_points:
        hint = did_you_mean(plugin.name, installed)
        raise PluginError(
            f"install its distribution, or take it out of plugins.enabled{hint} "
            f"(installed: {', '.join(sorted(installed)) or 'none'})"
        )
    if len(plugin.entry_points) > 1:
        raise PluginError("more than one distribution brings a plugin of this name; uninstall all but one")
    try:
        module = _OnePlugin(plugin.entry_points[0]).extensions[0].plugin
    except ImportError as error:
        raise PluginError(
            f"it cannot be imported: {type(error).__name__}: {error}; install what it needs (an extra of its "
            "distribution, perhaps), or take it out of plugins.enabled"
        ) from error
    if not isinstance(module, ModuleType):
        raise PluginError(f"its entry point must name a module, not {module!r}")
    return module


def _check_hooks(name: str, module: ModuleType, specs: Sequence[ModuleType]) -> None:
    """Try the plugin alone: what is wrong with its hooks must not leave half of it in the shared manager."""
    alone = _manager(specs)
    known = [hook for hook in vars(alone.hook) if not hook.startswith("_")]
    alone.register(module, name=name)
    callers = alone.get_hookcallers(module) or []
    for caller in callers:
        impl = caller.get_hookimpls()[0]
        if not caller.has_spec() and not impl.optionalhook:
            raise PluginError(f"there is no hook {caller.name!r}{did_you_mean(caller.name, known)}")
        if inspect.iscoroutinefunction(impl.function) or inspect.isasyncgenfunction(impl.function):
            raise PluginError(f"{caller.name} must be a plain function: hooks are not awaited")
        if impl.hookwrapper or impl.wrapper:
            raise PluginError(f"{caller.name} must not be a wrapper: a plugin registers its own classes only")
    marked = {caller.name for caller in callers}
    for function in vars(module):
        if function.startswith("pulse_register_") and function not in marked:
            raise PluginError(f"{function} is not marked: write @hookimpl above it")
    if not marked:
        raise PluginError(f"it implements no hook; there are {', '.join(known)}")


def _contributions(manager: pluggy.PluginManager, plugin: Found) -> Iterator[tuple[Kind, type[Contribution]]]:
    others = [module for _, module in manager.list_name_plugin() if module not in (None, plugin.module)]
    for kind in KINDS:
        implementers = [impl.plugin for impl in getattr(manager.hook, kind.hook).get_hookimpls()]
        if plugin.module not in implementers:
            continue
        answers = manager.subset_hook_caller(kind.hook, others)()
        if not answers:
            raise PluginError(f"{kind.hook} returned None; return the classes, as in [MyChannel]")
        if inspect.iscoroutine(answers[0]):
            answers[0].close()
            raise PluginError(f"{kind.hook} must be a plain function: hooks are not awaited")
        if isinstance(answers[0], str) or not hasattr(answers[0], "__iter__"):
            raise PluginError(f"{kind.hook} must return a list of classes, not {answers[0]!r}")
        for candidate in answers[0]:
            yield kind, check_contribution(kind, candidate)


def _refuse_namesakes(plugins: Sequence[Found]) -> None:
    """Refuse the later of two contributions of one kind and name."""
    owners: dict[tuple[str, str], Found] = {}
    for plugin, (kind, cls) in [(each, pair) for each in plugins for pair in each.contributions]:
        owner = owners.get((kind.hook, cls.name))
        owners.setdefault((kind.hook, cls.name), plugin)
        if owner is not None and plugin.error is None:
            plugin.error = PluginError(
                f"plugin {plugin.name!r} ({plugin.origin}): there is already a {kind.noun} {cls.name!r}, "
                f"from plugin {owner.name!r} ({owner.origin}); disable one of them"
            )


def _configs(plugin: Found, table: dict[str, Any]) -> dict[type[Contribution], PluginConfig]:
    """Give each class its own keys of ``[plugins.<name>]``; a key that none of them knows is an error."""
    where = f"plugins.{plugin.name}."
    known = set(itertools.chain.from_iterable(cls.config_type.model_fields for _, cls in plugin.contributions))
    faults = [f"{where}{key}: there is no such key{did_you_mean(key, known)}" for key in table if key not in known]
    configs: dict[type[Contribution], PluginConfig] = {}
    for _, cls in plugin.contributions:
        fields = cls.config_type.model_fields
        try:
            configs[cls] = cls.config_type.model_validate({key: value for key, value in table.items() if key in fields})
        except ValidationError as error:
            faults += explain(error, cls.config_type, where).splitlines()
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))
    return configs


def _stray_tables(config: Config, found: Sequence[Found]) -> list[str]:
    """Find ``[plugins.<name>]`` tables of no installed plugin; note those of plugins that are not enabled."""
    names = [each.name for each in found if each.entry_points]
    enabled = {each.name for each in found if each.enabled}
    faults = []
    for table in config.plugins.model_extra or {}:
        if table not in names:
            faults.append(f"plugins.{table}: no installed plugin has this name{did_you_mean(table, names)}")
        elif table not in enabled:
            log.warning("plugin is configured but not enabled", plugin=table)
    return faults
