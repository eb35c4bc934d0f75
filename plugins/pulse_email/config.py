"""What a customer fills in for mails, and what the operator may set."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator

from pulse_core.api import Field, IntegrationConfig, PluginConfig, SecretStr, field_validator, model_validator
from pulse_email.templates import LONGEST_TEMPLATE, template

DEFAULT_SUBJECT = "[{severity}] {alert_type}: {device_id}"
_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@([A-Za-z0-9.-]+)")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_HOST = re.compile(r"[\w.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_LONGEST_LOCAL_PART = 64
_MOST_ADDRESSES = 10
_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*")


def _address(text: str) -> str:
    """Take an address whose every character is harmless in a command and in a header (RFC 5321, 4.1.2)."""
    match = _ADDRESS.fullmatch(text)
    if match is None or "=?" in text or text.index("@") > _LONGEST_LOCAL_PART:
        raise ValueError("an address like ops@example.com is needed, in plain ASCII")
    if not all(_LABEL.fullmatch(label) for label in match[2].split(".")):
        raise ValueError("the part after the @ is not a domain")
    return text


def _one_line(text: str) -> str:
    if not _LINE.fullmatch(text):
        raise ValueError("one line without control characters, please")
    return text


Address = Annotated[str, AfterValidator(_address), Field(max_length=254, json_schema_extra={"format": "email"})]


class EmailConfig(IntegrationConfig):
    """Mails through an SMTP server of yours."""

    host: str = Field(min_length=1, max_length=253)
    """The SMTP server, as smtp.example.com."""
    port: int | None = Field(None, ge=1, le=65535)
    """Its port. Left empty: 587 for starttls, 465 for implicit, 25 for none."""
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    """starttls: begin in the clear and insist on TLS before anything is said. implicit: TLS from the first byte.
    none: nothing is encrypted, neither the mail nor the password."""
    user: str | None = Field(None, min_length=1, max_length=320)
    """The user to log in as. Left empty: no login."""
    password: SecretStr | None = Field(None, min_length=1, max_length=1024)
    """The password that goes with the user. Many providers want an app password here."""
    from_address: Address
    """Whom the mails come from. The server must be willing to send for this address."""
    from_name: Annotated[str, AfterValidator(_one_line)] = Field("OpsConductor-Pulse", max_length=100)
    """The name beside that address."""
    to: list[Address] = Field(min_length=1, max_length=_MOST_ADDRESSES)
    """Whom to tell: 1 to 10 addresses."""
    cc: list[Address] = Field([], max_length=_MOST_ADDRESSES)
    """Who gets a copy: up to 10 addresses."""
    bcc: list[Address] = Field([], max_length=_MOST_ADDRESSES)
    """Who gets a copy unseen by the others: up to 10 addresses."""
    format: Literal["html", "text", "both"] = "both"
    """What the mail holds: HTML, plain text, or both, of which each reader's program shows the better."""
    subject_template: Annotated[str, AfterValidator(_one_line)] = Field(DEFAULT_SUBJECT, min_length=1, max_length=500)
    """The subject. Variables, as {device_id} or {{ device_id }}: severity, severity_lower, alert_type, device_id,
    site_id, tenant_id, alert_id, message, timestamp, event, details."""
    html_template: str | None = Field(None, max_length=LONGEST_TEMPLATE)
    """The HTML body, with the same variables, which are escaped. Left empty: ours."""
    text_template: str | None = Field(None, max_length=LONGEST_TEMPLATE)
    """The plain text body, with the same variables. Left empty: ours."""

    @field_validator("host")
    @classmethod
    def _a_host(cls, host: str) -> str:
        if not _HOST.fullmatch(host):
            raise ValueError("a host name like smtp.example.com is needed, without a scheme or a port")
        return host

    @field_validator("user", "password")
    @classmethod
    def _sayable(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is not None and not _LINE.fullmatch(text):
            raise ValueError("one line without control characters, please")
        return value

    @field_validator("subject_template", "html_template", "text_template")
    @classmethod
    def _renders(cls, source: str | None, info: object) -> str | None:
        if source is not None:
            template(source, html=getattr(info, "field_name", "") == "html_template")
        return source

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together: fill in both, or neither")
        return self

    @property
    def server(self) -> tuple[str, int]:
        """Host and port to connect to."""
        return self.host, self.port or _PORTS[self.tls]

    @property
    def recipients(self) -> list[str]:
        """Everybody the mail goes to, each once."""
        return list(dict.fromkeys([*self.to, *self.cc, *self.bcc]))


class EmailOptions(PluginConfig):
    """For the operator: how this installation introduces itself to mail servers."""

    ehlo_name: str = Field("", max_length=253, pattern=r"^[A-Za-z0-9.-]*$")
    """The full host name to say in EHLO. Left empty: the address that the connection comes from."""
