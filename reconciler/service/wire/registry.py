"""Pipelines, and the service's own health."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from reconciler.service.wire.base import Json, Page, PipelineType


class PipelineAnswer(BaseModel):
    """One version of a pipeline."""

    id: str
    pipeline_key: str
    pipeline_version: str
    name: str
    description: str
    pipeline_type: PipelineType
    components: dict[str, str]
    default_config: dict[str, Json]
    config_schema: Json
    user_config_schema: Json
    edges: list[Json]
    inputs: dict[str, Json]
    outputs: dict[str, Json]
    retry_policy: Json
    visibility: Literal["platform", "org"]
    org_id: str
    status: Literal["draft", "published", "deactivated", "deleted"]
    created_at: str
    updated_at: str


class PipelinePage(Page):
    """Pipeline versions, by key and then newest version first."""

    pipelines: list[PipelineAnswer]


class PipelineSchema(BaseModel):
    """What a pipeline version takes and gives. `user_schema` describes a component's `config`."""

    id: str
    pipeline_key: str
    pipeline_version: str
    user_schema: Json
    config_schema: Json
    inputs: dict[str, Json]
    outputs: dict[str, Json]


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """Whether the service can do its work now, and if not, why."""

    status: Literal["ready", "unready"]
    reasons: list[str]
