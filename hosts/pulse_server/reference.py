"""The reference pages that are made from code: hooks, configuration, plugins. ``pulse docs`` writes them.

What they say stands in docstrings and models, so it cannot drift from what the program does; a test compares them.
"""

from __future__ import annotations

import inspect
import json
import re
from importlib.metadata import distribution
from typing import TYPE_CHECKING, Any

from pulse_core import hookspecs
from pulse_core.api import AuthServices, Contribution, Intake, Services
from pulse_core.config import Config
from pulse_core.contributions import KINDS
from pulse_core.plugins import channel_schema, load_plugins
from pulse_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from pulse_core.plugins import Plugins

_MADE = "<!-- Made from the code by `make docs`: change the docstrings there, not this page. -->"

_HOW_TO_CONFIGURE = """`pulse.toml` is read from the working directory, or from `pulse --config FILE`. Every key can be
given as an environment variable as well, which wins: `PULSE_` and the key in capitals, `__` between the levels
(`PULSE_DEVICE_HTTP__PORT=9081`). A list is written as JSON. Unknown keys are errors."""


def write_reference(into: Path, config: Config) -> list[Path]:
    """Write ``hooks.md``, ``configuration.md`` and ``plugins.md`` (of the plugins that ``config`` enables).

    :returns: the paths written.
    :raises PluginError: when an enabled plugin cannot be loaded.
    """
    pages = {
        "hooks.md": hooks_page(),
        "configuration.md": configuration_page(),
        "plugins.md": plugins_page(load_plugins(config)),
    }
    into.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        into.joinpath(name).write_text(text, encoding="utf-8")
    return [into / name for name in pages]


def bundled_plugins() -> tuple[str, ...]:
    """The names of all plugins of this distribution, enabled by default or not."""
    ours = distribution("opsconductor-pulse").entry_points
    return tuple(sorted(one.name for one in ours if one.group == "pulse.plugins"))


def hooks_page() -> str:
    """Every hook with its exact signature and manual, and the class that it registers."""
    lines = ["# Hooks", _MADE, markdown(inspect.getdoc(hookspecs) or "")]
    for kind in KINDS:
        hook: Callable[..., Any] = getattr(hookspecs, kind.hook)
        lines += [f"## {kind.hook}", code(f"@hookimpl\n{signature(hook)}"), markdown(inspect.getdoc(hook) or "")]
        lines += [f"### {kind.base.__name__}", markdown(inspect.getdoc(kind.base) or "")]
        lines += list(_members(kind.base))
    lines += ["## What they have in common"]
    for common in (Contribution, Services, Intake, AuthServices):
        lines += [f"### {common.__name__}", markdown(inspect.getdoc(common) or ""), *_members(common)]
    return "\n\n".join(lines) + "\n"


def configuration_page() -> str:
    """Every key of ``pulse.toml``, and every live setting."""
    lines = ["# Configuration", _MADE, markdown(inspect.getdoc(Config) or "")]
    lines += [
        _HOW_TO_CONFIGURE,
        "`[plugins.<name>]` is described in [plugins](plugins.md).",
    ]
    schema = Config.model_json_schema()
    lines += ["## Top level", _table(schema, schema, skip_tables=True)]
    for name, field in schema["properties"].items():
        section = _resolved(field, schema)
        if "properties" in section:
            lines += [
                f"## [{name}]",
                markdown(section.get("description", "")),
                _table(section, schema, defaults=field.get("default")),
            ]
    settings = Settings.model_json_schema()
    lines += ["## Live settings", markdown(inspect.getdoc(Settings) or ""), _table(settings, settings)]
    return "\n\n".join(lines) + "\n"


def plugins_page(plugins: Plugins) -> str:
    """What each enabled plugin contributes, its ``[plugins.<name>]`` table, and the form of each channel."""
    lines = ["# Plugins", _MADE, "`pulse plugins` shows what is installed on a machine, and how it is doing."]
    for status in plugins.statuses:
        if not status.contributes:
            continue
        lines += [f"## {status.name}", markdown(status.summary), f"Contributes: {', '.join(status.contributes)}."]
        for cls in plugins.contributed_by(status.name):
            lines += list(_contribution(cls, plugins))
    return "\n\n".join(line for line in lines if line) + "\n"


