"""What pydantic found -> problems in an operator's words, with the nearest right name for a wrong one."""

from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from xfrmctl.config.document import Document, Key
from xfrmctl.config.problem import SAMPLES, Problem, Wrong
from xfrmctl.model.nearest import nearest

LATER = {
    "rekey": "it belongs under ike: (the IKE SA) or under a child (its CHILD SA)",
    "rekey_time": "write rekey: {time: 1h} under a child, ike: {rekey: 4h} for the IKE SA",
    "eap": "this version authenticates by auth.psk or by certificates, without EAP",
    "mobike": "it belongs under ike:",
    "fragmentation": "it belongs under ike:",
    "childless": "it belongs under ike:",
}
"""Keys an operator may expect. They are refused like any other stranger, but not without a word."""


def explain(error: ValidationError, document: Document, root: type[BaseModel]) -> list[Problem]:
    """One problem for each of pydantic's findings."""
    return [_problem(detail, document, root) for detail in error.errors(include_url=False)]


def place_of(location: Iterable[str | int]) -> Key:
    """The key of a finding: pydantic marks a wrong mapping *key* with a trailing ``[key]``."""
    return tuple(part for part in location if part != "[key]")


def _problem(detail: ErrorDetails, document: Document, root: type[BaseModel]) -> Problem:
    key = place_of(detail["loc"])
    wrong = detail.get("ctx", {}).get("error")
    if isinstance(wrong, Wrong):
        return document.problem(key, wrong.cause, wrong.cure)
    match detail["type"]:
        case "extra_forbidden":
            name = str(key[-1])
            return document.problem(key, f"unknown key {name!r}", _nearest_key(name, _names_at(root, key[:-1])))
        case "missing":
            sample = SAMPLES.get(str(key[-1]), f"{key[-1]}: …")
            return document.problem(key, "missing", f"add {sample}")
        case "literal_error":
            allowed = [w.strip("' ") for w in str(detail["ctx"]["expected"]).replace(" or ", ", ").split(",")]
            near = nearest(str(detail["input"]), allowed)
            hint = f"did you mean {near}? " if near else ""
            extra = ""
            if key[-2:] == ("dscp", "outbound") and isinstance(detail["input"], int):
                return document.problem(key, *_fixed_dscp(detail["input"]))
            if (key[-1], detail["input"]) == ("offload", "packet"):
                extra = ": whole packets need policies in the device as well, and this version offloads SAs only"
            cause = f"{_short(detail['input'])} is not one of the words for {key[-1]}{extra}"
            return document.problem(key, cause, f"{hint}write one of: {', '.join(allowed)}")
        case "model_type" | "dict_type" | "mapping_type" | "model_attributes_type":
            return document.problem(key, f"{_short(detail['input'])} is no mapping", _mapping_cure(root, key))
        case "tuple_type" | "list_type":
            cause = f"{_short(detail['input'])} is no list"
            return document.problem(key, cause, f"write {key[-1] if key else 'it'}: [ENTRY, …]")
    return document.problem(key, f"{_short(detail['input'])}: {detail['msg']}", "correct the value")


def _fixed_dscp(number: int) -> tuple[str, str]:
    """The kernel's SAs know no value of their own; a firewall rule sets it, by the mark of what was encrypted."""
    mark = f"{number:#x}"
    rule = f"iptables -t mangle -A OUTPUT -m mark --mark {mark} -j DSCP --set-dscp {number}"
    cause = f"{number} is not one of the words for outbound: the kernel copies the DSCP or sends 0"
    return cause, f"write copy or none; for a fixed value set_mark: {{outbound: {mark}}} and the rule: {rule}"


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)[:60]


def _nearest_key(name: str, known: list[str]) -> str:
    if name in LATER:
        return LATER[name]
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else f"known here: {', '.join(known)}"


def _mapping_cure(root: type[BaseModel], key: Key) -> str:
    names = _names_at(root, key)
    if names:
        return f"write a mapping with: {', '.join(names)}"
    sample = SAMPLES.get(str(key[-1])) if key else None
    return f"write {sample}" if sample else "write NAME: {…}, indented below this key"


def _names_at(root: type[BaseModel], key: Key) -> list[str]:
    """The keys the mapping at ``key`` may have; empty where the names are the operator's own."""
    kind: Any = root
    for part in key:
        kind = _model(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            entry = kind.model_fields.get(str(part))
            if entry is None:
                return []
            kind = entry.annotation
        else:
            arguments = [a for a in get_args(kind) if a is not Ellipsis]
            if not arguments:
                return []
            kind = arguments[-1]  # dict[str, X] -> X, tuple[X, ...] -> X
    kind = _model(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return []


def _model(kind: Any) -> Any:
    """Without ``Annotated`` and ``| None``."""
    while get_origin(kind) in (Annotated, Union, UnionType):
        kind = next(a for a in get_args(kind) if a is not type(None))
    return kind
