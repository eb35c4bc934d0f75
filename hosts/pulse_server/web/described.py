"""What a route takes and answers, said where it is written: the OpenAPI document is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from quart_schema import document_querystring, document_request, document_response, hide

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

RouteT = TypeVar("RouteT", bound="Callable[..., object]")


def described(
    answer: type[BaseModel] | None = None,
    *,
    query: type[BaseModel] | None = None,
    body: type[BaseModel] | None = None,
    status: int = 200,
    also: dict[int, type[BaseModel]] | None = None,
) -> Callable[[RouteT], RouteT]:
    """Say of a route what it answers (with ``status``; None: nothing) and takes. Checks nothing: the route does.

    :param also: other successes and their answers.
    """

    def describe(route: RouteT) -> RouteT:
        if query is not None:
            document_querystring(query)(route)
        if body is not None:
            document_request(body)(route)
        for code, model in {**({} if answer is None else {status: answer}), **(also or {})}.items():
            document_response(model, code)(route)
        return route

    return describe


def page(route: RouteT) -> RouteT:
    """Say that a route is for browsers, and so none of the document's."""
    return hide(route)
