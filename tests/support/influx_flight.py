"""The part of the stand-in for InfluxDB that answers queries over Arrow Flight."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyarrow import ArrowInvalid, flight

from support.influx_tables import InfluxError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    Query = Callable[[str, str, Mapping[str, Any]], pa.Table]


class FlightDoor(flight.FlightServerBase):  # type: ignore[misc]
    """Takes the tickets InfluxDB's clients send, from whoever has the token; listening once it is made."""

    def __init__(self, token: Callable[[], str], query: Query) -> None:
        super().__init__("grpc://127.0.0.1:0", middleware={"token": _Guard(token)})
        self._query = query

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.RecordBatchStream:
        """Answer a query."""
        try:
            asked = json.loads(ticket.ticket)
            if asked["query_type"] != "sql":
                raise ArrowInvalid("this stand-in answers SQL alone")
            found = self._query(asked["database"], asked["sql_query"], asked.get("params") or {})
        except InfluxError as error:
            raise _raised(error) from None
        return flight.RecordBatchStream(found)


class _Guard(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Lets nobody in without the token."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def start_call(self, info: flight.CallInfo, headers: Mapping[str, list[str]]) -> None:
        if headers.get("authorization") != [f"Bearer {self._token()}"]:
            raise flight.FlightUnauthenticatedError("Unauthenticated")


def _raised(error: InfluxError) -> Exception:
    """What pyarrow makes the status of, that InfluxDB would answer with."""
    if error.status == 404:
        return KeyError(error.message)
    unavailable: Exception = flight.FlightUnavailableError(error.message)
    return unavailable if error.status == 503 else ArrowInvalid(error.message)
