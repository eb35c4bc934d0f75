"""What an operator writes down: ``pulse.toml`` and ``PULSE_*`` (environment wins). Read once, at start.

What can change while the platform runs is in :mod:`pulse_core.settings`.
"""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from pulse_core.errors import ConfigError
from pulse_core.urls import WebUrl

DEFAULT_PLUGINS = ("http", "mqtt", "heartbeat", "webhook", "postgres", "accounts")
DEV_ADMIN_KEY = "dev-admin-key"
_LANES, _LANES_BESIDE = 4, 16


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Listen(_Section):
    """An address to listen on."""

    host: str = "127.0.0.1"
    """Loopback unless you say otherwise: put a TLS proxy or a firewall in front before you open it."""
    port: int = Field(ge=0, le=65535)
    """0 takes any free port."""


class WebConfig(Listen):
    """Where people and programs reach the web process."""

    trusted_proxies: tuple[str, ...] = ()
    """Networks of your own proxies in front of us, as ``10.0.0.0/8``. The address that such a one adds to
    X-Forwarded-For is the caller's, for limits and for the audit log. Anybody else's header counts for nothing."""

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ipaddress.ip_network(each)
        return value


class LimitsConfig(_Section):
    """How often the web process lets somebody do something; then it answers 429. 0: no limit.

    Each process counts by itself, in memory. Logins and test deliveries have limits of their own.
    """

    writes_per_s: float = Field(10.0, ge=0, le=100_000)
    """Requests other than GET that one user or API token may make for ever. The admin key may make more."""
    writes_burst: int = Field(60, ge=1, le=1_000_000)
    """And at once."""
    address_writes_per_s: float = Field(200.0, ge=0, le=100_000)
    """The same from one address (IPv6: its /64), whoever is behind it."""
    address_writes_burst: int = Field(1000, ge=1, le=1_000_000)
    """And at once."""
    failures_per_minute: int = Field(60, ge=0, le=1_000_000)
    """Tokens and admin keys that are none, from one address. Beyond that only those are looked at that were good
    within the last hour."""


class PipelineConfig(_Section):
    """The data path."""

    lanes: int | None = Field(None, ge=1, le=64)
    """Database connections that commit side by side. None: 4; or 16, if readings are written to a telemetry store
    beside the database first: it may take a second over each batch, and lanes wait for it at the same time."""
    batch_messages: int = Field(2000, ge=1, le=20_000)
    """At most this many messages and wake-ups in one commit."""
    idle_wait_ms: float = Field(5.0, ge=0, le=1000)
    """How long an idle lane waits for a batch to fill."""
    max_undecided_messages: int = Field(20_000, ge=1)
    """Beyond this many unanswered messages, sources stop reading."""
    max_undecided_bytes: int = Field(64 * 1024 * 1024, ge=1024)
    """Beyond this many unanswered payload bytes, sources stop reading."""

    def lanes_for(self, *, readings_first: bool) -> int:
        """How many lanes there are."""
        return self.lanes or (_LANES_BESIDE if readings_first else _LANES)


class DeliveryConfig(_Section):
    """The delivery engine."""

    attempt_timeout_s: float = Field(15.0, gt=0, le=300)
    """One attempt, connect to answer."""
    per_endpoint: int = Field(10, ge=1, le=1000)
    """Attempts at one endpoint at the same time."""
    workers: int = Field(200, ge=1, le=10_000)
    """Attempts at the same time in this process."""
    lease_s: float = Field(30.0, ge=5, le=600)
    """After this, another process takes up what a dead one had claimed."""
    breaker_failures: int = Field(5, ge=1, le=1000)
    """After so many failures in a row an endpoint is left alone, but for a probe now and then."""
    breaker_probe_s: float = Field(30.0, gt=0, le=3600)
    """The first probe; each one that fails doubles the wait for the next."""
    breaker_longest_s: float = Field(300.0, gt=0, le=86400)
    """The longest wait for a probe."""


