"""Texts that would like to be more than text, put wherever the database holds one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from support import lived_in
from support.batches import judged

if TYPE_CHECKING:
    import psycopg

    from support.database import Database

PRODUCT: Final = "79101"
"""What the templates among the texts come to, if anybody computes them."""
TEXTS: Final = {
    "script": "<script data-owned>window.owned=1;document.title='OWNED'</script>",
    "image": '<img data-owned src=x onerror="window.owned=1;alert(1)">',
    "svg": "<svg data-owned onload=window.owned=1><animate onbegin=alert(1) attributeName=x></svg>",
    "double quote": '" data-owned onmouseover="window.owned=1" autofocus onfocus="window.owned=1',
    "single quote": "' data-owned onmouseover='window.owned=1' autofocus onfocus='window.owned=1",
    "no quote": "x data-owned onmouseover=window.owned=1 ",
    "ends": "</title></textarea></select></option></script></style></template><b data-owned>bold</b>",
    "comment": "--><b data-owned>bold</b><!--",
    "cdata": "]]><b data-owned>bold</b><![CDATA[",
    "json": "\"}]}'</script><script data-owned>window.owned=1</script>\\u003cb data-owned>",
    "entities": "&lt;b data-owned&gt;&#60;b data-owned&#62;&quot; data-owned",
    "template": "{{ 7191 * 11 }}{% if 1 %}${7191*11}#{7191*11}<%= 7191*11 %>{{''.__class__}}",
    "htmx": '<b data-owned hx-on:load="window.owned=1" hx-get="/owned" hx-trigger="load" hx-vals="js:{a:owned=1}">',
    "frame": '<iframe data-owned srcdoc="<script>top.owned=1</script>"></iframe><base data-owned href=//x.example>',
    "form": '</form><form data-owned action="//x.example"><input data-owned name=csrf_token>',
    "style": "<style data-owned>*{display:none}</style><link data-owned rel=stylesheet href=//x.example>",
    "unicode": "\u212a\uff1cscript\uff1e \u2028\u2029 \u00e9 \u6f22\u5b57 \U0001f3ed \ufeff\u0130",
    "directions": "\u202egnp.exe\u202c \u200f\u2066\u05d0\u05d1",
    "control": "\t\n\x01\x1b[31m\x7f",
}
ADDRESSES: Final = "javascript:window.owned=1//<b data-owned>"
LONG: Final = "W" * 1000
NUL: Final = "a\x00b"
"""PostgreSQL holds no such text: whoever brings it is refused."""
ROUNDS: Final = {
    "all at once": "".join(TEXTS.values()),
    "quote first": TEXTS["double quote"] + TEXTS["single quote"],
    "address": ADDRESSES,
    "long": LONG,
}
"""What stands in every place at the same time."""
ODD_IDS: Final = ("javascript:owned.1", "W" * 128, "-", "new", "a:b.c_d")
"""Device ids that the rules for ids allow."""

PLACES: Final[dict[str, tuple[str, ...]]] = {
    "alert_changes": ("actor", "note", "decisions"),
    "alerts": ("alert_type", "summary", "details", "site_id"),
    "api_tokens": ("name", "created_by"),
    "audit_log": ("actor", "action", "resource", "address", "request_id", "agent", "details"),
    "breakers": ("last_error",),
    "browser_sessions": ("email", "address", "agent"),
    "deliveries": ("notification", "last_error", "leased_by"),
    "delivery_attempts": ("detail", "receipt", "address", "tls"),
    "device_commands": ("payload", "created_by", "way"),
    "device_connections": ("source", "protocol", "address", "client_id", "reason", "detail"),
    "device_state": ("source",),
    "devices": ("name", "labels"),
    "integration_routes": ("name", "alert_types", "site_ids", "device_prefixes"),
    "integrations": ("name", "disabled_reason", "config"),
    "metric_catalogue": ("unit", "description", "updated_by"),
    "quarantine": ("source", "reason", "detail", "device_id", "topic", "payload"),
    "settings": ("updated_by",),
    "telemetry": ("msg_type", "site_id", "metrics"),
    "telemetry_exports": ("devices", "sites", "metrics", "error", "created_by"),
    "telemetry_hours": ("metrics", "others"),
    "tenants": ("name",),
    "users": ("email", "created_by"),
}
"""Columns that hold what somebody wrote; JSON in all of its texts, and names."""
WORDS: Final[dict[str, tuple[str, ...]]] = {
    "alert_changes": ("event",),
    "alerts": ("device_id", "fingerprint", "status"),
    "activation_codes": ("device_id",),
    "api_tokens": ("role", "scopes"),
    "audit_log": ("written_by",),
    "browser_sessions": ("provider", "subject", "role"),
    "deliveries": ("event", "cause", "status"),
    "delivery_attempts": ("outcome",),
    "device_commands": ("device_id", "name", "status"),
    "device_connections": ("device_id", "event"),
    "device_labels": ("device_id", "name", "value"),
    "device_sessions": ("device_id", "client_id", "subscriptions"),
    "device_state": ("device_id", "status", "memory", "wake"),
    "devices": ("device_id", "site_id"),
    "integration_routes": ("deliver_on", "severities"),
    "integrations": ("type", "retry"),
    "metric_catalogue": ("name",),
    "quarantine_counts": ("reason",),
    "readers": ("name", "created_by"),
    "request_keys": ("subject", "key"),
    "settings": ("name", "value"),
    "signing_keys": ("kid",),
    "telemetry": ("device_id",),
    "telemetry_exports": ("format", "status", "place"),
    "telemetry_hours": ("device_id",),
    "telemetry_marks": ("device_id",),
    "tenants": ("status", "stale_on_disconnect"),
    "users": ("username", "role", "password_hash"),
}
"""Columns that hold words of ours, ids that have a form, or what no page shows."""
_WITH_NAMES: Final = {"details", "labels", "metrics", "payload"}
"""JSON in which names are other people's, too."""
_COLUMNS = """
    SELECT c.table_name::text, c.column_name::text, c.data_type::text FROM information_schema.columns c
    JOIN pg_class t ON t.relname = c.table_name AND t.relnamespace = 'public'::regnamespace
    WHERE c.table_schema = 'public' AND t.relkind IN ('r', 'p') AND NOT t.relispartition
      AND c.column_name <> 'tenant_id' AND c.data_type IN ('text', 'json', 'jsonb', 'ARRAY')
      AND c.table_name NOT LIKE '%%yoyo%%'
"""


