"""The published MIB: net-snmp's tools load it and read our notifications with it."""

from __future__ import annotations

import importlib.resources
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from pulse_core.api import PluginConfig
from pulse_core.testing.channels import LocalServices, a_notification
from pulse_snmp import alert
from pulse_snmp.channel import SnmpChannel
from pulse_snmp.config import SnmpConfig
from support.snmptrapd import PATH, command, snmptrapd
from support.waiting import until

NAME = "OPSCONDUCTOR-PULSE-MIB"
MIB = Path(str(importlib.resources.files("pulse_snmp") / f"{NAME}.txt"))
SYMBOLS = {
    "0.1": "pulseAlert",
    "1.1.0": "pulseAlertId.0",
    "1.2.0": "pulseDeviceId.0",
    "1.3.0": "pulseTenantId.0",
    "1.4.0": "pulseSeverity.0",
    "1.5.0": "pulseSummary.0",
    "1.6.0": "pulseTime.0",
    "1.7.0": "pulseEvent.0",
    "1.8.0": "pulseSiteId.0",
}
BASE = {  # the names that the standard modules bring; Debian does not ship them, other systems do
    "SNMPv2-SMI": "org OBJECT IDENTIFIER ::= { iso 3 }\ndod OBJECT IDENTIFIER ::= { org 6 }\n"
    "internet OBJECT IDENTIFIER ::= { dod 1 }\nprivate OBJECT IDENTIFIER ::= { internet 4 }\n"
    "enterprises OBJECT IDENTIFIER ::= { private 1 }",
    "SNMPv2-TC": "",
    "SNMPv2-CONF": "",
}


def translated(*arguments: str, folders: tuple[Path, ...] = (MIB.parent,)) -> str:
    """What snmptranslate says; it must have nothing to complain about."""
    with tempfile.TemporaryDirectory() as own:
        done = subprocess.run(
            [command("snmptranslate"), "-M", os.pathsep.join(map(str, folders)), "-m", NAME, *arguments],
            env={"PATH": PATH, "SNMPCONFPATH": own, "SNMP_PERSISTENT_DIR": own},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Created directory: ")]
    assert complaints == []
    return done.stdout.strip()


@pytest.fixture(params=[False, True], ids=["alone", "with the standard modules"])
def folders(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, ...]:
    if not request.param:
        return (MIB.parent,)
    for name, body in BASE.items():
        tmp_path.joinpath(f"{name}.txt").write_text(f"{name} DEFINITIONS ::= BEGIN\n{body}\nEND\n")
    return (MIB.parent, tmp_path)


@pytest.mark.parametrize(("number", "symbol"), SYMBOLS.items())
def test_numbers_and_names_translate_both_ways(number: str, symbol: str, folders: tuple[Path, ...]) -> None:
    oid = f".1.3.6.1.4.1.99999.{number}"
    assert translated(oid, folders=folders) == f"{NAME}::{symbol}"
    assert translated("-On", f"{NAME}::{symbol}", folders=folders) == oid


def test_the_severities_have_names() -> None:
    assert "INTEGER {critical(1), warning(2), info(3)}" in translated("-Td", f"{NAME}::pulseSeverity")


def test_the_notification_lists_what_is_sent_in_that_order() -> None:
    told = re.search(r"OBJECTS\s+\{ (.*) \}", translated("-Td", f"{NAME}::pulseAlert"))
    assert told
    assert [f"{name}.0" for name in told[1].split(", ")] == list(SYMBOLS.values())[1:]


def test_the_sizes_are_those_that_texts_are_cut_to() -> None:
    declared = re.compile(r"^pulse(\w+) OBJECT-TYPE\n\s+SYNTAX\s+PulseText \(SIZE \(0\.\.(\d+)\)\)", re.MULTILINE)
    sizes = dict(declared.findall(MIB.read_text()))
    snake = {re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower(): int(size) for name, size in sizes.items()}
    assert snake == alert._LONGEST
    assert f"SYNTAX       OCTET STRING (SIZE (0..{alert.MAX_SUMMARY_BYTES}))" in MIB.read_text()


def test_another_prefix_takes_one_line(tmp_path: Path) -> None:
    """As the how-to says."""
    text = MIB.read_text()
    assert text.count(" 99999 }\n") == 1 + text.split("IMPORTS")[0].count(" 99999 }\n")
    tmp_path.joinpath(MIB.name).write_text(text.replace(" 99999 }", " 8072 5 }"))
    assert translated(".1.3.6.1.4.1.8072.5.0.1", folders=(tmp_path,)) == f"{NAME}::pulseAlert"


async def test_a_receiver_shows_our_alerts_by_name(tmp_path: Path) -> None:
    services = LocalServices()
    with snmptrapd(tmp_path / "trapd", mibs=MIB) as daemon:
        fields = {"host": "127.0.0.1", "port": daemon.port, "community": "public"}
        channel = SnmpChannel(SnmpConfig.model_validate(fields), services, PluginConfig())
        await channel.send(a_notification(summary="Grüße, 温度 🚨"))
        (arrived,) = await until(daemon.notifications, what="the trap")
    await services.http.close()
    assert set(arrived.values()) >= {f"OID: {NAME}::pulseAlert", "INTEGER: critical(1)", "STRING: pump-7"}
    assert arrived[f"{NAME}::pulseSummary.0"] == "STRING: Grüße, 温度 🚨"
