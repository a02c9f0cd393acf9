"""The published schema of the API (OpenAPI 3.1), generated from the dataclasses that it serves."""

from functools import cache
from typing import Any

from pydantic import TypeAdapter

from xfrmctl import __version__
from xfrmctl.control import query, schema
from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot
from xfrmctl.model.traffic import Traffic

_REF = "#/components/schemas/{model}"


def _ref(kind: type) -> dict[str, Any]:
    return {"$ref": _REF.format(model=kind.__name__)}


def _answer(kind: type, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(kind)}}}


def _body(kind: type) -> dict[str, Any]:
    return {"required": False, "content": {"application/json": {"schema": _ref(kind)}}}


_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "name of a configured connection",
    "schema": {"type": "string"},
}


def _filters(known: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": f"{text}; repeat it for alternatives",
            "schema": {"type": "array", "items": {"type": "string"}},
            "explode": True,
        }
        for name, text in known.items()
    ]


_FILTERS = _filters(query.FILTERS)
_FAULT = _answer(schema.ErrorBody, "the request cannot be served")
_KINDS: tuple[type, ...] = (
    Snapshot,
    ConnectionInfo,
    schema.NameList,
    Traffic,
    schema.UpRequest,
    schema.DownRequest,
    schema.DebugRequest,
    schema.ActionResult,
    schema.ReloadResult,
    schema.PlanRequest,
    schema.PlanResult,
    schema.DiagnoseRequest,
    Diagnosis,
    schema.ErrorBody,
)


def _operation(name: str, summary: str, responses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "responses": {**responses, "default": _FAULT}, **more}


def _paths() -> dict[str, Any]:
    action = {"200": _answer(schema.ActionResult, "done"), "409": _answer(schema.ActionResult, "failed")}
    lines = {"description": "one event a line", "content": {"application/x-ndjson": {"schema": {"type": "object"}}}}
    return {
        "/v1/status": {
            "parameters": _FILTERS,
            "get": _operation(
                "status", "The gateway, or what the filters leave", {"200": _answer(Snapshot, "its state")}
            ),
        },
        "/v1/traffic": {
            "parameters": _FILTERS,
            "get": _operation("traffic", "Counters of all CHILD SAs, for rates", {"200": _answer(Traffic, "one look")}),
        },
        "/v1/names": {
            "get": _operation("names", "What is configured", {"200": _answer(schema.NameList, "names, no state")})
        },
        "/v1/connections/{name}": {
            "parameters": [_NAME],
            "get": _operation("connection", "One connection", {"200": _answer(ConnectionInfo, "its state")}),
        },
        "/v1/connections/{name}/up": {
            "parameters": [_NAME],
            "post": _operation("up", "Bring it up", action, requestBody=_body(schema.UpRequest)),
        },
        "/v1/connections/{name}/down": {
            "parameters": [_NAME],
            "post": _operation("down", "Take it down", action, requestBody=_body(schema.DownRequest)),
        },
        "/v1/connections/{name}/rekey": {
            "parameters": [_NAME],
            "post": _operation("rekey", "Renew keys", action, requestBody=_body(schema.UpRequest)),
        },
        "/v1/connections/{name}/debug": {
            "parameters": [_NAME],
            "post": _operation(
                "debug",
                "Tell of each message and decision for a time",
                {"200": _answer(schema.ActionResult, "told from now on, or no more")},
                requestBody=_body(schema.DebugRequest),
            ),
        },
        "/v1/reload": {
            "post": _operation(
                "reload",
                "Read the configuration again",
                {
                    "200": _answer(schema.ReloadResult, "in force"),
                    "422": _answer(schema.ReloadResult, "refused; the old one stays in force"),
                },
            )
        },
        "/v1/plan": {
            "post": _operation(
                "plan",
                "What a reload would change, of the daemon's own file or of another one; changes nothing",
                {"200": _answer(schema.PlanResult, "the changes")},
                requestBody=_body(schema.PlanRequest),
            )
        },
        "/v1/diagnose": {
            "post": _operation(
                "diagnose",
                "Look for faults; takes as long as counters are watched",
                {"200": _answer(Diagnosis, "what was found, which may be nothing")},
                requestBody=_body(schema.DiagnoseRequest),
            )
        },
        "/v1/events": {
            "parameters": _filters(query.EVENT_FILTERS),
            "get": _operation("events", "Follow what happens", {"200": lines}),
        },
        "/v1/openapi.json": {"get": _operation("openapi", "This description", {"200": {"description": "OpenAPI 3.1"}})},
    }


@cache
def openapi() -> dict[str, Any]:
    """The document, made once."""
    _, found = TypeAdapter.json_schemas(
        [(kind, "serialization", TypeAdapter(kind)) for kind in _KINDS], ref_template=_REF
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "xfrmctl control API",
            "version": f"{schema.API_VERSION} (xfrmctl {__version__})",
            "description": "HTTP + JSON on a unix socket. Clients ignore fields they do not know.",
        },
        "servers": [{"url": "http://xfrmctl", "description": f"unix socket {schema.DEFAULT_SOCKET}"}],
        "paths": _paths(),
        "components": {"schemas": found["$defs"]},
    }