def columns(database: Database) -> dict[tuple[str, str], str]:
    """Every column that can hold text, and its type."""
    return {(table, column): kind for table, column, kind in judged(database, _COLUMNS)}


def add_odd_devices(database: Database) -> None:
    """Devices whose ids are as odd as the rules allow."""
    with database.superuser() as hand:
        for device_id in ODD_IDS:
            row = (lived_in.TENANT, device_id)
            hand.execute("INSERT INTO devices (tenant_id, device_id, site_id) VALUES (%s, %s, 's')", row)


def poison(database: Database, text: str) -> None:
    """Put ``text`` into every one of :data:`PLACES`."""
    kinds = columns(database)
    with database.superuser() as hand, hand.transaction():
        for table, names in PLACES.items():
            for name in names:
                _poison(hand, table, name, kinds[table, name], text)


def _poison(hand: psycopg.Connection[Any], table: str, name: str, kind: str, text: str) -> None:
    if kind == "text":
        hand.execute(f"UPDATE {table} SET {name} = %s WHERE {name} IS NOT NULL", (text,))
    elif kind == "ARRAY":
        hand.execute(f"UPDATE {table} SET {name} = %s", ([text],))
    else:
        for place, value in hand.execute(f"SELECT DISTINCT {name}::text, {name}::text FROM {table}").fetchall():
            found = poisoned(json.loads(value or "null"), text, with_names=name in _WITH_NAMES)
            written = (json.dumps(found), place)
            hand.execute(f"UPDATE {table} SET {name} = %s::{kind} WHERE {name}::text = %s", written)


def poisoned(value: Any, text: str, *, with_names: bool) -> Any:
    """JSON with each of its texts replaced, but ids; or, ``with_names``, by one that has ``text`` for a name, too."""
    if isinstance(value, dict) and with_names:
        return {**{name: each for name, each in value.items() if isinstance(each, int | float)}, text: text}
    if isinstance(value, dict):
        return {name: poisoned(each, text, with_names=False) for name, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, text, with_names=False) for each in value]
    return text if isinstance(value, str) and not _is_id(value) else value


def _is_id(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4
