"""What people write: the models behind the schemas of specs and of `reconciler.yaml`, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from reconciler.durations import PATTERN
from reconciler.guards import LIMIT

NAME_LIMIT = 128
"""Characters in a job's name."""

_SOURCES = ("file_id", "path", "checkpoint_id", "from")
_ONE_RESULT: dict[str, JsonValue] = {"oneOf": [{"required": [result]} for result in ("port", "checkpoint")]}
_ONE_SOURCE: dict[str, JsonValue] = {"oneOf": [{"required": [source]} for source in _SOURCES]}


def _integer(value: Any) -> Any:
    """To JSON Schema `2.0` is an integer, and neither `true` nor `"2"` is one."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


_Integer = BeforeValidator(_integer)


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class From(_Written):
    """What another job makes: all files of an output port, or a checkpoint of a training."""

    model_config = ConfigDict(json_schema_extra=_ONE_RESULT)

    job: Annotated[str, Field(min_length=1)] = Field(description="The name of the other job. It runs first.")
    port: Annotated[str, Field(min_length=1)] = Field("", description="One of its output ports.")
    checkpoint: Annotated[str, Field(min_length=1)] = Field(
        "", description="The name of one of its checkpoints; `last` is the one with the most steps."
    )

    @model_validator(mode="after")
    def _one_result(self) -> Self:
        if len(self.model_fields_set & {"port", "checkpoint"}) != 1:
            raise ValueError("exactly one of port, checkpoint is needed")
        return self


class Input(_Written):
    """What a port gets: a `file_id` that is on the platform, a local `path`, a `checkpoint_id`, or what comes `from`
    another job.
    """

    model_config = ConfigDict(json_schema_extra=_ONE_SOURCE, validate_by_name=True, validate_by_alias=True)

    file_id: Annotated[str, Field(min_length=1)] = Field(
        "", description="The name of a file that is on the platform already."
    )
    path: Annotated[str, Field(min_length=1)] = Field(
        "",
        description="A local file, relative to this spec, or a pattern such as `data/*.csv` or `**/*.jpg`: one input "
        "for each file, sorted by path. A file is uploaded once, under a name made of its content.",
    )
    kind: Literal["checkpoint"] = Field("checkpoint", description="Goes with checkpoint_id.")
    checkpoint_id: Annotated[str, Field(min_length=1)] = Field("", description="A training checkpoint.")
    from_: From | None = Field(None, alias="from", description="What another job makes; it runs first.")
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Free; on n-shot ports it carries the label: {class: NAME}."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if len({field.rstrip("_") for field in self.model_fields_set}.intersection(_SOURCES)) != 1:
            raise ValueError(f"exactly one of {', '.join(_SOURCES)} is needed")
        return self


class Component(_Written):
    """Parameters of one component of the pipeline."""

    parallelism: Annotated[int, Field(ge=1), _Integer] | None = Field(
        None, description="How many workers run this component in parallel."
    )
    config: dict[str, Any] | None = Field(None, description="Handed to the component; its pipeline says what it takes.")


RetryCause: TypeAlias = Literal["failed", "cancelled", "timeout", "preempted"]
_Duration = Annotated[str, Field(pattern=PATTERN, examples=["90s", "10m", "1.5h"])]


class Retry(_Written):
    """Run a job again when it FAILED or was CANCELLED."""

    attempts: Annotated[int, Field(ge=1, le=100), _Integer] = Field(
        description="Runs of one submission at most, the first included."
    )
    on: list[RetryCause] = Field(
        default=["failed", "cancelled"],
        min_length=1,
        description="After which ends: it FAILED, it was CANCELLED by somebody else, or by us for its time-out or "
        "since it was PREEMPTED for too long. What 'reconciler cancel' ended is not run again.",
    )
    backoff: _Duration | None = Field(
        None, description="How long after the end of a run the next one begins; each further time twice as long."
    )


class Matrix(_Written):
    """Makes one job of each combination of its lists; `${{ matrix.KEY }}` stands for a value of the list KEY."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, list[Any]]

    include: list[dict[str, Any]] = Field(default_factory=list, description="More combinations.")
    exclude: list[dict[str, Any]] = Field(
        default_factory=list, description="Combinations to leave out: those that have all of these values."
    )


class Defaults(_Written):
    """Policies that `reconciler.yaml` can set for all jobs."""

    retry: Retry | None = Field(None, description="Run the same job again when it FAILED or was CANCELLED.")
    on_change: Literal["cancel", "keep"] = Field(
        "cancel",
        description="When the spec changes while its job is in flight: cancel the old job first, or keep it running.",
    )
    on_remove: Literal["prune", "cancel", "forget"] = Field(
        "prune",
        description="When the spec is removed: only --prune cancels and forgets its job; cancel it without; or forget "
        "it and let it run.",
    )
    timeout: _Duration | None = Field(None, description="Cancel a run that takes longer; the next plan does it.")
    preempted: _Duration | None = Field(
        None, description="Cancel a job that stays PREEMPTED for longer; the next plan does it."
    )
    protect: bool = Field(
        default=False,
        description="Never cancel or replace the job while it is in flight, nor cancel or forget it when its spec is "
        "gone, unless `--unprotect NAME` says so.",
    )


class Reconcile(Defaults):
    """This tool's own policies for the job. The platform never sees them; changing them changes no job."""

    suspend: bool = Field(
        default=False, description="Do not submit the job, and cancel it when it is in flight; it goes on without."
    )
    rerun: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="Run an unchanged spec again: once for each text that ever stands here."
    )
    moved_from: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="The name that this job had before; its record goes on under the new one."
    )
    needs: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list, description="Names of jobs that must have COMPLETED before this one is submitted."
    )
    matrix: Matrix | None = Field(None, description="One job for each combination of the values in these lists.")


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


_NO_OTHERS: dict[str, JsonValue] = {"additionalProperties": False}  # than those whose names fit the pattern
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


class _Overridable(_Written):
    """What an environment can have otherwise."""

    vars: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")], Any] = Field(
        default_factory=dict, description="Values for `${{ vars.NAME }}` in specs.", json_schema_extra=_NO_OTHERS
    )
    endpoint: str | None = Field(None, description="Base URL of the platform, or `local`.")
    state: str | None = Field(None, description="The state: a file, git:, s3://…, gs://…, az://… or https://….")
    reconcile: Defaults | None = Field(None, description="Policies of jobs that do not have their own.")
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


class Environment(_Overridable):
    """What is otherwise in one environment. Its vars and policies are laid over those above, one by one."""


class Config(_Overridable):
    """Defaults for a working directory. An option or an environment variable wins over each."""

    model_config = ConfigDict(title="reconciler.yaml")

    specs: str | None = Field(None, description="The folder with the specs.")
    parallelism: int | None = Field(None, ge=1, le=256, description="Requests in flight.")
    timeout: str | None = Field(
        None, description="Patience with a platform, or a shared state, that is silent, for example 60s."
    )
    lock_timeout: str | None = Field(None, description="How long to wait for the lock of the state.")
    environment: str | None = Field(None, description="The environment that is meant without --environment.")
    environments: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")], Environment] = Field(
        default_factory=dict,
        description="What is otherwise in each environment, chosen with --environment NAME.",
        json_schema_extra=_NO_OTHERS,
    )