class OutboundConfig(_Section):
    """The guard in front of every connection that a tenant or a plugin causes."""

    allow: tuple[str, ...] = ()
    """Networks that may be called although they are not public, as ``10.1.0.0/16``."""


class SessionsConfig(_Section):
    """Browsers that are logged in. The provider that somebody logged in with may end a session sooner."""

    idle_s: float = Field(12 * 3600, ge=60, le=30 * 86400)
    """After so long without a request, one has to log in again."""
    longest_s: float = Field(7 * 86400, ge=60, le=90 * 86400)
    """After so long, in any case."""


class ExportsConfig(_Section):
    """Files of readings that tenants ask for: written in the background of the web process, kept in the database."""

    workers: int = Field(2, ge=0, le=64)
    """So many are written at the same time in one process; 0: none, other hosts do that."""
    active_per_tenant: int = Field(2, ge=1, le=1000)
    """So many of one tenant may wait or be written."""
    kept_per_tenant: int = Field(20, ge=1, le=10_000)
    """So many of one tenant there may be in all, with those whose file can be fetched."""
    kept_h: float = Field(24.0, gt=0, le=24 * 366)
    """After so long a file goes."""
    page_readings: int = Field(2000, ge=1, le=100_000)
    """So many readings are read, written and committed at once."""
    lease_s: float = Field(30.0, ge=1, le=600)
    """After this, another process takes up what a dead one was writing. A page must be done within it."""
    turn_s: float = Field(10.0, ge=0, le=3600)
    """After this, the export that waits longest has its turn."""


class PluginsConfig(BaseModel):
    """``[plugins]``: which are enabled; ``[plugins.<name>]`` holds each one's own table."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    enabled: tuple[str, ...] = DEFAULT_PLUGINS
    """Entry-point names in the group ``pulse.plugins``. A plugin not named here is never imported."""

    def table(self, name: str) -> dict[str, Any]:
        """What stands under ``[plugins.<name>]``."""
        found = (self.model_extra or {}).get(name, {})
        if not isinstance(found, dict):
            raise ConfigError(f"[plugins.{name}] must be a table, not {found!r}")
        return found


class Config(BaseSettings):
    """The whole configuration of one host."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="PULSE_",
        env_nested_delimiter="__",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # the input may be a secret
    )

    mode: Literal["prod", "dev"] = "prod"
    """prod refuses default secrets and keys, plain-HTTP webhooks and STORE_REJECTS; dev is for a desk."""
    demo: bool = False
    """Set by ``pulse up --demo``."""
    data_dir: Path = Path("pulse-data")
    """Where the embedded database, the generated keys and the run files live."""
    database_url: SecretStr | None = None
    """``postgresql://user:password@host/database`` of an account that may create roles; none: embedded."""
    secret_key: SecretStr | None = None
    """At least 32 characters. From it come the database roles' passwords and the key for stored secrets.
    None: generated into ``data_dir`` (mode 0600)."""
    previous_secret_keys: tuple[SecretStr, ...] = ()
    """While ``secret_key`` is replaced: the keys before it, with which stored secrets may still be encrypted."""
    admin_key: SecretStr | None = None
    """What X-Admin-Key must be. None: the provisioning API is closed (dev: ``dev-admin-key``)."""
    public_url: WebUrl | None = None
    """Where people and programs reach the web process, as ``https://pulse.example.com``: the issuer of our tokens, so
    the same on every host. None: the address of ``[web]``."""
    device_url: WebUrl | None = None
    """Where devices reach ``device_http``, as ``https://devices.example.com``: in the lines to copy that pages show.
    None: where it listens."""
    device_mqtt_url: Annotated[str, Field(pattern=r"^mqtts?://[^/]+$")] | None = None
    """Where they reach the MQTT listener, as ``mqtts://devices.example.com:8883``. None: where it listens."""
    telemetry_store: str = "postgres"
    """Which registered telemetry store is the active one."""
    web: WebConfig = WebConfig(port=8080)
    device_http: Listen = Listen(port=8081)
    metrics_deliver: Listen = Listen(port=8082)
    """Health and metrics of the deliver process."""
    limits: LimitsConfig = LimitsConfig()
    pipeline: PipelineConfig = PipelineConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    sessions: SessionsConfig = SessionsConfig()
    exports: ExportsConfig = ExportsConfig()
    outbound: OutboundConfig = OutboundConfig()
    plugins: PluginsConfig = PluginsConfig()

    @field_validator("web", "device_http", "metrics_deliver", mode="before")
    @classmethod
    def _keep_port(cls, value: Any, info: ValidationInfo) -> Any:
        """A section that names only a host keeps its port."""
        if isinstance(value, dict) and info.field_name:
            return {"port": cls.model_fields[info.field_name].default.port, **value}
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env files
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - nor secret folders
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        sources = [init_settings, env_settings]
        if toml := settings_cls.model_config.get("toml_file"):
            sources.append(TomlConfigSettingsSource(settings_cls, toml))
        return tuple(sources)

    @property
    def allows_plain_http(self) -> bool:
        """Whether channels may call ``http:`` URLs, and customers write them down."""
        return self.mode == "dev"

    @property
    def issuer(self) -> str:
        """The ``iss`` of the tokens that we issue: ``public_url``, without a slash at its end."""
        return (self.public_url or f"http://{self.web.host}:{self.web.port}").rstrip("/")

    @property
    def effective_admin_key(self) -> str | None:
        """The admin key in force; dev mode has the well-known one."""
        if self.admin_key is not None:
            return self.admin_key.get_secret_value()
        return DEV_ADMIN_KEY if self.mode == "dev" else None


