"""Mail, MQTT and SNMP, and peers that refuse, break off or fall silent: what one attempt makes of it."""

from __future__ import annotations

import base64
import socket

import pytest

from support.fake_broker import CONNECT, PUBLISH, PUBREL
from support.faults import DEAD, DELIVERED, RETRYING, Bench, Fault
from support.mail_script import HANG_UP, SILENCE
from support.rude_peers import (
    PASSWORD,
    gone,
    mail,
    mail_fields,
    mail_over_tls,
    mqtt,
    mqtt_fields,
    mqtt_over_tls,
    mute,
    secure_fields,
    snmp,
    snmp_fields,
    trap_fields,
)

WRONG = "wr0ng-passw0rd"
NO_CERT = "the certificate is not accepted:"
OUTCOMES = {"421 4.3.2 closing": RETRYING, "450 4.2.1 busy": RETRYING, "550 5.7.1 never": DEAD}
STEPS = ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "content")
ECHO = base64.b64encode(f"\0pulse\0{PASSWORD}".encode()).decode()
LATE, NO_TLS = "no answer within 2 s", "250-mail.test\r\n250 AUTH PLAIN"
MAIL = [
    *(
        Fault(f"{says} to {step}", mail(**{step: says}), status, says, heard=step == "content")
        for step in STEPS
        for says, status in OUTCOMES.items()
    ),
    *(
        Fault(f"hang-up at {step}", mail(**{step: HANG_UP}), RETRYING, "ended the conn", heard=False)
        for step in STEPS[:5]
    ),
    Fault("hang-up after the content", mail(content=HANG_UP), RETRYING, "the server ended the connection"),
    Fault("refused", gone(mail_fields), RETRYING, "connection refused", heard=False),
    Fault("silent from the start", mail(greeting=SILENCE), RETRYING, LATE, heard=False, slow=True),
    Fault("silent after the content", mail(content=SILENCE), RETRYING, LATE, slow=True),
    Fault("wrong password", mail(AUTH="535 5.7.8 no"), DEAD, "login: 535 5.7.8", heard=False),
    Fault("login repeated", mail(AUTH=f"535 no to {ECHO}, {PASSWORD}"), DEAD, "login: 535", heard=False),
    Fault("login later", mail(AUTH="454 4.7.0 later"), RETRYING, "login: 454", heard=False),
    Fault("STARTTLS not offered", mail(tls="starttls", EHLO=NO_TLS), DEAD, "not offer STARTTLS", heard=False),
    Fault("STARTTLS 454", mail(tls="starttls", STARTTLS="454 4.7.0 no"), RETRYING, "STARTTLS: 454", heard=False),
    Fault("STARTTLS 554", mail(tls="starttls", STARTTLS="554 5.7.3 no"), DEAD, "STARTTLS: 554", heard=False),
    Fault("STARTTLS hangs up", mail(tls="starttls", STARTTLS=HANG_UP), RETRYING, "ended the conn", heard=False),
    Fault("STARTTLS silent", mail(tls="starttls", STARTTLS=SILENCE), RETRYING, LATE, heard=False, slow=True),
    Fault("STARTTLS, then silence", mail(tls="starttls"), RETRYING, LATE, heard=False, slow=True),
    *(
        Fault(
            f"{tls}, certificate of {name}", mail_over_tls(name, tls, days), RETRYING, f"{NO_CERT} {says}", heard=False
        )
        for tls in ("starttls", "implicit")
        for name, days, says in (("other.example", 1, "Hostname mismatch"), ("mail.example", -2, "certificate has exp"))
    ),
]

