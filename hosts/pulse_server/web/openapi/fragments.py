"""What is answered before, or beside, Quart: health, activation, and the device port. Written by hand, and tested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.records import MsgType
from pulse_server.activation import PATH as ACTIVATE
from pulse_server.inputs import LONG_ID, SMALL_ID, ActivateBody
from pulse_server.inputs.readings import BatchBody, ReadingBody
from pulse_server.outputs.commands import CommandAcknowledged, CommandsToDo
from pulse_server.outputs.devices import DeviceToken
from pulse_server.outputs.health import Alive, Ready
from pulse_server.outputs.readings import Accepted, BatchAnswer, BatchProblem
from pulse_server.web.openapi import access, refusals

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import BaseModel

    from pulse_server.web.openapi.schemas import Schemas

TAKEN: tuple[type[BaseModel], ...] = (ActivateBody, ReadingBody, BatchBody)
ANSWERED: tuple[type[BaseModel], ...] = (
    DeviceToken,
    Alive,
    Ready,
    Accepted,
    BatchAnswer,
    BatchProblem,
    CommandsToDo,
    CommandAcknowledged,
)

_OF_BODIES = frozenset({400, 408, 413, 415, 422, 503})


def paths(schemas: Schemas, device_port: int) -> dict[str, Any]:
    """The paths. Those of the device port name it as their server."""
    there = {
        "servers": [
            {
                "url": "http://{host}:{port}",
                "description": "The device port, another one than this document's.",
                "variables": {"host": {"default": "localhost"}, "port": {"default": str(device_port or 8081)}},
            }
        ]
    }
    device = "/ingest/v1/tenant/{tenant_id}/device/{device_id}"
    return {
        **_health(schemas),
        ACTIVATE: {"post": _activation(schemas)},
        f"{device}/{{msg_type}}": {**there, "post": _one_message(schemas)},
        f"{device}/commands": {**there, "get": _commands(schemas)},
        f"{device}/commands/{{command_id}}/ack": {**there, "post": _acknowledgement(schemas)},
        "/ingest/v1/batch": {**there, "post": _batch(schemas)},
    }


def _health(schemas: Schemas) -> dict[str, Any]:
    alive, ready = _json(schemas.answered(Alive)), _json(schemas.answered(Ready))
    figures = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/healthz": {"get": _reading("get_healthz", "This process runs", {200: alive})},
        "/readyz": {"get": _reading("get_readyz", "Whether it can work, and else why not", {200: ready, 503: ready})},
        "/metrics": {"get": _reading("get_metrics", "Figures, as Prometheus reads them", {200: figures})},
    }


def _reading(name: str, summary: str, answers: dict[int, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "description": access.in_words((), key=False),
        "tags": ["health"],
        "security": [],
        "parameters": [],
        "responses": {str(status): {"description": summary, "content": how} for status, how in answers.items()},
    }


def _activation(schemas: Schemas) -> dict[str, Any]:
    return {
        "operationId": "post_device_activate",
        "summary": "Trade a one-time code for the device's token, shown this once",
        "description": "For everybody. The device port answers the same.",
        "tags": ["device"],
        "security": [],
        "parameters": [],
        "requestBody": {"required": True, "content": _json(schemas.taken(ActivateBody))},
        "responses": {
            "200": {"description": "The token.", "content": _json(schemas.answered(DeviceToken))},
            **_refused(_OF_BODIES | {404, 429}),
        },
    }


def _one_message(schemas: Schemas) -> dict[str, Any]:
    return {
        "operationId": "post_message",
        "summary": "Send one message; 202 means that it is committed, with everything it caused",
        "description": "For the device, on the device port. Fields that we do not know are ignored.",
        "tags": ["device"],
        "security": [{"deviceToken": []}, {}],
        "parameters": [
            *_OF_DEVICE,
            _in_path("msg_type", {"type": "string", "enum": list(map(str, MsgType))}),
        ],
        "requestBody": {"required": True, "content": _json(schemas.taken(ReadingBody))},
        "responses": {
            "202": {"description": "Committed.", "content": _json(schemas.answered(Accepted))},
            **_refused(_OF_BODIES | {401, 404, 429}),
        },
    }


def _commands(schemas: Schemas) -> dict[str, Any]:
    whole = {
        "limit": {"minimum": 1, "maximum": 100, "default": 100},
        "wait_s": {"minimum": 0, "maximum": 30, "default": 0},
    }
    queries = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "integer", **bounds}}
        for name, bounds in whole.items()
    ]
    return {
        "operationId": "get_device_commands_to_do",
        "summary": "Fetch what the device is asked to do; SENT is committed before the answer",
        "description": "For the device, on the device port. With `wait_s` the answer waits so long for a command.",
        "tags": ["device"],
        "security": [{"deviceToken": []}],
        "parameters": [*_OF_DEVICE, *queries],
        "responses": {
            "200": {"description": "The commands.", "content": _json(schemas.answered(CommandsToDo))},
            **_refused({400, 401, 404, 422, 429, 503}),
        },
    }


def _acknowledgement(schemas: Schemas) -> dict[str, Any]:
    return {
        "operationId": "post_device_command_ack",
        "summary": "Say that a command was carried out; 200 means that this is committed",
        "description": "For the device, on the device port.",
        "tags": ["device"],
        "security": [{"deviceToken": []}],
        "parameters": [*_OF_DEVICE, _in_path("command_id", {"type": "string", "format": "uuid"})],
        "responses": {
            "200": {"description": "Acknowledged.", "content": _json(schemas.answered(CommandAcknowledged))},
            **_refused({400, 401, 404, 429, 503}),
        },
    }


def _batch(schemas: Schemas) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": schemas.answered(BatchProblem)}}
    return {
        "operationId": "post_batch",
        "summary": "Send messages of one or more devices; each is decided by itself",
        "description": "For devices and gateways, on the device port. Each message brings its `provision_token`.",
        "tags": ["device"],
        "security": [],
        "parameters": [],
        "requestBody": {"required": True, "content": _json(schemas.taken(BatchBody))},
        "responses": {
            "202": {"description": "Each is decided.", "content": _json(schemas.answered(BatchAnswer))},
            **_refused(_OF_BODIES - {503}),
            "503": {"description": "Not all was taken: send it again.", "content": problem},
        },
    }


def _in_path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _refused(statuses: Collection[int]) -> dict[str, Any]:
    return {str(status): refusals.reference(status) for status in sorted(statuses)}


_OF_DEVICE = (
    _in_path("tenant_id", {"type": "string", "pattern": SMALL_ID}),
    _in_path("device_id", {"type": "string", "pattern": LONG_ID}),
)
