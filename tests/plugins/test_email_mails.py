"""What stands in a mail, read back as a mail program reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pulse_core.testing.channels import a_notification
from pulse_email.composing import Composer
from support.mail_server import parsed, shown
from support.mailing import BOSS, LOG, OPS, config

if TYPE_CHECKING:
    from email.message import EmailMessage

KNOWN = {
    "subject",
    "from",
    "to",
    "cc",
    "auto-submitted",
    "x-auto-response-suppress",
    "message-id",
    "in-reply-to",
    "references",
    "date",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
}
INJECTIONS = (
    "a\r\nBcc: x@evil.test",
    "a\nBcc: x@evil.test",
    "a\rBcc: x",
    "a\x00b",
    "a\u2028Bcc: x",
    "a\x0bBcc: x",
    "=?utf-8?q?a=0D=0ABcc:?=",
    "=?utf-8?b?YQ0KQmNjOiB4QGV2aWwudGVzdA==?=",
)


def _mail(fields: dict[str, Any] | None = None, **changes: Any) -> EmailMessage:
    return parsed(Composer(config(**(fields or {}))).compose(a_notification(**changes)).content)


def test_the_envelope_of_a_mail() -> None:
    mail = _mail({"from_name": 'Grüße "from" us', "cc": [BOSS], "bcc": [LOG]})
    assert mail["Subject"] == "[MAJOR] NO_HEARTBEAT: pump-7"
    assert mail["From"].addresses[0].display_name == 'Grüße "from" us'
    assert mail["From"].addresses[0].addr_spec == "alerts@example.com"
    assert (mail["To"], mail["Cc"], mail["Bcc"]) == (OPS, BOSS, None)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime.tzinfo is not None
    assert LOG not in str(mail)


@pytest.mark.parametrize(("kind", "types"), [("html", ["text/html"]), ("text", ["text/plain"])])
def test_one_format(kind: str, types: list[str]) -> None:
    assert [part.get_content_type() for part in _mail({"format": kind}).walk()] == types


def test_what_looks_encoded_reads_as_it_is() -> None:
    text = "=?utf-8?q?a=0D=0ABcc:?= =?utf-8?b?YQ0K?="
    mail = _mail({"from_name": text}, device_id=text)
    assert mail["Subject"] == f"[MAJOR] NO_HEARTBEAT: {text}"
    assert mail["From"].addresses[0].display_name == text


def test_both_formats_say_the_same() -> None:
    content = Composer(config()).compose(a_notification(summary="a < b & c", details={"last": {"°C": 4.5}})).content
    assert [part.get_content_type() for part in parsed(content).walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    for subtype in ("plain", "html"):
        text = shown(content, subtype)
        for said in ("MAJOR", "NO_HEARTBEAT", "pump-7", "site-1", "a < b & c", '"°C": 4.5', "2026-01-02T03:04:05Z"):
            assert said in text, (subtype, said)


def test_html_cannot_be_brought_along() -> None:
    attack = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    fields = {"html_template": '<p title="{{ message }}">{message}{{ details }}{{ details.x|replace("a", "<b>") }}</p>'}
    for each in (fields, {}):
        mail = _mail(each, summary=attack, device_id=attack, site_id=attack, alert_type=attack, details={"x": attack})
        (html,) = [part.get_content() for part in mail.walk() if part.get_content_type() == "text/html"]
        assert not re.search(r"<script|<img|<b>", html)
        assert "&lt;script&gt;" in html


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_value_makes_a_header(text: str) -> None:
    mail = _mail(
        {"subject_template": "{message} {device_id} {{ details }}"},
        summary=text,
        device_id=text,
        alert_id=text,
        delivery_id=text,
        details={text: text},
    )
    assert {name.lower() for name in mail.keys()} <= KNOWN  # noqa: SIM118 - a message is no dict
    assert mail["Bcc"] is None
    assert not re.search(r"[\r\n\x00]", str(mail["Subject"]))
    assert re.fullmatch(r"<[\w.-]+@[\w.-]+>", mail["Message-ID"])


@pytest.mark.parametrize("field", ["from_name", "from_address", "subject_template", "user", "password", "host"])
@pytest.mark.parametrize("text", ["a\r\nBcc: x@evil.test", "a\nb@c.test", "a\x00@c.test", "a\u2028@c.test"])
def test_no_configuration_makes_a_header_or_a_command(field: str, text: str) -> None:
    with pytest.raises(ValidationError):
        config(25, **{"user": "u", "password": "passw", field: text})


NO_ADDRESSES = (
    *("", "a", "a@", "@b.test", "a b@c.test", "a@b@c.test", "a@b..test", "<a@b.test>", "a@b.test>", "a@-b.test"),
    *("ä@b.test", "a@b.test,c@d.test", "a@b.test\r\nDATA", '"a"@b.test', "a@[127.0.0.1]", "a" * 65 + "@b.test"),
    *("a.@b.test", "=?utf-8?q?a=0D=0A?=@b.test"),
)


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_addresses_that_are_none(address: str) -> None:
    for fields in ({"to": [address]}, {"cc": [address]}, {"bcc": [address]}, {"from_address": address}):
        with pytest.raises(ValidationError):
            config(**fields)


@pytest.mark.parametrize(
    "address", ["ops+night@sub.example.co.uk", "o'neil@x.test", "a.b-c_d@xn--bcher-kva.example", "a@localhost"]
)
def test_addresses_that_are_some(address: str) -> None:
    assert parsed(Composer(config(to=[address])).compose(a_notification()).content)["To"] == address


def test_how_many_addresses() -> None:
    ten = [f"a{number}@example.com" for number in range(10)]
    assert config(to=ten, cc=ten, bcc=[*ten[:9], BOSS]).recipients == [*ten, BOSS]
    for name, addresses in (("to", []), ("to", [*ten, OPS]), ("cc", [*ten, OPS]), ("bcc", [*ten, OPS])):
        with pytest.raises(ValidationError):
            config(25, **{name: addresses})


def test_user_and_password_go_together() -> None:
    for name in ("user", "password"):
        with pytest.raises(ValidationError, match="go together"):
            config(25, **{name: "only this"})


@pytest.mark.parametrize(("tls", "port"), [("starttls", 587), ("implicit", 465), ("none", 25)])
def test_the_usual_ports(tls: str, port: int) -> None:
    assert config(port=None, tls=tls).server == ("127.0.0.1", port)


def test_retries_have_the_same_id_and_other_deliveries_have_others() -> None:
    composer = Composer(config())
    first, again, other = (
        parsed(composer.compose(a_notification(delivery_id=each)).content)["Message-ID"] for each in ("d1", "d1", "d2")
    )
    assert first == again != other
    assert _mail(delivery_id="d1")["Message-ID"] == first  # another process


def test_closed_answers_open() -> None:
    composer = Composer(config())
    opened = parsed(composer.compose(a_notification(delivery_id="d1")).content)
    closed = parsed(composer.compose(a_notification(event="CLOSED", delivery_id="d2")).content)
    assert closed["In-Reply-To"] == opened["Message-ID"]
    assert opened["Message-ID"] in closed["References"].split()
    assert closed["Subject"] == opened["Subject"]  # some mail programs go by that


def test_mails_of_an_alert_stay_together_over_restarts() -> None:
    opened, closed, repeated = _mail(), _mail(event="CLOSED", delivery_id="d2"), _mail(delivery_id="d3")
    assert opened["References"] == closed["References"] == closed["In-Reply-To"] == repeated["References"]
    assert len({opened["Message-ID"], closed["Message-ID"], repeated["Message-ID"]}) == 3
    assert _mail(alert_id="another")["References"] != opened["References"]


def test_ids_stay_ids_however_long_the_domain() -> None:
    for domain in ("a" * 60 + "." + "b" * 60 + ".example.com", "a" * 60, "example.com"):
        content = Composer(config(from_address=f"x@{domain}")).compose(a_notification(event="CLOSED")).content
        head = content.partition(b"\r\n\r\n")[0].decode("ascii")
        ids = re.findall(r"^(?:Message-ID|References|In-Reply-To): (.*)\r$", head, re.MULTILINE)
        assert len(ids) == 3
        assert all(re.fullmatch(r"<[a-z]\.[0-9A-Za-z-]+@[a-z.]+>", each) for each in ids)


@given(st.text(max_size=3000), st.text(max_size=300))
def test_any_text_makes_a_proper_mail(summary: str, device_id: str) -> None:
    content = Composer(config()).compose(a_notification(summary=summary, device_id=device_id)).content
    assert content.isascii()
    assert b"\x00" not in content
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    parsed(content)
