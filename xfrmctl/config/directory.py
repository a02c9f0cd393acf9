"""The spelling of a directory that the daemon writes to."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from xfrmctl.config.problem import Wrong
from xfrmctl.config.spelling import WRITTEN, file_path


def directory(value: object) -> str:
    """An absolute path; the daemon's own directory is nobody's business."""
    text = file_path(value)
    if not PurePosixPath(text).is_absolute():
        raise Wrong(f"{text!r} is no absolute path", "begin it with /, as in /run/xfrmctl/keys")
    return text


Directory = Annotated[
    str, PlainValidator(directory), WithJsonSchema({"type": "string", WRITTEN: "an absolute path: /run/xfrmctl/keys"})
]
