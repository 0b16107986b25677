"""What people write: the models behind the schemas of specs and of `reconciler.yaml`, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from reconciler.guards import LIMIT

NAME_LIMIT = 128
"""Characters in a job's name."""

_SOURCES = ("file_id", "path", "checkpoint_id")
_ONE_SOURCE: dict[str, JsonValue] = {"oneOf": [{"required": [source]} for source in _SOURCES]}


def _integer(value: Any) -> Any:
    """To JSON Schema `2.0` is an integer, and neither `true` nor `"2"` is one."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


_Integer = BeforeValidator(_integer)


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Input(_Written):
    """One file for a port: a `file_id` that is on the platform, a local `path`, or a `checkpoint_id`."""

    model_config = ConfigDict(json_schema_extra=_ONE_SOURCE)

    file_id: Annotated[str, Field(min_length=1)] = Field(
        "", description="The name of a file that is on the platform already."
    )
    path: Annotated[str, Field(min_length=1)] = Field(
        "",
        description="A local file, relative to this spec. It is uploaded once, under a name made of its content.",
    )
    kind: Literal["checkpoint"] = Field("checkpoint", description="Goes with checkpoint_id.")
    checkpoint_id: Annotated[str, Field(min_length=1)] = Field("", description="A training checkpoint.")
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Free; on n-shot ports it carries the label: {class: NAME}."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if len(self.model_fields_set.intersection(_SOURCES)) != 1:
            raise ValueError(f"exactly one of {', '.join(_SOURCES)} is needed")
        return self


class Component(_Written):
    """Parameters of one component of the pipeline."""

    parallelism: Annotated[int, Field(ge=1), _Integer] | None = Field(
        None, description="How many workers run this component in parallel."
    )
    config: dict[str, Any] | None = Field(None, description="Handed to the component; its pipeline says what it takes.")


class Retry(_Written):
    """Run a job again when it FAILED or was CANCELLED."""

    attempts: Annotated[int, Field(ge=1, le=100), _Integer] = Field(
        description="Runs of one submission at most, the first included."
    )


class Reconcile(_Written):
    """This tool's own policies for the job. The platform never sees them; changing them changes no job."""

    retry: Retry | None = Field(None, description="Run the same job again when it FAILED or was CANCELLED.")
    on_change: Literal["cancel", "keep"] = Field(
        "cancel",
        description="When the spec changes while its job is in flight: cancel the old job first, or keep it running.",
    )
    protect: bool = Field(
        default=False,
        description="Never cancel or replace the job while it is in flight, nor cancel or forget it when its spec is "
        "gone, unless `--unprotect NAME` says so.",
    )


class JobSpec(_Written):
    """One batch job. Apart from `reconcile`, the keys are the body of `POST /batch/jobs`."""

    model_config = ConfigDict(title="Batch job spec")

    name: str = Field(
        min_length=1,
        max_length=NAME_LIMIT,
        # Neither control characters nor those that are invisible or turn the direction of the text.
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+$",
        description="The identity of the job, unique over all specs. It is sent to the platform as it is.",
    )
    pipeline_type: Literal["batch", "training"] = Field(description="The type of pipeline to run.")
    pipeline_key: str = Field(min_length=1, description="The pipeline's key in the platform's registry.")
    pipeline_version: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="A version of the pipeline. Without it the platform takes its latest at submission."
    )
    inputs: dict[str, list[Input]] | None = Field(None, description="Input files by port name.")
    parameters: dict[str, Component] | None = Field(None, description="Parameters by component name.")
    reconcile: Reconcile | None = Field(None, description="This tool's own policies for the job.")


_Limit = Annotated[
    int | str,
    WithJsonSchema(
        {
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": 999_999_999,
            "pattern": LIMIT,
            "examples": [50, "20%", "none"],
        }
    ),
]


class Config(BaseModel):
    """Defaults for a working directory. An option or an environment variable wins over each."""

    model_config = ConfigDict(extra="forbid", title="reconciler.yaml")

    endpoint: str | None = Field(None, description="Base URL of the platform, or `local`.")
    state: str | None = Field(None, description="The state file.")
    specs: str | None = Field(None, description="The folder with the specs.")
    parallelism: int | None = Field(None, ge=1, le=256, description="Requests in flight.")
    timeout: str | None = Field(None, description="Patience with a platform that does not answer, for example 60s.")
    lock_timeout: str | None = Field(None, description="How long to wait for the lock of the state.")
    max_submissions: _Limit | None = Field(
        None,
        description="How many jobs one apply may submit: a count, a percentage of the recorded jobs, or `none`. "
        "A percentage always allows 10.",
    )
    max_cancellations: _Limit | None = Field(
        None,
        description="How many jobs one apply may cancel: a count, a percentage of the jobs in flight, or `none`. "
        "A percentage always allows 10.",
    )
