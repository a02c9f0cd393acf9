"""What the sections of a configuration file have in common: no unknown keys, lists that may be single values."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from xfrmctl.config.document import FileReference
from xfrmctl.config.problem import Wrong
from xfrmctl.config.spelling import in_range


class Strict(BaseModel):
    """A mapping of the file: unknown keys are errors, nothing can be changed later.

    The docstring of a class and those of its keys are what editors show and ``docs/configuration.md`` says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _one_or_many(value: Any) -> Any:
    """A single value stands for a list of one."""
    if isinstance(value, (str, int, FileReference)):
        return [value]
    if isinstance(value, list) and not value:
        raise Wrong("the list is empty", "write at least one entry, or leave the key out for the default")
    return value


def _empty_is_default(value: Any) -> Any:
    """``ike:`` with nothing after it means all its defaults."""
    return {} if value is None else value


@dataclass(frozen=True, slots=True)
class _OneOrMany:
    """Metadata of a tuple type: a single value stands for a tuple of one, in JSON schema as well."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(_one_or_many, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        many = handler(schema)
        return {"anyOf": [many["items"], {**many, "minItems": 1}]}


Many = _OneOrMany()
Section = BeforeValidator(_empty_is_default)


@dataclass(frozen=True, slots=True)
class Whole:
    """Makes a type one of whole numbers from ``low`` to ``high``, in JSON schema as well; see :func:`in_range`."""

    low: int
    high: int
    what: str
    cure: str

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        check = in_range(self.low, self.high, self.what, self.cure)
        return core_schema.no_info_plain_validator_function(check)

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


Port = Annotated[int, Whole(1, 65535, "UDP port", "write one such as 500")]
IfId = Annotated[int, Whole(1, 2**32 - 1, "if_id", "write the number of your xfrm interface: ip -d link show")]
HalfOpen = Annotated[int, Whole(1, 1_000_000, "number of half-open IKE SAs", "write one such as 1000")]
Threshold = Annotated[int, Whole(0, 1_000_000, "number", "write one such as 50")]
Retransmissions = Annotated[int, Whole(1, 30, "number of retransmissions", "write such as 7")]
