"""What devices and strangers send that is no message: bodies with the reason for which each is refused, and ids."""

from __future__ import annotations

from pulse_core.api import Reason

_HEAD = b'{"site_id":"site-1"'


def _with(rest: bytes) -> bytes:
    return _HEAD + b"," + rest + b"}"


BODIES: dict[str, tuple[bytes, Reason]] = {
    "empty": (b"", Reason.MALFORMED_JSON),
    "blank": (b"  \r\n", Reason.MALFORMED_JSON),
    "not JSON": (b"temperature=21", Reason.MALFORMED_JSON),
    "cut off": (_HEAD, Reason.MALFORMED_JSON),
    "something after": (_HEAD + b"} x", Reason.MALFORMED_JSON),
    "array": (b"[1,2]", Reason.MALFORMED_JSON),
    "string": (b'"hello"', Reason.MALFORMED_JSON),
    "number": (b"42", Reason.MALFORMED_JSON),
    "null": (b"null", Reason.MALFORMED_JSON),
    "byte order mark": (b"\xef\xbb\xbf" + _HEAD + b"}", Reason.MALFORMED_JSON),
    "UTF-16": ('{"site_id":"site-1"}'.encode("utf-16"), Reason.MALFORMED_JSON),
    "not UTF-8": (_with(b'"metrics":{"a":"\xff\xfe"}'), Reason.MALFORMED_JSON),
    "control character": (_with(b'"metrics":{"a":"\x01"}'), Reason.MALFORMED_JSON),
    "NUL byte": (_with(b'"metrics":{"a":"\x00"}'), Reason.MALFORMED_JSON),
    "lone high surrogate": (_with(b'"metrics":{"a":"\\ud800"}'), Reason.MALFORMED_JSON),
    "lone low surrogate": (_with(b'"metrics":{"a":"\\udc00"}'), Reason.MALFORMED_JSON),
    "swapped surrogates": (_with(b'"metrics":{"a":"\\udc00\\ud800"}'), Reason.MALFORMED_JSON),
    "NaN": (_with(b'"metrics":{"a":NaN}'), Reason.MALFORMED_JSON),
    "Infinity": (_with(b'"metrics":{"a":-Infinity}'), Reason.MALFORMED_JSON),
    "huge number": (_with(b'"metrics":{"a":1e999}'), Reason.INVALID_FIELD),
    "huge integer": (_with(b'"metrics":{"a":%s}' % (b"9" * 400)), Reason.INVALID_FIELD),
    "integer over 64 bits": (_with(b'"metrics":{"a":18446744073709551616}'), Reason.INVALID_FIELD),
    "10,000 arrays deep": (_with(b'"x":' + b"[" * 10_000 + b"]" * 10_000), Reason.PAYLOAD_TOO_LARGE),
    "3,000 arrays deep": (_with(b'"x":' + b"[" * 3_000 + b"]" * 3_000), Reason.MALFORMED_JSON),
    "1,300 objects deep": (_with(b'"x":' + b'{"a":' * 1_300 + b"1" + b"}" * 1_300), Reason.MALFORMED_JSON),
    "3,000 levels, never closed": (b"[" * 3_000, Reason.MALFORMED_JSON),
    "escaped NUL in a value": (_with(b'"metrics":{"a":"x\\u0000"}'), Reason.INVALID_FIELD),
    "escaped NUL in a name": (_with(b'"metrics":{"a\\u0000":1}'), Reason.INVALID_FIELD),
    "metrics are an array": (_with(b'"metrics":[1]'), Reason.INVALID_FIELD),
    "metric is null": (_with(b'"metrics":{"a":null}'), Reason.INVALID_FIELD),
    "metric is an object": (_with(b'"metrics":{"a":{"b":1}}'), Reason.INVALID_FIELD),
    "metric without a name": (_with(b'"metrics":{"":1}'), Reason.INVALID_FIELD),
    "metric with a long name": (_with(b'"metrics":{"%s":1}' % (b"a" * 65)), Reason.INVALID_FIELD),
    "metric with an emoji for a name": (_with('"metrics":{"🌡":1}'.encode()), Reason.INVALID_FIELD),
    "65 metrics": (
        _with(b'"metrics":{' + b",".join(b'"m%d":1' % n for n in range(65)) + b"}"),
        Reason.INVALID_FIELD,
    ),
    "site is a number": (b'{"site_id":1}', Reason.INVALID_FIELD),
    "seq is a string": (_with(b'"seq":"1"'), Reason.INVALID_FIELD),
    "seq is a fraction": (_with(b'"seq":1.5'), Reason.INVALID_FIELD),
    "seq over 64 bits": (_with(b'"seq":9223372036854775808'), Reason.INVALID_FIELD),
    "version 2": (_with(b'"version":"2"'), Reason.INVALID_FIELD),
    "ts is not a time": (_with(b'"ts":"yesterday"'), Reason.INVALID_FIELD),
    "ts is empty": (_with(b'"ts":""'), Reason.INVALID_FIELD),
    "ts is an object": (_with(b'"ts":{}'), Reason.INVALID_FIELD),
    "ts has a 13th month": (_with(b'"ts":"2024-13-01T00:00:00Z"'), Reason.INVALID_FIELD),
    "ts of year 0": (_with(b'"ts":"0000-01-01T00:00:00Z"'), Reason.INVALID_FIELD),
    "ts of year 1": (_with(b'"ts":"0001-01-01T00:00:00+14:00"'), Reason.TIMESTAMP_OUT_OF_RANGE),
    "ts of year 9999": (_with(b'"ts":"9999-12-31T23:59:59-14:00"'), Reason.TIMESTAMP_OUT_OF_RANGE),
    "ts of year 10000": (_with(b'"ts":"10000-01-01T00:00:00Z"'), Reason.INVALID_FIELD),
    "ts 0": (_with(b'"ts":0'), Reason.TIMESTAMP_OUT_OF_RANGE),
    "ts before all time": (_with(b'"ts":-9223372036854775808'), Reason.TIMESTAMP_OUT_OF_RANGE),
    "ts after all time": (_with(b'"ts":1e308'), Reason.TIMESTAMP_OUT_OF_RANGE),
    "no site": (b"{}", Reason.MISSING_SITE_ID),
    "empty site": (b'{"site_id":""}', Reason.MISSING_SITE_ID),
    "another site": (b'{"site_id":"site-2"}', Reason.SITE_MISMATCH_REGISTRY_VS_PAYLOAD),
    "another tenant": (_with(b'"tenant_id":"tenant-b"'), Reason.TENANT_MISMATCH_TOPIC_VS_PAYLOAD),
    "another device": (_with(b'"device_id":"device-2"'), Reason.INVALID_FIELD),
    "too large": (_with(b'"x":"%s"' % (b"x" * 9_000)), Reason.PAYLOAD_TOO_LARGE),
}
"""For ``tenant-a/device-1`` at ``site-1``, with MAX_PAYLOAD_BYTES at its default."""