OLD, TWICE = {"protocol": "3.1.1"}, {"qos": 2}
MQTT = [
    Fault("refused", gone(mqtt_fields), RETRYING, "connection refused", heard=False),
    Fault("not authorised", mqtt(greeting=0x87), DEAD, "not authorised (0x87)", heard=False),
    Fault("not authorised, 3.1.1", mqtt(fields=OLD, greeting=5), DEAD, "not authorised", heard=False),
    Fault("wrong password", mqtt(greeting=0x86), DEAD, "wrong user name or password", heard=False),
    Fault("wrong password, 3.1.1", mqtt(fields=OLD, greeting=4), DEAD, "wrong user name or password", heard=False),
    Fault("unavailable", mqtt(greeting=0x88), RETRYING, "the server is unavailable", heard=False),
    Fault("unavailable, 3.1.1", mqtt(fields=OLD, greeting=3), RETRYING, "the server is unavailable", heard=False),
    Fault("silent to CONNECT", mqtt(greeting=None), RETRYING, LATE, heard=False, slow=True),
    Fault("dropped before CONNACK", mqtt(cut=CONNECT), RETRYING, "the broker ended the connection", heard=False),
    Fault("dropped before PUBACK", mqtt(cut=PUBLISH), RETRYING, "the broker ended the connection"),
    Fault("dropped before PUBACK, 3.1.1", mqtt(fields=OLD, cut=PUBLISH), RETRYING, "the broker ended the connection"),
    Fault("dropped before PUBREC", mqtt(fields=TWICE, cut=PUBLISH), RETRYING, "the broker ended the connection"),
    Fault("dropped before PUBCOMP", mqtt(fields=TWICE, cut=PUBREL), RETRYING, "the broker ended the connection"),
    Fault("silent to PUBLISH", mqtt(mood="silent"), RETRYING, LATE, slow=True),
    Fault("silent to PUBLISH, QoS 0", mqtt(fields={"qos": 0}, mood="silent"), DELIVERED, "sent, not acknowledged"),
    Fault("PUBACK: not authorised", mqtt(mood="permanent"), DEAD, "publishing: not authorised (0x87)"),
    Fault("PUBACK: over quota", mqtt(mood="temporary"), RETRYING, "publishing: a quota is used up (0x97)"),
    Fault("shuts down", mqtt(goodbye=0x8B), RETRYING, "the server shuts down (0x8B)"),
    Fault("a certificate for another", mqtt_over_tls("other.example"), RETRYING, f"{NO_CERT} Hostname", heard=False),
    Fault("an expired certificate", mqtt_over_tls("broker.example", -2), RETRYING, f"{NO_CERT} cert", heard=False),
]

NOBODY = "no answer within 1 s: nobody is there, or the"
SNMP = [
    Fault("refused", gone(snmp_fields, socket.SOCK_DGRAM), RETRYING, "nobody listens there", heard=False),
    Fault("trap refused", gone(trap_fields, socket.SOCK_DGRAM), RETRYING, "nobody listens there", heard=False),
    Fault("silent", mute(), RETRYING, f"{NOBODY} community is wrong", slow=True),
    Fault("silent, version 3", mute(secure_fields), RETRYING, NOBODY, heard=False, slow=True),
    Fault("silent to a trap", mute(trap_fields), DELIVERED, "a trap has no receipt"),
    Fault("another community", snmp(community="an0ther"), RETRYING, f"{NOBODY} community", heard=False, slow=True),
    Fault("genErr", snmp("temporary"), RETRYING, "genErr (5)"),
    Fault("authorizationError", snmp("permanent"), DEAD, "authorizationError (16)"),
    Fault("unknown user", snmp("ok", secure_fields, user="nobody"), DEAD, "does not know the user", heard=False),
    Fault("wrong password", snmp("ok", secure_fields, auth_password=WRONG), DEAD, "auth_password or", heard=False),
]


@pytest.mark.parametrize("fault", MAIL, ids=str)
async def test_a_mail_server_that_fails(bench: Bench, fault: Fault) -> None:
    async with fault.peer(bench) as peer:
        await bench.meet(fault, "email", peer)


@pytest.mark.parametrize("length", [280, 930, 990])
@pytest.mark.parametrize("echo", [PASSWORD, ECHO])
async def test_a_password_is_not_told_in_part_either(bench: Bench, length: int, echo: str) -> None:
    fault = Fault("535", mail(AUTH=f"535 {'x' * length} {echo}"), DEAD, "login: 535", heard=False)
    async with fault.peer(bench) as peer:
        await bench.meet(fault, "email", peer)
    assert echo[:8] not in bench.written()


@pytest.mark.parametrize("fault", MQTT, ids=str)
async def test_a_broker_that_fails(bench: Bench, fault: Fault) -> None:
    async with fault.peer(bench) as peer:
        await bench.meet(fault, "mqtt", peer)


@pytest.mark.parametrize("fault", SNMP, ids=str)
async def test_a_manager_that_fails(bench: Bench, fault: Fault) -> None:
    async with fault.peer(bench) as peer:
        await bench.meet(fault, "snmp", peer)
