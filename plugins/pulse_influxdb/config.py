"""What an operator writes under ``[plugins.influxdb]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pulse_core.api import ConfigError, Field, PluginConfig, SecretStr, WebUrl, field_validator, origin

_DATABASE = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"


class InfluxConfig(PluginConfig):
    """Where InfluxDB 3 is, how tenants are kept apart in it, and how much is asked of it at once."""

    url: WebUrl | None = None
    """The server's address, as ``http://127.0.0.1:8181``. Needed."""
    token: SecretStr | None = None
    """A token that may read, write, and make and drop databases and tables. Needed; an admin token with Core."""
    tenancy: Literal["database", "shared"] = "database"
    """``database``: each tenant has a database of its own. ``shared``: one holds all of them, told apart by a tag in
    every point and every query."""
    database_prefix: str = Field("telemetry_", pattern=_DATABASE, max_length=20)
    """How the databases of tenants begin."""
    shared_database: str = Field("telemetry", pattern=_DATABASE, max_length=64)
    """The one database of ``shared``."""
    max_databases: int = Field(5, ge=1)
    """So many databases the server allows. InfluxDB 3 Core: 5."""
    query_range_h: int = Field(72, ge=1)
    """The longest time that one query may look at; longer ones are split. InfluxDB 3 Core reads 432 files a query, some
    72 hours."""
    verify_tls: bool = True
    """Whether the server's certificate is checked."""
    ca_file: Path | None = None
    """A file of certificate authorities (PEM) to check it with. Left out: those of this machine."""
    write_timeout_s: float = Field(10.0, gt=0, le=300)
    """So long a write may take; then its outcome is unknown, and it is written again."""
    query_timeout_s: float = Field(10.0, gt=0, le=300)
    """So long a query may take; a longer one is refused."""
    writes_at_once: int = Field(32, ge=1, le=256)
    """Requests that write, under way together in each process: InfluxDB answers when it has flushed, once a second, and
    each lane waits for its own."""
    queries_at_once: int = Field(8, ge=1, le=64)
    """Queries under way together in each process."""
    lines_per_write: int = Field(5000, ge=1, le=100_000)
    """Readings in one request."""

    @field_validator("url")
    @classmethod
    def _an_origin(cls, url: str | None) -> str | None:
        if url is not None and url.removesuffix("/").count("/") > len("//"):
            raise ValueError("only scheme, host and port, please: InfluxDB's client takes no path")
        return url

    @field_validator("token")
    @classmethod
    def _filled_in(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value() if token is not None else "-"
        if not text.isascii() or not text.isprintable() or " " in text or not text:
            raise ValueError("a token is one word of plain characters")
        if text.startswith("${"):
            raise ValueError("this is a placeholder that nothing was put in for")
        return token

    @property
    def server(self) -> tuple[str, str]:
        """Scheme, host and port, and the token. Raises ConfigError when one is missing."""
        if self.url is None or self.token is None:
            missing = "url" if self.url is None else "token"
            raise ConfigError(f"plugins.influxdb.{missing}: is needed; see docs/how-to/influxdb.md")
        return origin(self.url), self.token.get_secret_value()
