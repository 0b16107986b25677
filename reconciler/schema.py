"""Models → JSON Schema documents. They are generated, committed under `schemas/` and printed by `reconciler schema`."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from reconciler.actions import Plan
from reconciler.explanation import Explanation
from reconciler.job import State
from reconciler.spec import Config, JobSpec

SchemaName: TypeAlias = Literal["spec", "config", "plan", "state", "explanation"]

_MODELS: dict[SchemaName, type[BaseModel]] = {
    "spec": JobSpec,
    "config": Config,
    "plan": Plan,
    "state": State,
    "explanation": Explanation,
}
_DIALECT = GenerateJsonSchema.schema_dialect


_EXPRESSION = {"type": "string", "pattern": r"^\s*\$\{\{.*\}\}\s*$"}


def document(name: SchemaName) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of specs, of `reconciler.yaml`, of a plan or an explanation as JSON, or of the
    state file.

    That of specs is for editors: it takes an expression for any value. What is filled in is checked without that.
    """
    mode: Literal["validation", "serialization"] = "validation" if name in ("spec", "config") else "serialization"
    body = _MODELS[name].model_json_schema(mode=mode)
    if name == "spec":
        body = _inside(body)
    return {"$schema": _DIALECT, "$id": f"urn:reconciler:schema:{name}:1", **body}


def _fillable(schema: Any) -> Any:
    """`schema`, or an expression in its place."""
    if not isinstance(schema, dict) or not {"type", "anyOf", "$ref"} & schema.keys():
        return schema
    if schema.get("type") == "string" and not {"enum", "const", "pattern"} & schema.keys():
        return schema
    inner = _inside(schema)
    about = {key: inner.pop(key) for key in ("title", "description", "default") if key in inner}
    return {**about, "anyOf": [*inner.pop("anyOf", [inner]), _EXPRESSION]}


def _inside(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` with the values that it holds fillable, but not itself."""
    made = dict(schema)
    for key in ("properties", "$defs"):
        if key in schema:
            change = _fillable if key == "properties" else _inside
            made[key] = {name: change(below) for name, below in schema[key].items()}
    for key in ("items", "additionalProperties"):
        if key in schema:
            made[key] = _fillable(schema[key])
    if "anyOf" in schema:
        made["anyOf"] = [_inside(below) for below in schema["anyOf"]]
    return made
