"""What each diagnostic code means: a title, what is wrong and what is allowed, and an example that is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

from reconciler.job import JsonObject

_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Rule:
    """One diagnostic code. `example` is what would be right, as YAML or as a command."""

    code: str
    title: str
    text: str
    example: str
    severity: Literal["error", "warning"] = "error"


_TABLE = (
    # -- the text of a file
    Rule(
        "yaml-syntax",
        "Not readable as YAML",
        "The text breaks off being YAML here, or in an earlier line that the message names. Most often a value "
        "holds ': ' and needs quotes, a bracket or a quote is left open, or keys of one mapping begin in different "
        "columns.",
        'name: "step 1: train"\npipeline_type: batch',
    ),
    Rule(
        "not-utf8",
        "Not UTF-8",
        "Specs are UTF-8 text. The byte at this place is not; the file was saved in another encoding, or is no text.",
        "iconv -f LATIN1 -t UTF-8 old.yaml > new.yaml",
    ),
    Rule(
        "control-character",
        "Invisible character",
        "A character that nobody can see stands in the file, often pasted with other text. Remove it; where it is "
        "meant, write it as an escape in double quotes.",
        'separator: "\\u001f"',
    ),
    Rule(
        "too-large",
        "Too large",
        "A file may have 1 MiB, and with its aliases expanded 200,000 values and 4 million characters; what its "
        "expressions stand for may come to 4 million characters, and a matrix to 10,000 jobs. Split it: a folder may "
        "hold any number of files.",
        "specs/pumps/north.yaml\nspecs/pumps/south.yaml",
    ),
    Rule(
        "too-deep",
        "Nested too deep",
        "Mappings and lists may be nested 64 levels deep, counted through aliases.",
        "config:\n  reader:\n    size: 16",
    ),
    Rule(
        "duplicate-key",
        "Key written twice",
        "A mapping has this key already, in the line that the message names. One of the two would be lost: keep one.",
        "parameters:\n  worker: {parallelism: 2}",
    ),
    Rule(
        "yaml-key",
        "Key that is no string",
        "A key is a list, a mapping, an alias, or empty. Requests are JSON, whose keys are strings.",
        'labels: {"null": a, "12": b}',
    ),
    Rule(
        "yaml-merge-key",
        "Merge key",
        "Merge keys ('<<') are not in YAML 1.2. Write the keys out, or give the whole mapping by an alias.",
        "first: &common {size: 16}\nsecond: *common",
    ),
    Rule(
        "yaml-alias",
        "Alias without anchor",
        "An alias (*name) stands for the value with the anchor &name before it in the same document, and not "
        "inside of it.",
        "first: &size 16\nsecond: *size",
    ),
    Rule(
        "yaml-tag",
        "Tag",
        "Tags (!name) have no meaning here: values are those of JSON. Remove the tag; quotes make a string.",
        'version: "1.1"',
    ),
    Rule(
        "not-json",
        "Number that JSON cannot carry",
        "Infinity, not-a-number and integers beyond ±2^53 cannot be sent as JSON. Put it in quotes if it is text.",
        'serial: "9007199254740993"',
    ),
    Rule(
        "ambiguous-scalar",
        "Value that tools read differently",
        "Specs are YAML 1.2: only true and false are booleans, and 012 is the number 12. Older tools read yes, no, "
        "on, off and leading zeros differently, so say what is meant.",
        'enabled: true\nanswer: "no"\ncode: "012"',
        "warning",
    ),
    # -- expressions, a matrix, and jobs that need each other
    Rule(
        "bad-expression",
        "Not an expression",
        "An expression is a name and nothing else: ${{ vars.NAME }}, ${{ matrix.KEY }}, ${{ env.NAME }}, ${{ "
        "git.commit }}. It stands in a value, not in a key, and not in reconciler.yaml. Inside of text it can stand "
        "for text, a number, true or false; alone in a value for anything.",
        "name: digits-${{ vars.model }}",
    ),
    Rule(
        "unknown-name",
        "Nothing has this name",
        "vars stand in reconciler.yaml, under the chosen environment or at the top; matrix in reconcile.matrix of the"
        " same spec; git.commit and git.branch come from the repository that is checked out.",
        "vars:\n  model: resnet50",
    ),
    Rule(
        "misplaced-env",
        "The environment where it cannot stand",
        "What the environment holds may be a secret. It is filled in when the job is submitted, in parameters only; "
        "names, inputs and policies are written down. For those there are vars.",
        'parameters:\n  worker:\n    config:\n      token: "${{ env.TOKEN }}"',
    ),
    Rule(
        "env-not-set",
        "A variable of the environment that is not set",
        "A plan can be made without it. Apply needs it to submit this job, and submits nothing in its place.",
        "TOKEN=… reconciler apply",
        severity="warning",
    ),
    Rule(
        "empty-matrix",
        "A matrix without a cell",
        "The lists of a matrix give one job for each combination of their values; here there is none.",
        "reconcile:\n  matrix:\n    neighbours: [3, 5, 7]",
    ),
    Rule(
        "repeated-value",
        "Twice the same",
        "Each value of a list in a matrix, and each cell, makes a job of its own. Two that are the same would be one "
        "job twice.",
        "neighbours: [3, 5, 7]",
    ),
    Rule(
        "unused-exclude",
        "Excludes nothing",
        "An entry of exclude leaves out the cells that have all of its values. There is none, so it may be misspelt.",
        "exclude:\n  - {neighbours: 3, metric: cosine}",
    ),
    Rule(
        "unlike-matrix",
        "A cell that is not like the others",
        "An entry of include is one more cell: it has a value for each list of the matrix, and no others.",
        "include:\n  - {neighbours: 99, metric: cosine}",
    ),
    Rule(
        "unknown-job",
        "No job has this name",
        "needs and from name jobs of the specs that are read together, cells of a matrix by their whole names.",
        "reconcile:\n  needs: [prepare]",
    ),
    Rule(
        "circular-needs",
        "Jobs that need each other",
        "A job is submitted when those that it needs have COMPLETED. In a circle none ever would be.",
        "# train needs prepare, and prepare needs nothing",
    ),
    # -- files and folders
    Rule(
        "no-such-path",
        "Path that does not exist",
        "The file or folder that was asked for is not there. Paths are relative to the working directory.",
        "reconciler validate specs",
    ),
    Rule(
        "unreadable",
        "Cannot be read",
        "The system refused to open it, or it is no regular file. The message has the system's reason.",
        "chmod u+r specs/a.yaml",
    ),
    Rule(
        "no-specs",
        "Folder without specs",
        "A spec is a file that ends in .yaml, .yml or .json. Names that begin with '.' or '_' are skipped. An "
        "empty folder is refused, since it would make every job look removed; plan and apply take --allow-empty.",
        "specs/digits.yaml",
    ),
    Rule(
        "link-outside",
        "Link that leaves the folder",
        "A symbolic link leads out of the specs folder, so what it shows is not what was reviewed. Copy the file "
        "instead.",
        "cp ../shared/digits.yaml specs/digits.yaml",
    ),
    Rule(
        "linked-folder",
        "Link to a folder",
        "Symbolic links to folders are not followed. The specs behind it are read where they really are, if that "
        "is inside.",
        "specs/pumps/north.yaml",
        "warning",
    ),
    # -- documents
    Rule(
        "empty-file",
        "File without a spec",
        "The file has no document. Write a spec, or remove the file; a name that begins with '_' is skipped.",
        "name: a\npipeline_type: batch\npipeline_key: image-classifier",
    ),
    Rule(
        "empty-document",
        "Document without a spec",
        "A '---' begins another spec, and none follows. Remove it, or write a spec below it.",
        "name: a\npipeline_type: batch\npipeline_key: image-classifier\n---\nname: b\npipeline_type: "
        "batch\npipeline_key: image-classifier",
    ),
    Rule(
        "not-a-spec",
        "Not a job spec",
        "A document is one job: a mapping whose keys are the body of the request. Several jobs are several "
        "documents, with '---' between them.",
        "name: a\npipeline_type: batch\npipeline_key: image-classifier",
    ),
    Rule(
        "duplicate-name",
        "Name that is taken",
        "The name is the identity of a job, unique over all specs. The message names the other place: rename one "
        "of them.",
        "name: digits-north\n---\nname: digits-south",
    ),
    Rule(
        "duplicate-move",
        "Old name that two specs go on from",
        "moved_from says which record goes on under a new name, and a record can go on under one name only. Keep it in "
        "the spec that the job belongs to; the others ask for jobs of their own. In a matrix it needs an expression.",
        "reconcile:\n  moved_from: every-night",
    ),
    Rule(
        "move-from-spec",
        "Old name that a spec still has",
        "moved_from names a spec that is there, whose record stays with it: nothing goes on under the new name. After "
        "a rename that was applied moved_from can go; before it, the old spec has to.",
        "reconcile:\n  moved_from: every-night",
        severity="warning",
    ),
    Rule(
        "duplicate-job",
        "Specs that ask for the same work",
        "Several specs differ in their name only, so that each is submitted and paid for by itself. Remove those that "
        "are not meant to run; repeated runs on purpose may stay.",
        "name: digits\npipeline_type: batch\npipeline_key: image-classifier",
        "warning",
    ),
    # -- a value and its schema
    Rule(
        "unknown-field",
        "Unknown field",
        "The field is not one that this mapping may have: it is misspelt, or belongs elsewhere. The hint has the "
        "nearest one, or all. 'reconciler schema spec' prints what a spec may hold; of a config the pipeline's "
        "schema says it.",
        "parameters:\n  worker:\n    parallelism: 2\n    config: {}",
    ),
    Rule(
        "missing-field",
        "Missing field",
        "The mapping at this place lacks a field that it must have. The hint says what the field is for.",
        "name: a\npipeline_type: batch\npipeline_key: image-classifier",
    ),
    Rule(
        "conflicting-fields",
        "Fields that exclude each other",
        "Of some fields exactly one may be given. An input has a file_id, or a local path, or a checkpoint_id.",
        "inputs:\n  images:\n    - file_id: digits.png\n    - path: data/digits.png",
    ),
    Rule(
        "wrong-type",
        "Value of the wrong type",
        "The value is, for example, a string where a number must be. Numbers and true or false stand without "
        "quotes, strings that look like them with.",
        'pipeline_version: "1.1"\nparameters:\n  worker: {parallelism: 2}',
    ),
    Rule(
        "not-allowed",
        "Value that is not allowed",
        "Only some values are allowed here; the hint lists them. Capital and small letters are told apart.",
        "pipeline_type: batch\nreconcile: {on_change: keep}",
    ),
    Rule(
        "out-of-range",
        "Value out of range",
        "A number is too small or too large, or a text or list too short or too long. The message has the limit.",
        "reconcile:\n  retry: {attempts: 3}",
    ),
    Rule(
        "invalid-value",
        "Value that does not fit",
        "The value has the right type and still breaks a rule of its schema, such as a pattern; the message says "
        "which.",
        "name: digits-2026",
    ),
    Rule(
        "bad-schema",
        "Schema that cannot be used",
        "The schema in a pipeline snapshot refers to something that is not in it, or to itself without end. "
        "Nothing is ever fetched for it. Write the snapshot again.",
        "reconciler pipelines pull",
    ),
    # -- pipelines
    Rule(
        "bad-snapshot",
        "Pipeline snapshot that cannot be used",
        "A file in schemas/pipelines/ is not what 'reconciler pipelines pull' writes. Write it again, or remove it.",
        "reconciler pipelines pull",
    ),
    Rule(
        "unknown-pipeline",
        "Pipeline that is not known here",
        "No snapshot in schemas/pipelines/ is of this pipeline, and one of nearly this name is there. If the key "
        "is right, pull its snapshot; then its ports and parameters are checked too.",
        "reconciler pipelines pull",
        "warning",
    ),
    Rule(
        "open-version",
        "The version of the pipeline is left open",
        "Without pipeline_version the platform takes its latest when the job is submitted, so that the same spec may "
        "run on another version some day. The plan shows which one it is, and submits that one. Write the version, "
        "and the warning is gone. It is given once a file.",
        "pipeline_key: image-classifier\npipeline_version: 1.2.0",
        "warning",
    ),
    Rule(
        "wrong-kind",
        "A file where a checkpoint belongs, or the reverse",
        "A port for checkpoints takes those of trainings only, by checkpoint_id or from a training job; any other port "
        "takes files.",
        "inputs:\n  worker.fine_tune_checkpoint:\n    - from: {job: fine-tune, checkpoint: last}",
    ),
    Rule(
        "no-such-output",
        "Output that the other job does not make",
        "from: {job, port} names an output port of the pipeline that the other job runs; from: {job, checkpoint} needs "
        "a job of pipeline_type training.",
        "inputs:\n  worker.data:\n    - from: {job: first-stage, port: worker.result}",
    ),
    Rule(
        "unknown-port",
        "Unknown input port",
        "The pipeline has no input port of this name. The hint has the nearest one, or all.",
        "inputs:\n  worker.inference:\n    - file_id: a.csv",
    ),
    Rule(
        "missing-port",
        "Input port without files",
        "The pipeline needs at least one file on this port. The hint has what the pipeline says of it.",
        "inputs:\n  worker.inference:\n    - file_id: a.csv",
    ),
    Rule(
        "missing-class",
        "Example without its class",
        "Each file on an n-shot port is an example of a class, which stands in its metadata as text.",
        "inputs:\n  worker.n_shots:\n    - file_id: standing.csv\n      metadata: {class: standing}",
    ),
    Rule(
        "unknown-component",
        "Unknown component",
        "The pipeline has no component of this name. The hint has the nearest one, or all.",
        "parameters:\n  worker: {parallelism: 2}",
    ),
    # -- local files
    Rule(
        "no-such-file",
        "Local file that cannot be read",
        "A path in inputs is a local file, relative to its spec. It is not there, or is no regular file. A path may be "
        "a pattern: * and ? stand for a part of a name, ** for folders at any depth; neither matches hidden names. "
        "Then at least one file must match.",
        "inputs:\n  images:\n    - path: data/digits.png\n    - path: data/**/*.jpg",
    ),
    Rule(
        "too-many-files",
        "More inputs than a job can have",
        "The platform has refused a job with about 37,000 inputs. Split the job into several with up to 5,000 each, "
        "for example by the folders of its files, or with a matrix.",
        "inputs:\n  images:\n    - path: data/${{ matrix.day }}/*.jpg",
    ),
    Rule(
        "many-files",
        "Many inputs for one job",
        "The platform refuses a job with about 37,000 inputs, and those who have many split them into jobs of up to "
        "5,000. The job is submitted as it is.",
        "inputs:\n  images:\n    - path: data/${{ matrix.day }}/*.jpg",
        severity="warning",
    ),
    Rule(
        "file-outside",
        "Local file outside the working directory",
        "Only files of the working directory are uploaded, so that no spec can send away what was not meant. Copy "
        "the file here, or name one that is on the platform already by its file_id.",
        "inputs:\n  images:\n    - file_id: digits.png",
    ),
    Rule(
        "hidden-file",
        "Hidden local file",
        "Files and folders whose name begins with '.' often hold credentials, and are never uploaded.",
        "inputs:\n  images:\n    - path: data/digits.png",
    ),
    # -- reconciler.yaml
    Rule(
        "not-settings",
        "More than the settings",
        "reconciler.yaml is one document with the defaults of the command line. Join its documents.",
        "endpoint: local\nspecs: specs",
    ),
)

RULES: Mapping[str, Rule] = {rule.code: rule for rule in _TABLE}
"""By code, in the order in which they are listed."""


def rule_text(rule: Rule) -> str:
    """A rule for the terminal."""
    text = "\n".join(wrap(rule.text, _WIDTH))
    example = "\n".join(f"    {line}" for line in rule.example.split("\n"))
    return f"{rule.severity}[{rule.code}]: {rule.title}\n\n{text}\n\nFor example:\n\n{example}"


def rule_json(rule: Rule) -> JsonObject:
    """A rule for scripts."""
    return {
        "format_version": 1,
        "code": rule.code,
        "severity": rule.severity,
        "title": rule.title,
        "text": rule.text,
        "example": rule.example,
    }
