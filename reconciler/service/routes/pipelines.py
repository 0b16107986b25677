"""`/batch/registry/pipelines`: what can be run."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter

from reconciler.service import wire
from reconciler.service.errors import refuse
from reconciler.service.registry import Pipeline, component_id, schema_document
from reconciler.service.routes.context import Context, Ctx, Org, Page

router = APIRouter(prefix="/batch/registry/pipelines", tags=["pipelines"])


def _answer(org: str, pipeline: Pipeline) -> dict[str, Any]:
    definition = pipeline.definition
    schema = schema_document(pipeline)
    return {
        "id": pipeline.id,
        "pipeline_key": definition.pipeline_key,
        "pipeline_version": definition.pipeline_version,
        "name": definition.name,
        "description": definition.description,
        "pipeline_type": definition.pipeline_type,
        "components": {name: component_id(pipeline, name) for name in definition.components},
        "default_config": {pipeline.component: pipeline.defaults.model_dump()},
        "config_schema": schema["config_schema"],
        "user_config_schema": schema["user_schema"],
        "edges": [],
        "inputs": schema["inputs"],
        "outputs": schema["outputs"],
        "retry_policy": definition.retry_policy.model_dump(exclude_none=True),
        "visibility": "org" if pipeline.org_id else "platform",
        "org_id": org,
        "status": definition.status,
        "created_at": pipeline.changed_at,
        "updated_at": pipeline.changed_at,
    }


def _find(context: Context, org: str, pipeline_id: str) -> Pipeline:
    pipeline = context.registry.pipelines.get(pipeline_id)
    if pipeline is None or pipeline.org_id not in (None, org):
        suggestion = "GET /batch/registry/pipelines lists the ids"
        raise refuse(404, "pipeline_not_found", f"there is no pipeline with the id {pipeline_id!r}", suggestion)
    return pipeline


@router.get("", response_model=wire.PipelinePage)
def list_pipelines(
    context: Ctx,
    org: Org,
    page: Page,
    pipeline_type: wire.PipelineType | None = None,
    visibility: Literal["platform", "org"] | None = None,
    status: Literal["draft", "published", "deactivated", "deleted"] | None = None,
) -> dict[str, Any]:
    """Every version of every pipeline; those of everyone and those of this organisation."""
    rows = [_answer(org, pipeline) for pipeline in context.registry.visible(org)]
    wanted = {"pipeline_type": pipeline_type, "visibility": visibility, "status": status}
    rows = [row for row in rows if all(value in (None, row[name]) for name, value in wanted.items())]
    shown = rows[page.offset : page.offset + page.limit]
    return {"total": len(rows), "offset": page.offset, "limit": page.limit, "pipelines": shown}


@router.get("/{pipeline_id}", response_model=wire.PipelineAnswer)
def get_pipeline(pipeline_id: str, context: Ctx, org: Org) -> dict[str, Any]:
    """One version."""
    return _answer(org, _find(context, org, pipeline_id))


@router.get("/{pipeline_id}/schema", response_model=wire.PipelineSchema)
def get_pipeline_schema(pipeline_id: str, context: Ctx, org: Org) -> dict[str, Any]:
    """What one version takes and gives."""
    return schema_document(_find(context, org, pipeline_id))
