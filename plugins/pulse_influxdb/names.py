"""What databases and tables are called, and words that may stand anywhere in line protocol and SQL."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from functools import lru_cache

DAY_US = 86_400 * 1_000_000
LONGEST_DATABASE = 64
"""InfluxDB 3 takes no longer name of a database."""

_KEPT = re.compile(r"[A-Za-z0-9_-]+")
_HASHED = re.compile(r".*-x[0-9a-f]{20}")
_TABLE = re.compile(r"(readings|forgotten)_(\d{4})(\d\d)(\d\d)", re.ASCII)
_EPOCH = dt.date(1970, 1, 1)
_SIGNS = re.compile(r"""[\x00-\x20\x7f-\x9f"'%,;=\\\u2028\u2029\ud800-\udfff]""")
_SIGN = re.compile(r"%([0-9a-f]{1,4})\.")
_EMPTY = "%."


def database_of(prefix: str, tenant_id: str) -> str:
    """The name of a tenant's database: no two tenants have the same.

    Names that InfluxDB takes stay as they are. Of others (with a dot or a colon, too long) what it takes is kept to be
    recognised by, and a hash tells them apart; whatever looks like such a name is treated in the same way.
    """
    room = LONGEST_DATABASE - len(prefix)
    if _KEPT.fullmatch(tenant_id) and len(tenant_id) <= room and not _HASHED.fullmatch(tenant_id):
        return prefix + tenant_id
    mark = "-x" + hashlib.sha256(tenant_id.encode("utf-8", "surrogatepass")).hexdigest()[:20]
    return prefix + re.sub(r"[^A-Za-z0-9_-]", "-", tenant_id)[: room - len(mark)] + mark


def readings_of(day: int) -> str:
    """The table of a day's readings, as ``readings_20260131``; ``day`` counts from the epoch."""
    return f"readings_{_date(day)}"


def forgotten_on(day: int) -> str:
    """The table of what was forgotten on a day."""
    return f"forgotten_{_date(day)}"


def days_of(tables: list[str], kind: str) -> list[int]:
    """The days of which there is a table of a kind (``readings``, ``forgotten``), in order."""
    found = (_TABLE.fullmatch(table) for table in tables)
    dates = (dt.date(int(each[2]), int(each[3]), int(each[4])) for each in found if each and each[1] == kind)
    return sorted((date - _EPOCH).days for date in dates)


def word(text: str) -> str:
    """A text without a sign that means something in line protocol, in SQL or in a list of ours; never empty.

    Whatever else may stand in it, a quote, a comma, a backslash, a space or the end of a line does not. Texts of
    letters, digits and ``_.:-`` stay as they are, and so does their order.
    """
    return _SIGNS.sub(lambda sign: f"%{ord(sign[0]):x}.", text) or _EMPTY


kept_word = lru_cache(maxsize=20_000)(word)
"""The same, for names and ids, which come again and again."""


def text_of(said: str) -> str:
    """What :func:`word` was made of."""
    if "%" not in said:
        return said
    return "" if said == _EMPTY else _SIGN.sub(lambda sign: chr(int(sign[1], 16)), said)


def _date(day: int) -> str:
    return f"{_EPOCH + dt.timedelta(days=day):%Y%m%d}"