def _contribution(cls: type[Contribution], plugins: Plugins) -> Iterator[str]:
    config = cls.config_type.model_json_schema()
    if config.get("properties"):
        yield f"`[plugins.{plugins.plugin_of(cls)}]` for {cls.name}: {markdown(_doc(cls.config_type))}"
        yield _table(config, config)
    channel = plugins.channels.get(cls.name)
    if channel is cls:
        schema = channel_schema(channel)
        yield f"An integration of type `{cls.name}`: {markdown(_doc(channel.integration_type))}"
        yield _table(schema, schema)


def _doc(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").partition("\n\n")[0].replace("\n", " ")


def _members(base: type) -> Iterator[str]:
    """Tell what an author writes or may override: class attributes, then methods in the order of the source."""
    for name, text in _attribute_docs(base).items():
        yield f"- `{name}: {base.__annotations__[name]}`: {markdown(text).replace(chr(10), ' ')}"
    for name, member in vars(base).items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        marks = {classmethod: "@classmethod\n", property: "@property\n"}.get(type(member), "")
        needed = " (you write it)" if getattr(function, "__isabstractmethod__", False) else ""
        yield f"#### {base.__name__}.{name}{needed}"
        yield code(marks + signature(function))
        yield markdown(inspect.getdoc(function) or "")


def _attribute_docs(cls: type) -> dict[str, str]:
    """Read the docstrings that stand below annotated attributes: Python itself keeps none."""
    found = re.findall(r'^    (\w+): .*\n    """((?:.|\n)*?)"""', inspect.getsource(cls), re.MULTILINE)
    return {name: inspect.cleandoc(text) for name, text in found}


def signature(function: Callable[..., Any]) -> str:
    """Write a function's head exactly as its source has it, on one line."""
    word = "async def" if inspect.iscoroutinefunction(function) else "def"
    return f"{word} {function.__name__}{str(inspect.signature(function)).replace(chr(39), '')}"


def code(text: str) -> str:
    """Python in a fence."""
    return f"```python\n{text}\n```"


def markdown(docstring: str) -> str:
    """Turn the little reStructuredText of our docstrings into Markdown."""
    text = re.sub(r":(?:class|meth|mod|func|attr):`~?([^`]+)`", r"`\1`", docstring)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    text = re.sub(
        r"^:(\w+)(?: (\w+))?:", lambda found: f"- *{' '.join(filter(None, found.groups()))}*:", text, flags=re.MULTILINE
    )
    return re.sub(
        r"::\n\n((?: {4}.*(?:\n|\Z)|\n)+)", lambda found: f":\n\n{code(inspect.cleandoc(found[1]))}\n\n", text
    ).strip()


def _table(
    model: Mapping[str, Any],
    root: Mapping[str, Any],
    *,
    skip_tables: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> str:
    rows = ["| Key | Value | Default | |", "|---|---|---|---|"]
    required = model.get("required", ())
    for name, field in model.get("properties", {}).items():
        if skip_tables and "properties" in _resolved(field, root):
            continue
        field = {**field, **({"default": defaults[name]} if defaults and name in defaults else {})}  # noqa: PLW2901
        default = "*required*" if name in required and "default" not in field else _default(field)
        text = markdown(field.get("description", "")).replace("\n", " ").replace("|", "\\|")
        rows.append(f"| `{name}` | {_value(field, root)} | {default} | {text} |")
    return "\n".join(rows)


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    if default is None or default == "":
        return "none"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _resolved(field: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = field.get("$ref")
    if not isinstance(reference, str):
        return field
    found: Mapping[str, Any] = root["$defs"][reference.rpartition("/")[2]]
    return found


def _value(field: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """Say in words what a JSON Schema allows."""
    field = {**_resolved(field, root), **{key: value for key, value in field.items() if key != "$ref"}}
    if "anyOf" in field:
        return " or ".join(_value(part, root) for part in field["anyOf"] if part.get("type") != "null")
    if "enum" in field or "const" in field:
        return "one of " + ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_value(field.get('items', {}), root)}"
    if field.get("type") == "object":
        return "table"
    if field.get("writeOnly"):
        return "secret text"
    words = {"string": field.get("format", "text"), "boolean": "`true` or `false`"}
    return f"{words.get(str(field.get('type')), str(field.get('type', 'any')))}{_limits(field)}"


def _limits(field: Mapping[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    low = f"more than {field['exclusiveMinimum']:g}" if "exclusiveMinimum" in field else low
    if low is None and high is None:
        return ""
    return f", {low if low is not None else ''} … {high if high is not None else ''}".rstrip()
