"""Asking the provider: one JSON object, or a failure that says whose fault it is and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pulse_core.api import PermanentFailure, TemporaryFailure, json_object, origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import HttpAnswer, HttpClient

TIMEOUT_S = 10.0
_OK = 200


async def fetched(http: HttpClient, url: str) -> dict[str, Any]:
    """Get a document. Raises TemporaryFailure: it cannot be had, or is none; redirects are not followed."""
    answer = await asked(http, "GET", url)
    if answer.status != _OK:
        raise TemporaryFailure(f"{origin(url)} answers HTTP {answer.status} where a document should be")
    return the_object(answer, url)


async def posted(http: HttpClient, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
    """Post a form. Raises TemporaryFailure: there is no answer."""
    content = urlencode(form).encode("ascii")
    sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    return await asked(http, "POST", url, headers=sent, content=content)


async def asked(http: HttpClient, method: str, url: str, **request: Any) -> HttpAnswer:
    """Make a request. Whatever stands in its way may be gone tomorrow, the guard's refusal too: TemporaryFailure."""
    headers = {"Accept": "application/json", **request.pop("headers", {})}
    try:
        return await http.request(method, url, headers=headers, timeout_s=TIMEOUT_S, **request)
    except PermanentFailure as error:
        raise TemporaryFailure(str(error)) from error


def the_object(answer: HttpAnswer, url: str) -> dict[str, Any]:
    """The JSON object of an answer. Raises TemporaryFailure."""
    found = None if answer.truncated else json_object(answer.body)
    if found is None:
        raise TemporaryFailure(f"{origin(url)} answers HTTP {answer.status} with something else than a JSON object")
    return found
