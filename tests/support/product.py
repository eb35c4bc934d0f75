"""The product as its users run it, for acceptance tests and benches: ``pulse up`` in a folder of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from pulse_postgres.migrate import migrate
from pulse_server.embedded import EmbeddedPostgres, running_url
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ADMIN_KEY = "the admin key of a test"
SECRET_KEY = "5ca1ab1e0ddba11f005eedfacade0ff1ce5ca1ab1e0ddba11f005eedfacade0f"
ROLES = ("pipeline", "deliver", "web")
Device = tuple[str, str, str, str]
"""(tenant_id, device_id, site_id, token)."""

_QUIET_LIMIT = {"RATE_LIMIT_RPS": 100_000, "RATE_LIMIT_BURST": 1_000_000}
_STOP_WITHIN_S = 30.0


class Product:
    """One ``pulse up`` with the embedded PostgreSQL. Ports are chosen once, so that they survive restarts.

    With ``secret_key`` None one is generated into ``data_dir``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mqtt_plugin: str = "mqtt",
        more_plugins: Sequence[str] = (),
        extra_path: Path | None = None,
        config: str = "",
        secret_key: str | None = SECRET_KEY,
        web_port: int | None = None,
        telemetry_store: str = "postgres",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data_dir = folder / "data"
        self.mqtt_port, self.http_port, free_port, self._metrics_port = free_ports(4)
        self.web_port = web_port or free_port
        self._config = folder / "pulse.toml"
        self._config.write_text(self._toml(mqtt_plugin, more_plugins, config, secret_key, telemetry_store))
        tomllib.loads(self._config.read_text())
        self._extra_path = extra_path
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def arranged(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection as superuser before the product starts for the first time: no news, but what is there."""
        server = EmbeddedPostgres(self.data_dir / "postgres")
        try:
            url = server.start()
            migrate(url, SECRET_KEY)
            with psycopg.connect(url, autocommit=True) as connection:
                yield connection
        finally:
            server.stop()

    def start(self, within_s: float = 60.0) -> float:
        """Start it, wait until every role is ready, and return how long that took (s)."""
        began = time.monotonic()
        with (self.folder / "up.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pulse_server", "--config", str(self._config), "up"],
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )
        until_sync(self._is_up, within_s=within_s, what="pulse up", every_s=0.02)
        return time.monotonic() - began

    def stop(self) -> int:
        """SIGTERM, and wait until everything is gone."""
        if self._process is None:
            return 0
        everything = self.everything()
        self._process.terminate()
        try:
            code = self._process.wait(_STOP_WITHIN_S)
        finally:
            self._process.kill()
            self._process = None
            _, alive = psutil.wait_procs(everything, timeout=_STOP_WITHIN_S)
            for process in alive:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        return code

    def kill_all(self) -> None:
        """Kill -9 for ``pulse up`` and all of its processes, as a power cut would."""
        assert self._process is not None
        doomed = self.everything()
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(_STOP_WITHIN_S)
        self._process = None
        psutil.wait_procs(doomed, timeout=_STOP_WITHIN_S)

    def everything(self) -> list[psutil.Process]:
        """Every process of the product, PostgreSQL's included."""
        assert self._process is not None
        try:
            top = psutil.Process(self._process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def process(self, name: str, within_s: float = 30.0) -> psutil.Process:
        """``up``, ``pipeline``, ``deliver``, ``web`` or ``postgres`` (the postmaster); waits while it restarts."""
        found: psutil.Process = until_sync(lambda: self._find(name), within_s=within_s, what=f"process {name}")
        return found

    def kill(self, name: str) -> None:
        """Kill -9 one of them."""
        self.process(name).kill()

    def pulse(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of the operator's on this machine."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PULSE_")}
        return subprocess.run(
            [sys.executable, "-m", "pulse_server", "--config", str(self._config), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**inherited, **environment},
        )

    def ready(self) -> bool:
        """Whether the pipeline says that it is ready."""
        return status_of(f"http://127.0.0.1:{self.http_port}/readyz") == 200

    def superuser(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection that sees everything: for arranging; results are read through the API."""
        url = running_url(self.data_dir / "postgres")
        assert url, "the embedded PostgreSQL does not run"
        return psycopg.connect(url, autocommit=True)

    def add_devices(
        self, tenant: str, count: int, *, prefix: str = "d", stale_after_s: float | None = None
    ) -> list[Device]:
        """Register devices ``prefix-000000`` … at site ``s-1``, each with a token that is valid at once."""
        with self.superuser() as connection:
            return add_devices(connection, tenant, count, prefix=prefix, stale_after_s=stale_after_s)

    def raise_limits(self) -> None:
        """Set the rate limit out of the way."""
        with self.superuser() as connection:
            raise_limits(connection)

    def admin(self, path: str, body: Any = None, *, method: str | None = None, **query: Any) -> Any:
        """Call the admin API and return its JSON. Raises HTTPError for a refusal."""
        url = f"http://127.0.0.1:{self.web_port}/api/admin/{path}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Admin-Key": ADMIN_KEY, "Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list of the admin API, page by page."""
        cursor: str | None = None
        while True:
            page = self.admin(path, limit=200, **query, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def ledger(self) -> dict[str, Any]:
        """What ``pulse ledger --json`` says, however it ends."""
        command = [sys.executable, "-m", "pulse_server", "--config", str(self._config), "ledger", "--json"]
        said = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, timeout=120, check=False
        )
        assert said.returncode in {0, 1}, said.stderr
        found: dict[str, Any] = json.loads(said.stdout)
        assert found["balanced"] is (said.returncode == 0)
        return found

    def shown_seqs(self, devices: Sequence[Device]) -> dict[int, list[int]]:
        """The seq of every reading that the API shows, by the number of the device."""
        return {
            number: [item["seq"] for item in self.pages(f"devices/{device[0]}/{device[1]}/telemetry")]
            for number, device in enumerate(devices)
        }

    def log(self) -> str:
        """What the product wrote so far."""
        return (self.folder / "up.log").read_text(errors="replace")

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PULSE_")}
        if self._extra_path is not None:
            environment["PYTHONPATH"] = str(self._extra_path)
        return environment

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"pulse up ended with {self._process.returncode}:\n{self.log()[-4000:]}")
        try:
            facts = json.loads((self.data_dir / "run" / "up.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(facts["pid"] == self._process.pid)

    def _find(self, name: str) -> psutil.Process | None:
        for process in self.everything():
            try:
                if name == "up":
                    return process
                if name == "postgres":
                    parent = process.parent()
                    if process.name() == "postgres" and parent is not None and parent.name() != "postgres":
                        return process
                elif process.cmdline()[-2:] == ["--role", name] and "child.py" not in " ".join(process.cmdline()):
                    return process
            except psutil.NoSuchProcess:
                continue
        return None

    def _toml(self, mqtt: str, more_plugins: Sequence[str], more: str, secret_key: str | None, store: str) -> str:
        sections = {"web": self.web_port, "device_http": self.http_port, "metrics_deliver": self._metrics_port}
        listens = "".join(f"{name} = {{port = {port}}}\n" for name, port in sections.items())
        head = f'mode = "dev"\ndata_dir = "{self.data_dir}"\nadmin_key = "{ADMIN_KEY}"\n'
        head += (f'secret_key = "{secret_key}"\n' if secret_key else "") + f'telemetry_store = "{store}"\n' + listens
        enabled = json.dumps(["http", mqtt, "heartbeat", "webhook", "postgres", *more_plugins])
        plugins = f"[plugins]\nenabled = {enabled}\n[plugins.{mqtt}]\nport = {self.mqtt_port}\n"
        return f'{head}[outbound]\nallow = ["127.0.0.0/8"]\n{plugins}{more}'


def add_devices(
    connection: psycopg.Connection[Any],
    tenant: str,
    count: int,
    *,
    prefix: str = "d",
    stale_after_s: float | None = None,
) -> list[Device]:
    """See :meth:`Product.add_devices`."""
    connection.execute(
        "INSERT INTO tenants (tenant_id, stale_after_s) VALUES (%s, %s) ON CONFLICT DO NOTHING", (tenant, stale_after_s)
    )
    connection.execute(
        """INSERT INTO devices (tenant_id, device_id, site_id, token_hash)
           SELECT %(tenant)s, %(prefix)s || '-' || lpad(n::text, 6, '0'), 's-1',
                  sha256((%(prefix)s || '-token-' || n)::bytea)
           FROM generate_series(0, %(count)s - 1) AS n""",
        {"tenant": tenant, "prefix": prefix, "count": count},
    )
    return [(tenant, f"{prefix}-{number:06}", "s-1", f"{prefix}-token-{number}") for number in range(count)]


def raise_limits(connection: psycopg.Connection[Any], limits: Mapping[str, float] = _QUIET_LIMIT) -> None:
    """Set the live settings for a load run."""
    for name, value in limits.items():
        connection.execute(
            "INSERT INTO settings (name, value) VALUES (%s, %s)"
            " ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
            (name, json.dumps(value)),
        )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def status_of(url: str, timeout_s: float = 2.0) -> int:
    """The HTTP status that a GET gets; 0 for no answer."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
