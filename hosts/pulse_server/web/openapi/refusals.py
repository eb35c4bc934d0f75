"""Which problems (RFC 9457) an operation can answer with, and what each means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_server.problems import CONTENT_TYPE

if TYPE_CHECKING:
    from pulse_server.web.described import Description

MEANING = {
    400: "The body is not JSON, or a header is malformed.",
    401: "Whoever asks is not known: the token, or the key, is missing or not valid.",
    403: "The caller's role does not suffice; or a session's cookie came without its token.",
    404: "There is no such thing, or it is another tenant's.",
    405: "What stands for an id is none, and reads as another path that knows no such method.",
    408: "The body did not come in time.",
    409: "It cannot be done as things are: it exists already, is finished, or has changed.",
    412: "It has changed since it was looked at.",
    413: "The body is too large.",
    415: "The body is not ``application/json``.",
    422: "Fields or parameters are wrong; ``errors`` names each.",
    429: "Too many requests of this kind: try again after ``Retry-After``.",
    503: "The database does not answer; nothing was done. Try again after ``Retry-After``.",
}
_LATER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
_WHO = {"WWW-Authenticate": {"description": "How to say who one is.", "schema": {"type": "string"}}}
_HEADERS = {401: _WHO, 429: _LATER, 503: _LATER}
_OF_BODIES = (400, 408, 413, 415)


def of_operation(method: str, path: str, said: Description, *, key: bool, roles: bool, words: bool) -> set[int]:
    """The statuses of its problems.

    :param key: it wants to know who asks. :param roles: it lets in some of those who are known.
    :param words: its path holds words of the caller's, which may be of characters that cannot be stored.
    """
    names_others = said.body is not None and any(name.endswith("_id") for name in said.body.model_fields)
    changes = method != "GET" and (key or roles)
    found = {
        503: True,
        401: key,
        403: roles or method != "GET",
        404: "{" in path or names_others,
        422: said.query is not None or said.body is not None or changes or words,
        409: changes,
        429: key or roles,
        412: said.on_condition and method != "GET",
        **dict.fromkeys(_OF_BODIES, said.body is not None),
        400: said.body is not None or said.on_condition or (changes and method == "POST"),
    }
    return {status for status, possible in found.items() if possible} | said.refuses


def reference(status: int) -> dict[str, str]:
    """Refer to a problem of :func:`components`."""
    return {"$ref": f"#/components/responses/Problem{status}"}


def components() -> dict[str, Any]:
    """Every problem, once."""
    return {
        f"Problem{status}": {
            "description": meaning,
            "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        }
        for status, meaning in MEANING.items()
    }
