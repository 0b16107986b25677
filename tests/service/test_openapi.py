"""The OpenAPI document, and the service held against it by schemathesis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from jsonschema import Draft202012Validator
from service_client import Served, served

from reconciler.service.app import openapi_document

COMMITTED = Path(__file__).parents[2] / "schemas" / "service.openapi.json"
KEY = "sk_0123456789abcdef"
WIRE = Path(__file__).parents[1] / "data" / "wire"


def operations() -> list[tuple[str, dict[str, Any]]]:
    found = openapi_document()["paths"].values()
    return [(operation["operationId"], operation) for path in found for operation in path.values()]


def test_the_committed_document_is_current() -> None:
    """If this fails, run `make schemas` and commit what it writes."""
    assert json.loads(COMMITTED.read_text()) == openapi_document()


@pytest.mark.parametrize(("name", "operation"), operations())
def test_every_example_is_what_its_schema_says(name: str, operation: dict[str, Any]) -> None:
    bodies = [*operation["responses"].values(), *filter(None, [operation.get("requestBody")])]
    contents = [body["content"]["application/json"] for body in bodies if "application/json" in body.get("content", {})]
    components = openapi_document()["components"]
    for content in contents:
        assert content["examples"], f"{name} has an answer or a body without an example"
        for example in content["examples"].values():
            Draft202012Validator({**content["schema"], "components": components}).validate(example["value"])


def test_the_platforms_documents_are_the_examples() -> None:
    found = dict(operations())
    body = found["create_job"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["example"]["value"] == json.loads((WIRE / "create-job.request.json").read_text())
    for name, status, file in (("create_job", "201", "create-job"), ("get_job", "200", "get-job")):
        answer = found[name]["responses"][status]["content"]["application/json"]
        assert answer["examples"]["example"]["value"] == json.loads((WIRE / f"{file}.response.json").read_text())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service in a process of its own, with a job and a file to be found."""
    data = tmp_path_factory.mktemp("service")
    (data / "api-key").write_text(KEY)
    with served(data) as running:
        headers = {"Authorization": f"Bearer {running.key}"}
        with httpx.Client(base_url=running.url, headers=headers, trust_env=False) as client:
            for name in ("file_abc123", "file_def456"):  # those of the documented request
                client.post("/files", files={"file": (name, b"x", "image/png")}).raise_for_status()
            body = {"name": "n", "pipeline_type": "batch", "pipeline_key": "waiter"}
            client.post("/batch/jobs", json=body).raise_for_status()
        yield running


_OF_THE_CONNECTION = {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
"""Headers that the server judges before the service is asked: of these no operation can say anything."""
schema = schemathesis.openapi.from_dict(openapi_document())


@schema.auth()
class Key:
    """A key where schemathesis wants one; it also tries what happens without."""

    def get(self, case: Any, context: Any) -> str:
        return f"Bearer {KEY}"

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": data}


@pytest.mark.slow
@pytest.mark.network
@schema.parametrize()
def test_no_request_finds_a_difference(case: Any, service: Served) -> None:
    base = service.url.removesuffix("/v0.5")
    for name in _OF_THE_CONNECTION & {each.lower() for each in case.headers or {}}:
        case.headers.pop(name)
    case.call_and_validate(base_url=base)
