"""Models → JSON Schema documents. They are generated, committed under `schemas/` and printed by `reconciler schema`."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from reconciler.explanation import Explanation
from reconciler.job import State
from reconciler.plan import Plan
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


def document(name: SchemaName) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of specs, of `reconciler.yaml`, of a plan or an explanation as JSON, or of the
    state file.
    """
    mode: Literal["validation", "serialization"] = "validation" if name in ("spec", "config") else "serialization"
    body = _MODELS[name].model_json_schema(mode=mode)
    return {"$schema": _DIALECT, "$id": f"urn:reconciler:schema:{name}:1", **body}
