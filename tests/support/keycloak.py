"""A real Keycloak on loopback, with our realm imported: fetched once into the cache folder, started for a session."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import urllib.request
import zipfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from support.product import free_ports
from support.tree import ROOT
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = "26.7.3"
SHA256 = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
REALM = ROOT / "contrib/keycloak/realm-pulse.json"
PASSWORD = "test123"
"""The development users'."""

_FETCHER = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_FETCH_WITHIN_S = 400
_START_WITHIN_S = 400
"""It builds itself at its first start: 20 s on a machine with nothing else to do."""


class Keycloak:
    """One that runs. ``public_url``: where the realm thinks that we are."""

    def __init__(self, port: int, public_url: str) -> None:
        self.issuer = f"http://127.0.0.1:{port}/realms/pulse"
        self.public_url = public_url
        self.client_secret = secrets.token_urlsafe(24)


def distribution() -> Path:
    """The folder of the distribution; skips the test, with the reason, when it cannot be had."""
    for program, package in (("java", "default-jre-headless"), ("mvn", "maven")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: apt-get install {package})")
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    folder = cache / f"keycloak-{VERSION}"
    with (cache / "keycloak.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not folder.exists():
            _unpack(_fetched(cache), cache)
    return folder


@contextmanager
def keycloak() -> Iterator[Keycloak]:
    """Run one whose realm sends browsers back to a port of this machine that nobody listens on yet."""
    home = distribution()
    with (home / "in-use.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # two at once would build into the same folder
        port, ours = free_ports(2)
        running = Keycloak(port, f"http://127.0.0.1:{ours}")
        (home / "data/import").mkdir(parents=True, exist_ok=True)
        shutil.copy(REALM, home / "data/import")
        log = home / "data/log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "bin/kc.sh", "start-dev", "--import-realm", "--http-host=127.0.0.1", f"--http-port={port}"],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(running),
            )
        try:
            until_sync(
                lambda: _answers(running.issuer) or process.poll() is not None,
                within_s=_START_WITHIN_S,
                every_s=0.5,
                what="Keycloak",
            )
            assert process.poll() is None, log.read_text(errors="replace")[-4000:]
            yield running
        finally:
            _stop(process)


def _environment(running: Keycloak) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("KC_", "PULSE_"))},
        "KC_DB": "dev-mem",
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m",
        "PULSE_OIDC_CLIENT_SECRET": running.client_secret,
        "PULSE_PUBLIC_URL": running.public_url,
        "PULSE_DEV_PASSWORD": PASSWORD,
    }


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The script and the Java process that it waits for."""
    try:
        everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        everything = []
    for each in everything:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(everything, timeout=20)
    for each in alive:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait(20)


def _answers(issuer: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=30) as answer:
        return bool(answer.status == 200)
    return False


def _fetched(cache: Path) -> Path:
    """The archive, from wherever this machine's Maven gets what it needs."""
    archive = cache / f"keycloak-quarkus-dist-{VERSION}.zip"
    if not archive.exists():
        artifact = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
        done = subprocess.run(
            ["mvn", "-q", "-B", _FETCHER, f"-Dartifact={artifact}", f"-DoutputDirectory={cache}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_FETCH_WITHIN_S,
            check=False,
        )
        if done.returncode or not archive.exists():
            pytest.skip(f"Maven cannot fetch Keycloak: {done.stdout[-500:]}")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert digest == SHA256, f"this is another Keycloak: {archive} is {digest}"
    return archive


def _unpack(archive: Path, cache: Path) -> None:
    """All or nothing."""
    scratch = cache / f"unpacking-{os.getpid()}"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(scratch)
    (scratch / f"keycloak-{VERSION}").rename(cache / f"keycloak-{VERSION}")
    scratch.rmdir()
    archive.unlink()