GOOD: dict[str, bytes] = {
    "duplicate keys": b'{"site_id":"site-2","site_id":"site-1","metrics":{"a":1,"a":2}}',
    "unknown keys": b'{"site_id":"site-1","firmware":{"major":[1,2,{"x":null}]}}',
    "emoji": '{"site_id":"site-1","metrics":{"mood":"🙂"}}'.encode(),
    "escaped emoji": b'{"site_id":"site-1","metrics":{"mood":"\\ud83d\\ude42"}}',
    "all kinds of values": b'{"site_id":"site-1","metrics":{"a":1,"b":-1.5e-3,"c":true,"d":"x"},"version":"1"}',
    "white space": b' \r\n\t{ "site_id" : "site-1" } \n',
    "900 arrays deep, in a key we do not read": b'{"site_id":"site-1","x":' + b"[" * 900 + b"]" * 900 + b"}",
}
"""Odd, and right."""

IDS: dict[str, str] = {
    "slash": "a/b",
    "space": "a b",
    "newline": "a\nb",
    "trailing newline": "device-1\n",
    "NUL": "a\0b",
    "emoji": "🙂",
    "wildcard": "+",
    "percent": "%",
    "dots and slashes": "../../etc/passwd",
    "quote": "a'b\"c",
    "129 characters": "a" * 129,
    "10,000 characters": "a" * 10_000,
}
"""Ids that no device has. Percent-encode them for a path."""
