"""The bytes of a mail (RFC 5322, RFC 2045, RFC 2047). Pure.

``EmailMessage`` is not used for writing: it decodes encoded words in the texts it is given, so that
``=?utf-8?q?a=0D=0ABcc:?=`` in a device's name becomes a header of its own, and it takes several times as long as
everything else that happens to a mail on its way out.
"""

from __future__ import annotations

import base64
from email.header import Header
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST_LINE = 990
"""RFC 5322 allows 998 octets."""
_LINE_LENGTH = 76


def text_header(name: str, text: str) -> str:
    """Return a header that reads ``text`` (one line), folded and encoded, with its line end."""
    return f"{name}: {_words(text, len(name) + 2)}\r\n"


def addresses_header(name: str, addresses: Iterable[str]) -> str:
    """Return a header of plain addresses, one a line."""
    joined = ",\r\n ".join(addresses)
    return f"{name}: {joined}\r\n"


def sender_header(display_name: str, address: str) -> str:
    """Return the From header of a name (one line) and a plain address."""
    if not display_name:
        return f"From: {address}\r\n"
    if _plain(display_name):
        escaped = display_name.replace("\\", "\\\\").replace('"', '\\"')
        return f'From: "{escaped}"\r\n <{address}>\r\n'
    return f"From: {_words(display_name, len('From: '))}\r\n <{address}>\r\n"


def _words(text: str, indent: int) -> str:
    """Fold a text, in encoded words if it is not plain: what looks like an encoded word has to be one."""
    charset = "us-ascii" if _plain(text) else "utf-8"
    return Header(text, charset, maxlinelen=_LINE_LENGTH, header_name="x" * (indent - 2)).encode(linesep="\r\n")


def _plain(text: str) -> bool:
    return text.isascii() and "=?" not in text


def message(headers: str, bodies: Mapping[str, str], boundary: str) -> bytes:
    """Return a mail with ``bodies`` by subtype of text, the plainest first; all of it ASCII.

    :param headers: each with its line end.
    :param boundary: something that stands in no body.
    """
    parts = [_part(subtype, text) for subtype, text in bodies.items()]
    start = f"{headers}MIME-Version: 1.0\r\n".encode("ascii")
    if len(parts) == 1:
        return start + parts[0]
    mark = boundary.encode("ascii")
    inner = b"".join(b"--%b\r\n%b\r\n" % (mark, part) for part in parts)
    return start + b'Content-Type: multipart/alternative; boundary="%b"\r\n\r\n%b--%b--\r\n' % (mark, inner, mark)


def clean(text: str) -> str:
    """Take out what no mail may hold: control characters, and halves of characters. Only line feeds end lines then."""
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    return "".join(character if character >= " " or character in "\n\t" else " " for character in text)


def one_line(text: str, longest: int) -> str:
    """Make one line of printable characters: what is left can neither end a header nor change how it reads."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _part(subtype: str, text: str) -> bytes:
    """Return a body with its headers. It travels as it is if every server can take that, in base64 otherwise."""
    text = clean(text).rstrip("\n") + "\n"
    if text.isascii() and max(map(len, text.split("\n"))) <= _LONGEST_LINE:
        encoding, content = "7bit", text.encode("ascii")
    else:
        encoding, content = "base64", base64.encodebytes(text.encode("utf-8"))
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    return head.encode("ascii") + content.replace(b"\n", b"\r\n")
