"""What a route takes and answers, said where it is written: the OpenAPI document is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from quart_schema import document_querystring, document_request, document_response, hide

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pydantic import BaseModel

RouteT = TypeVar("RouteT", bound="Callable[..., object]")

_ATTRIBUTE = "_pulse_description"


@dataclass(frozen=True)
class Description:
    """What :func:`described` was told."""

    answers: Mapping[int, type[BaseModel] | None]
    """By status; None: no body."""
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    body_optional: bool
    name: str
    known: bool
    refuses: frozenset[int]
    on_condition: bool


def described(
    answer: type[BaseModel] | None = None,
    *,
    query: type[BaseModel] | None = None,
    body: type[BaseModel] | None = None,
    status: int = 200,
    also: Mapping[int, type[BaseModel] | None] | None = None,
    body_optional: bool = False,
    name: str = "",
    known: bool = False,
    refuses: Collection[int] = (),
    on_condition: bool = False,
) -> Callable[[RouteT], RouteT]:
    """Say of a route what it answers (with ``status``; None: nothing) and takes. Checks nothing: the route does.

    :param also: other successes and their answers.
    :param body_optional: an empty body counts as ``{}``.
    :param name: the operation's name for clients, without the method, when the one made of its path will not do.
    :param known: for whoever has a valid token, of any role; where a blueprint demands roles, that is known by itself.
    :param refuses: statuses of problems that do not follow from what it takes and who may call it.
    :param on_condition: it looks at If-Match; whatever answers with a Versioned model does so by itself.
    """
    answers = {status: answer, **(also or {})}
    versioned = on_condition or any(getattr(model, "versioned", False) for model in answers.values())

    def describe(route: RouteT) -> RouteT:
        if query is not None:
            document_querystring(query)(route)
        if body is not None:
            document_request(body)(route)
        for code, model in answers.items():
            if model is not None:
                document_response(model, code)(route)
        said = Description(answers, query, body, body_optional, name, known, frozenset(refuses), versioned)
        setattr(route, _ATTRIBUTE, said)
        return route

    return describe


def page(route: RouteT) -> RouteT:
    """Say that a route is for browsers, and so none of the document's."""
    return hide(route)


def description_of(route: object) -> Description | None:
    """What was said of a route."""
    return getattr(route, _ATTRIBUTE, None)
