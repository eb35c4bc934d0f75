"""Requests on condition (RFC 9110, section 13): the ETag of what people edit, If-Match, If-None-Match.

An object counts its edits: its ``revision``. A route that answers with one calls :func:`versioned`; one that edits
hands :func:`wanted_revisions` to its store as ``only_if``, which compares where nobody else can change the object
(:func:`pulse_postgres.revisions.demand_revision`) and raises Stale: 412.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import msgspec
from quart import Response, request

from pulse_server.web.bodies import Problem
from pulse_server.web.replies import reply

if TYPE_CHECKING:
    from collections.abc import Mapping

_TAG = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
_ONE = re.compile(_TAG)
_LIST = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")


def versioned(
    value: Mapping[str, Any],
    status: int = 200,
    *,
    revision: object = None,
    living: bool = False,
    once: Mapping[str, Any] | None = None,
) -> Response:
    """Answer with an object and its ETag; 304 to a GET whose If-None-Match names it.

    :param revision: of the object; None: ``value["revision"]``.
    :param living: there is more in ``value`` than what is edited (health, status): that changes the ETag too, but not
        what If-Match compares.
    :param once: what this answer alone says besides, as a password that was made up: no part of the object.
    """
    tag = str(value["revision"] if revision is None else revision)
    if living:
        tag += f".{hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:12]}"
    known = request.method in {"GET", "HEAD"} and _is_known(tag)
    response = Response(status=304) if known else reply({**value, **(once or {})}, status)
    response.headers["ETag"] = f'"{tag}"'
    return response


def wanted_revisions() -> frozenset[str] | None:
    """The revisions that If-Match names, for a store's ``only_if``; None: whichever (it is absent, or ``*``).

    A revision that stands in a list may be written by itself: ``If-Match: "7"``. Raises Problem (400): it is malformed.
    """
    tags = _named("If-Match")
    # Weak ones never match (section 13.1.1).
    return None if tags is None else frozenset(tag.partition(".")[0] for weak, tag in tags if not weak)


def _is_known(tag: str) -> bool:
    if request.headers.get("If-None-Match", "").strip() == "*":
        return True
    return any(known == tag for _, known in _named("If-None-Match") or ())


def _named(header: str) -> list[tuple[str, str]] | None:
    """The entity tags in a header, each with its mark of weakness; None when it is absent, or ``*``."""
    given = request.headers.getlist(header)
    text = ", ".join(given).strip()
    if not given or text == "*":
        return None
    if not _LIST.fullmatch(text):
        raise Problem(400, f'{header}: write * or entity tags in quotes, as {header}: "7"')
    return [(found[1] or "", found[2]) for found in _ONE.finditer(text)]
