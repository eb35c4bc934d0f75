"""Looks at everything that keeps the platform from starting, one short check each. Changes nothing."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pulse_core.config import Config, load_config
from pulse_core.errors import ConfigError, PulseError, SchemaError, StoreUnavailable
from pulse_core.plugins import PluginState, checked_survey
from pulse_postgres.accounts import role_dsn
from pulse_postgres.probe import server_time_s
from pulse_postgres.schema import check_schema
from pulse_server import ports, runfiles
from pulse_server.database import embedded, known_url
from pulse_server.secret_key import secret_keys
from pulse_server.serving import is_free
from pulse_server.web import third_party
from pulse_server.web.assets import REMEDY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OLDEST_SANE_TIME = 1_700_000_000
_CLOCK_TOLERANCE_S = 2.0


@dataclass(frozen=True)
class Finding:
    """What one check found. ``remedy`` says what to do."""

    subject: str
    verdict: Literal["ok", "note", "failed"]
    text: str
    remedy: str = ""


async def examine(config_file: Path | None) -> list[Finding]:
    """Run every check; those that need what is broken are left out."""
    findings = [_python()]
    try:
        config = load_config(config_file)
    except ConfigError as error:
        return [*findings, Finding("configuration", "failed", str(error), "correct these keys")]
    findings.append(Finding("configuration", "ok", str(config_file or "defaults and PULSE_* variables")))
    findings += [_data_dir(config), _secret_key(config), _admin_key(config), *await _plugins(config), *_ports(config)]
    return [*findings, _pages(), *_embedded(config), *await _schema(config)]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - an installation may outlive the interpreter it was made for
        return Finding("python", "failed", version, "install Python 3.11 or newer")
    return Finding("python", "ok", version)


def _data_dir(config: Config) -> Finding:
    path = config.data_dir.absolute()
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding("data_dir", "failed", f"{path}: {nearest} is not ours to write", "choose another data_dir")
    if path.exists() and path.stat().st_mode & 0o022:
        return Finding("data_dir", "failed", f"{path}: others may write to it", f"chmod go-w {path}")
    return Finding("data_dir", "ok", f"{path}" + ("" if path.exists() else " (made at the first start)"))


def _secret_key(config: Config) -> Finding:
    path = config.data_dir / "secret.key"
    if config.secret_key is None and not path.exists():
        return Finding("secret_key", "ok", f"will be made in {path} at the first start; back it up")
    try:
        _, *previous = secret_keys(config)
    except ConfigError as error:
        return Finding("secret_key", "failed", str(error), "see docs/reference/configuration.md")
    if previous:
        text = f"{len(previous)} previous besides the current one: it is being replaced"
        return Finding("secret_key", "note", text, "see `pulse secrets --help`")
    return Finding("secret_key", "ok", "configured" if config.secret_key else f"in {path}; back it up")


def _admin_key(config: Config) -> Finding:
    if config.effective_admin_key is None:
        return Finding("admin_key", "note", "not set: the provisioning API is closed", "set PULSE_ADMIN_KEY to open it")
    return Finding("admin_key", "ok", "set" if config.admin_key else "the well-known one of dev mode")


async def _plugins(config: Config) -> list[Finding]:
    found = [each for each in await checked_survey(config) if each.status is not PluginState.DISABLED]
    return [
        Finding(f"plugin {each.name}", "ok", ", ".join(each.contributes))
        if each.status is PluginState.ENABLED
        else Finding(f"plugin {each.name}", "failed", each.error, "or take it out of plugins.enabled")
        for each in found
    ]


def _pages() -> Finding:
    missing = sorted(name for name in third_party.FILES if not third_party.FOLDER.joinpath(name).is_file())
    if missing:
        return Finding("pages", "note", f"{', '.join(missing)} missing: they are plain and stand still", REMEDY)
    return Finding("pages", "ok", "with everything that they load")


def _ports(config: Config) -> Iterator[Finding]:
    ours = runfiles.lookup(config.data_dir, "up") is not None
    for name in ports.NAMES:
        listen = getattr(config, name)
        where = f"{listen.host}:{listen.port}"
        if listen.port == 0 or is_free(listen):
            yield Finding(name, "ok", f"{where} is free")
        elif ours:
            yield Finding(name, "ok", f"{where} is in use while `pulse up` runs")
        else:
            yield Finding(
                name, "failed", f"{where} is taken", f"stop what listens there, or set PULSE_{name.upper()}__PORT"
            )


def _embedded(config: Config) -> list[Finding]:
    if config.database_url is not None:
        return []
    try:
        embedded(config)
    except PulseError as error:
        return [Finding("database", "failed", str(error), "or set database_url")]
    if known_url(config) is None:
        return [Finding("database", "ok", "embedded; it does not run now, `pulse up` starts it")]
    return [Finding("database", "ok", "embedded; it runs")]


async def _schema(config: Config) -> list[Finding]:
    url = known_url(config)
    if url is None:
        return []
    try:
        await check_schema(role_dsn(url, "pulse_pipeline", *secret_keys(config)))
    except StoreUnavailable as error:
        return [Finding("database", "failed", str(error), "is it running, and is database_url right?")]
    except (SchemaError, ConfigError) as error:
        return [Finding("schema", "failed", str(error), "run `pulse migrate`")]
    return [Finding("schema", "ok", "up to date"), await _clock(role_dsn(url, "pulse_pipeline", *secret_keys(config)))]


async def _clock(dsn: str) -> Finding:
    before = time.time()
    theirs = await server_time_s(dsn)
    after = time.time()
    apart_s = max(before - theirs, theirs - after, 0.0)
    if apart_s > _CLOCK_TOLERANCE_S or after < _OLDEST_SANE_TIME:
        return Finding(
            "clock", "failed", f"{apart_s:.1f} s apart from the database's", "run a time service (NTP) on both"
        )
    return Finding("clock", "ok", f"{apart_s * 1000:.0f} ms apart from the database's")
