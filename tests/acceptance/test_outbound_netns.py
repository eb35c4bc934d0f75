"""The outbound guard, attacked where every address of the world is local and nothing leaves the machine.

A child runs in a network namespace of its own (``support.netns_attacks``); here its findings are judged.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from support.hostile import NOT_PUBLIC, PUBLIC, UNUSUAL
from support.netns_attacks import HOSTILE_NAMES

ROOT = Path(__file__).parents[2]
REFUSED = {"OutboundRefused", "PermanentFailure"}
UNRESOLVED = {"nowhere.test", "broken.test", "empty.test", "silent.test"}
CUT_BY_URLS = {"a/b", "a#b", "a?b", "example.com\n"}  # in a URL, the host is only the first part
WAYS = ("http", "https", "connect", "socket")


def _isolated() -> list[str]:
    """Return the command that starts a child in its own network namespace."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("needs unshare (util-linux) and ip (iproute2)")
    for command in (["unshare", "-n"], ["unshare", "-r", "-n"]):
        attempt = subprocess.run([*command, "ip", "link", "set", "lo", "up"], check=False, capture_output=True)
        if attempt.returncode == 0:
            return command
    pytest.skip("this account may not make a network namespace")


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the attacks found, with either event loop."""
    child = subprocess.run(
        [*_isolated(), sys.executable, "-m", "support.netns_attacks", f"--{request.param}"],
        check=False,
        capture_output=True,
        timeout=170,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
        cwd=ROOT,
    )
    assert child.returncode == 0, child.stderr.decode()
    findings: dict[str, Any] = json.loads(child.stdout)
    assert findings["loop"].startswith(request.param)
    return findings


def test_the_trap_catches_who_is_not_guarded(found: dict[str, Any]) -> None:
    """Without this, no connection would prove nothing."""
    caught = {host for host, seen in found["trap"].items() if seen["connected"]}
    v4 = {"10.0.0.0", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1", "100.64.0.1", "168.63.129.16"}
    assert caught >= v4
    if found["ipv6"]:
        assert caught >= {"::1", "fc00::1", "fec0::1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::ffff:127.0.0.1"}
        assert len(caught) > 0.75 * len(NOT_PUBLIC)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_reaches_an_address_that_is_not_public(found: dict[str, Any], way: str) -> None:
    for host in (*NOT_PUBLIC, *UNUSUAL):
        seen = found[way][host]
        assert seen["connected"] == [], f"{way} to {host!a} escaped"
        meant = {*REFUSED, "NameUnresolved"} if way.startswith("http") and host in CUT_BY_URLS else REFUSED
        assert seen["raised"] in meant, f"{way} to {host!a} raised {seen['raised']!r}"


@pytest.mark.parametrize("way", WAYS)
def test_no_name_leads_to_one(found: dict[str, Any], way: str) -> None:
    for host in HOSTILE_NAMES:
        seen = found[way][host]
        assert seen["connected"] == [], f"{way} to {host} escaped"
        if host in UNRESOLVED:
            assert seen["raised"] == "NameUnresolved", f"{way} to {host} raised {seen['raised']!r}"
        elif "localhost" in host.lower():
            assert seen["raised"] in {*REFUSED, "NameUnresolved"}, "not every system knows each spelling"
        else:
            assert seen["raised"] in REFUSED, f"{way} to {host} raised {seen['raised']!r}"


@pytest.mark.parametrize("way", WAYS)
def test_the_machines_own_name_leads_nowhere_inside(found: dict[str, Any], way: str) -> None:
    (own,) = found[way].keys() - {*NOT_PUBLIC, *UNUSUAL, *HOSTILE_NAMES}
    assert not [address for address in found[way][own]["connected"] if address in NOT_PUBLIC]


@pytest.mark.parametrize("host", [*PUBLIC, "public.test", "dual.test"])
def test_public_addresses_are_reached(found: dict[str, Any], host: str) -> None:
    if ":" in host and not found["ipv6"]:
        pytest.skip("no IPv6 in this network namespace")
    for seen in found["control"][host]:
        assert seen["raised"] == ""
        assert len(seen["connected"]) == 1
    (address,) = found["control"][host][0]["connected"]
    wanted = ip_address("8.8.8.8" if host.endswith(".test") else host.removeprefix("::ffff:"))
    assert ip_address(address) == wanted or host == "dual.test"


def test_redirects_to_the_inside_are_not_followed(found: dict[str, Any]) -> None:
    for code, seen in found["redirect"].items():
        assert seen["requests"] == 1, code
        assert set(seen["connected"]) <= {"8.8.4.4"}, code


def test_a_name_that_changes_its_mind_is_asked_once_a_connection(found: dict[str, Any]) -> None:
    first, kept, new = found["rebind"]
    assert (first["connected"], first["raised"]) == (["8.8.8.8"], "")
    assert (kept["connected"], kept["raised"], kept["requests"]) == ([], "", 1), "the connection was not kept"
    assert (new["connected"], new["raised"]) == ([], "OutboundRefused"), "a new connection was not checked anew"
    assert found["rebind asked"] == 2
    assert found["rebind raw"]["connected"] == ["8.8.8.8"]
    assert found["rebind raw asked"] == 1


def test_the_operator_can_allow_a_network_and_no_more(found: dict[str, Any]) -> None:
    seen = found["allow"]
    assert seen["10.1.2.3"]["connected"] == seen["allowed.test"]["connected"] == ["10.1.2.3"]
    for host in ("10.2.0.1", "half-allowed.test", "127.0.0.1"):
        assert (seen[host]["connected"], seen[host]["raised"]) == ([], "OutboundRefused")
