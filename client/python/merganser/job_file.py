"""Job files: YAML, or the same as a dict, to a JobSpec message."""
from __future__ import annotations

import os
import pathlib
import re
from typing import Any, Mapping, Union

import yaml
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from merganser.errors import InvalidJob
from merganser.v1 import job_pb2

JobLike = Union[str, "os.PathLike[str]", Mapping[str, Any], job_pb2.JobSpec]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_HUB_ID = re.compile(r"[^/@.~][^/@]*/[^/@]+(@.+)?")  # as common/config/job_file.cc reads it
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def seconds(duration: Union[str, float], path: str) -> float:
    """Of "1h30m", or the number itself. InvalidJob names `path`."""
    if not isinstance(duration, str):
        return float(duration)
    parts = _DURATION.findall(duration)
    if not parts or "".join(n + unit for n, unit in parts) != duration:
        raise InvalidJob(f"{path}: '{duration}' is no duration, such as 90s or 1h30m")
    return sum(float(n) * _SECONDS[unit] for n, unit in parts)


def _duration(text: str, path: str) -> str:
    return f"{seconds(text, path):.9g}s"


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _to_json(descriptor: Descriptor, value: Any, path: str) -> Any:
    """What Merganser's YAML allows beyond protobuf's JSON: durations as "1h30m", a list for a message of `values` alone."""
    if descriptor.full_name == "google.protobuf.Duration":
        return _duration(value, path) if isinstance(value, str) else value
    if descriptor.full_name.startswith("google.protobuf."):
        return value
    if isinstance(value, list) and [f.name for f in descriptor.fields] == ["values"]:
        return {"values": value}
    if not isinstance(value, Mapping):
        return value
    out = {}
    for key, item in value.items():
        field = descriptor.fields_by_name.get(key)
        if field is None:
            known = ", ".join(sorted(descriptor.fields_by_name))
            raise InvalidJob(f"{path + '.' if path else ''}{key}: no such field; there are {known}")
        inner = f"{path}.{key}" if path else str(key)
        if _is_map(field):
            values = field.message_type.fields_by_name["value"]
            if values.message_type is not None and isinstance(item, Mapping):
                item = {k: _to_json(values.message_type, v, f"{inner}.{k}") for k, v in item.items()}
        elif field.message_type is not None:
            if isinstance(item, list) and [f.name for f in field.message_type.fields] != ["values"]:
                item = [_to_json(field.message_type, v, f"{inner}[{i}]") for i, v in enumerate(item)]
            else:
                item = _to_json(field.message_type, item, inner)
        out[key] = item
    return out


def _resolve(spec: job_pb2.JobSpec, folder: pathlib.Path) -> None:
    """Makes paths absolute; a model that is no folder here stays (a Hub id, or an absolute path that only the workers have)."""
    for key, model in spec.models.items():
        path, mark, content = model.path.partition("@sha256:")
        if path and (folder / path).is_dir():
            model.path = str((folder / path).resolve()) + mark + content
        elif path and not os.path.isabs(path) and not _HUB_ID.fullmatch(path):
            raise InvalidJob(f"models.{key}.path: no directory '{folder / path}', and '{path}' is no Hub id (org/name)")
        if model.lora and (folder / model.lora).is_dir():
            model.lora = str((folder / model.lora).resolve())
    for benchmarks in (spec.benchmarks, spec.held_out):
        for benchmark in benchmarks.values():
            if benchmark.data and (folder / benchmark.data).is_file():
                benchmark.data = str((folder / benchmark.data).resolve())


def read(job: JobLike) -> job_pb2.JobSpec:
    """A JobSpec of a YAML file's path, of the same as a dict (its paths relative to the working directory), or a copy of one."""
    if isinstance(job, job_pb2.JobSpec):
        copy = job_pb2.JobSpec()
        copy.CopyFrom(job)
        return copy
    if isinstance(job, Mapping):
        fields, folder, name = job, pathlib.Path.cwd(), "job"
    else:
        file = pathlib.Path(job)
        name, folder = str(file), file.resolve().parent
        try:
            fields = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise InvalidJob(f"{file}: {error}") from error
    if not isinstance(fields, Mapping):
        raise InvalidJob(f"{name}: not a map of fields")
    try:
        spec = json_format.ParseDict(_to_json(job_pb2.JobSpec.DESCRIPTOR, fields, ""), job_pb2.JobSpec())
    except InvalidJob as error:
        raise InvalidJob(f"{name}: {error}") from None
    except json_format.ParseError as error:
        raise InvalidJob(f"{name}: {error}") from error
    _resolve(spec, folder)
    return spec