def load_config(path: Path | None = None, **overrides: Any) -> Config:
    """Read the configuration: ``overrides``, then ``PULSE_*``, then the file at ``path``.

    :raises ConfigError: naming each wrong key, with what was probably meant.
    """
    if path is not None and not path.is_file():
        raise ConfigError(f"there is no configuration file {path}")

    class _FromFile(Config):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        config = _FromFile(**overrides)
    except ValidationError as error:
        raise ConfigError(explain(error, Config)) from error
    except SettingsError as error:  # what stands in an environment variable and should be JSON
        raise ConfigError(f"{error}: lists and tables are written as JSON there") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    _refuse_development_defaults(config)
    return config


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """Say what is wrong with a configuration, one line a fault, with a did-you-mean for unknown keys.

    Values are never repeated: one of them may be a secret.
    """
    lines = []
    for fault in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in fault["loc"])
        text = f"{prefix}{where}: {fault['msg']}"
        if fault["type"] == "extra_forbidden":
            text = f"{prefix}{where}: there is no such key"
            near = difflib.get_close_matches(str(fault["loc"][-1]), _keys_at(model, fault["loc"][:-1]), 1)
            if near:
                text += f"; did you mean {near[0]!r}?"
        lines.append(text)
    return "\n".join(lines)


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)


_SHORTEST_SECRET = 32


def _refuse_development_defaults(config: Config) -> None:
    keys = {"secret_key": config.secret_key} if config.secret_key is not None else {}
    keys |= {f"previous_secret_keys.{at}": key for at, key in enumerate(config.previous_secret_keys)}
    for name, key in keys.items():
        if len(key.get_secret_value()) < _SHORTEST_SECRET:
            raise ConfigError(f"{name}: at least {_SHORTEST_SECRET} characters; `openssl rand -hex 32` makes one")
    if config.mode == "prod" and config.effective_admin_key == DEV_ADMIN_KEY:
        raise ConfigError(f"admin_key: {DEV_ADMIN_KEY!r} is for development; choose another, or set mode = 'dev'")
