"""Who may call what, said where it is demanded: the OpenAPI document tells the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from quart import request

from pulse_server.web.entrance.principal import demand_role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from pulse_core.principal import Role

GuardT = TypeVar("GuardT", bound="Callable[[], Awaitable[None]]")

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_ATTRIBUTE = "_pulse_demand"


@dataclass(frozen=True)
class Demand:
    """Whom a blueprint lets in: the holder of the admin key, or callers with one of some roles."""

    reading: tuple[Role, ...] = ()
    writing: tuple[Role, ...] = ()
    admin_key: bool = False

    def roles(self, method: str) -> tuple[Role, ...]:
        """The roles that may make a request with this method."""
        return self.reading if method in _READING else self.writing


def demands(*reading: Role, writing: Iterable[Role] | None = None) -> Callable[[GuardT], Callable[[], Awaitable[None]]]:
    """Make a blueprint's ``before_request`` let only callers with these roles come to it.

    :param writing: the roles that may change something; those that may read, if not given.
    """
    demand = Demand(reading, reading if writing is None else tuple(writing))

    def guard(then: GuardT) -> Callable[[], Awaitable[None]]:
        @wraps(then)
        async def demanding() -> None:
            await demand_role(demand.roles(request.method))
            await then()

        setattr(demanding, _ATTRIBUTE, demand)
        return demanding

    return guard


def demands_admin_key(guard: GuardT) -> GuardT:
    """Say of a blueprint's ``before_request`` that it lets only the holder of the admin key in."""
    setattr(guard, _ATTRIBUTE, Demand(admin_key=True))
    return guard


def demands_of(guards_of: Mapping[Any, Sequence[object]], endpoint: str) -> list[Demand]:
    """What the blueprints of a route demand, the outermost first: each must be met.

    :param guards_of: an application's ``before_request_funcs``.
    """
    parts = endpoint.split(".")[:-1]
    blueprints = [".".join(parts[: end + 1]) for end in range(len(parts))]
    guards = [guard for blueprint in blueprints for guard in guards_of.get(blueprint, ())]
    return [demand for guard in guards if (demand := getattr(guard, _ATTRIBUTE, None)) is not None]
