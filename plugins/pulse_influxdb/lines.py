"""Line protocol (docs.influxdata.com, "Line protocol"): one line is one point, whatever its values hold."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from pulse_influxdb.names import DAY_US, forgotten_on, kept_word, readings_of, word
from pulse_influxdb.packed import packed, shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import Reading

_TAG_SIGNS = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_table_of = lru_cache(maxsize=400)(readings_of)
_TEXT_SIGNS = str.maketrans({'"': r"\"", "\\": r"\\"})


def line(table: str, tags: Mapping[str, str], fields: Mapping[str, str | int], time_ns: int) -> str:
    """A point. Line protocol knows no escape for some signs in tags (the end of a line, a backslash at the end): give
    :func:`~pulse_influxdb.names.word` there.

    :param fields: texts and 64-bit integers.
    """
    series = ",".join([_tag(table), *(f"{_tag(name)}={_tag(value)}" for name, value in tags.items())])
    values = ",".join(f"{_tag(name)}={_field(value)}" for name, value in fields.items())
    return f"{series} {values} {time_ns}"


def reading_line(reading: Reading, written_us: int) -> str:
    """A reading as a point. Its tags and its time are its key: the same reading again is the same point.

    :param written_us: the store's clock: what was forgotten is told from what came later by it.
    :raises NotStorableError: it holds what cannot be kept.
    """
    metrics = msgspec.json.decode(reading.metrics_json)
    tenant, device = kept_word(reading.device.tenant_id), kept_word(reading.device.device_id)
    table, key_hash = _table_of(reading.ts_us // DAY_US), sortable(reading.key_hash)
    # All of these are words, which need no escape; a line is made for every reading, so none is looked for.
    return (
        f"{table},tenant_id={tenant},device_id={device},key_hash={key_hash} "
        f"received_us={reading.received_us}i,written_us={written_us}i,"
        f'msg_type="{kept_word(reading.msg_type)}",site_id="{kept_word(reading.site_id)}",'
        f'seq="{"" if reading.seq is None else reading.seq}",shape="{shape(metrics)}",metrics="{packed(metrics)}" '
        f"{reading.ts_us * 1000}"
    )


def forgotten_line(tenant_id: str, device: str, now_us: int) -> str:
    """A mark: what was written of a device until now is not there any more.

    :param device: its id as a word, or what stands for all of the tenant.
    """
    tags = {"tenant_id": word(tenant_id), "device_id": device}
    return line(forgotten_on(now_us // DAY_US), tags, {"until_us": now_us}, now_us * 1000)


def sortable(key_hash: int) -> str:
    """A signed 64-bit number as 16 digits that sort as it does."""
    return f"{key_hash + 2**63:016x}"


def hash_of(digits: str) -> int:
    """What :func:`sortable` was made of."""
    return int(digits, 16) - 2**63


def _tag(text: str) -> str:
    return text.translate(_TAG_SIGNS)


def _field(value: str | int) -> str:
    return f'"{value.translate(_TEXT_SIGNS)}"' if isinstance(value, str) else f"{value}i"
