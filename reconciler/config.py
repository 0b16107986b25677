"""`reconciler.yaml`: defaults for the options of the command line, kept beside the specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reconciler.check import Checker
from reconciler.errors import Diagnostic, Location, SpecError, UsageError
from reconciler.spec import Config
from reconciler.yaml12 import parse

FILE = "reconciler.yaml"


def read_config(folder: Path) -> dict[str, Any]:
    """The settings in `folder`'s `reconciler.yaml`, empty without one.

    Raises `SpecError` with the locations of what is wrong, `UsageError` when it cannot be read.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{FILE} cannot be read: {error}") from error
    documents, faults = parse(text, FILE)
    diagnostics = list(faults)
    value: Any = {}
    if len(documents) > 1:
        diagnostics.append(Diagnostic("not-settings", "more than one document", Location(FILE, *documents[1].marks.at)))
    elif documents:
        value = {} if documents[0].value is None else documents[0].value
        for finding in Checker(Config.model_json_schema(), ours=True).findings(value):
            line, column = documents[0].marks.locate(finding.route, key=finding.at_key)
            diagnostics.append(
                Diagnostic(finding.code, finding.summary, Location(FILE, line, column), hint=finding.hint)
            )
    if any(d.severity == "error" for d in diagnostics):
        raise SpecError(diagnostics)
    return Config.model_validate(value).model_dump(exclude_none=True)
