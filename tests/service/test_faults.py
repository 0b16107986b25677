"""Faults on demand: what they do, and that the product's own client comes through them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from service_client import BASE, DEADLINE, PIPELINES

from reconciler.service.errors import ServiceError
from reconciler.service.faults import Faults, load

KEY = "sk_faults_0123456789"
JOBS = "POST /v0.5/batch/jobs"
Rules = list[dict[str, Any]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def written(folder: Path, rules: Any) -> Path:
    path = folder / "faults.json"
    path.write_text(rules if isinstance(rules, str) else json.dumps(rules))
    return path


def environment(folder: Path, url: str = "") -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "ATAI_API_KEY": KEY,
        "ATAI_API_ENDPOINT": url or "local",
        "RECONCILER_SETTLE_TIME": "100ms",
        "RECONCILER_TIMEOUT": "5s",
    }


@contextmanager
def lying(folder: Path, rules: Rules) -> Iterator[str]:
    """`reconciler serve` with faults; its URL."""
    command = [sys.executable, "-m", "reconciler", "serve", "--port", "0", "--data", str(folder / "data")]
    command += ["--pipelines", str(PIPELINES), "--faults", str(written(folder, rules))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(folder), cwd=folder) as process:
        assert process.stderr is not None
        try:
            said = [process.stderr.readline()]
            while "lies on purpose" not in said[-1]:
                assert said[-1], said
                said.append(process.stderr.readline())
            yield said[0].split()[-1]
            process.terminate()
            process.wait(timeout=DEADLINE)
            assert "Traceback" not in process.stderr.read()  # a fault is no error of the service
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ("{", "faults.json: "),
        ({}, "the file: Input should be a valid list"),
        ([{"match": JOBS, "do": "explode"}], "0: Input tag 'explode'"),
        ([{"match": JOBS, "do": "refuse"}, {"match": JOBS, "do": "delay"}], "1.delay.seconds: Field required"),
        ([{"match": JOBS, "do": "refuse", "status": 200}], "0.refuse.status: "),
        ([{"match": JOBS, "do": "drop_after", "seconds": 1}], "0.drop_after.seconds: Extra inputs"),
        ([{"match": "everything", "do": "drop_after"}], "0.drop_after.match: "),
        ([{"match": JOBS, "do": "drop_after", "at": 0}], "0.drop_after.at: "),
    ],
)
def test_rules_that_are_none_are_refused_with_their_place(tmp_path: Path, rules: Any, fault: str) -> None:
    with pytest.raises(ServiceError) as caught:
        load(written(tmp_path, rules))
    assert fault in caught.value.message


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("rules", "statuses"),
    [
        ([{"match": "GET /a", "do": "refuse"}], [503, 200, 200, 200]),
        ([{"match": "GET /a", "do": "refuse", "at": 2, "times": 2, "status": 418}], [200, 418, 418, 200]),
        ([{"match": "GET *", "do": "refuse", "at": 3, "times": 0}], [200, 200, 503, 503]),
        ([{"match": "* /*a", "do": "refuse", "times": 0}], [503] * 4),
        ([{"match": "POST /a", "do": "refuse"}, {"match": "GET /", "do": "refuse"}], [200] * 4),
        (
            [{"match": "GET /a", "do": "refuse", "at": 2}, {"match": "GET /a", "do": "refuse", "at": 2, "times": 2,
              "status": 500}], [200, 503, 500, 200],
        ),
    ],
)  # fmt: skip
async def test_which_requests_a_rule_means(tmp_path: Path, rules: Rules, statuses: list[int]) -> None:
    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    faulty = Faults(app, load(written(tmp_path, rules)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(faulty), base_url=BASE) as http:
        assert [(await http.get("http://service/a")).status_code for _ in statuses] == statuses


@pytest.mark.anyio
async def test_without_a_connection_a_drop_is_an_error(tmp_path: Path) -> None:
    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        raise AssertionError("not to be asked")

    faulty = Faults(app, load(written(tmp_path, [{"match": "* *", "do": "drop_before"}])))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(faulty), base_url=BASE) as http:
        with pytest.raises(ConnectionAbortedError):
            await http.get("/x")


@pytest.mark.anyio
@pytest.mark.network
async def test_what_a_client_sees_of_each_fault(tmp_path: Path) -> None:
    rules: Rules = [
        {"match": JOBS, "at": 1, "do": "refuse", "status": 429, "retry_after": 7},
        {"match": JOBS, "at": 2, "do": "drop_before"},
        {"match": JOBS, "at": 3, "do": "drop_after"},
        {"match": JOBS, "at": 4, "do": "truncate", "bytes": 20},
        {"match": JOBS, "at": 5, "do": "garbage"},
        {"match": JOBS, "at": 6, "do": "delay", "seconds": 0.2},
    ]
    body = {"pipeline_type": "batch", "pipeline_key": "waiter"}
    headers = {"Authorization": f"Bearer {KEY}"}
    with lying(tmp_path, rules) as url:
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http:

            async def post(name: str) -> httpx.Response:
                return await http.post("/batch/jobs", json={"name": name, **body})

            refused = await post("refused")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
            assert refused.json()["errors"][0]["code"] == "fault"
            for name in ("before", "after", "truncated"):
                with pytest.raises(httpx.TransportError):
                    await post(name)
            garbage = await post("garbage")
            assert garbage.status_code == 201
            with pytest.raises(ValueError, match=r".*"):
                garbage.json()
            assert (await post("delayed")).elapsed.total_seconds() >= 0.2
            jobs = (await http.get("/batch/jobs")).json()["jobs"]
            assert [job["name"] for job in jobs] == ["delayed", "garbage", "truncated", "after"]


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize(
    "fault",
    [
        {"do": "refuse", "status": 503},
        {"do": "refuse", "status": 429, "retry_after": 1},
        {"do": "delay", "seconds": 0.5},
        {"do": "drop_before"},
        {"do": "drop_after"},
        {"do": "truncate", "bytes": 20},
        {"do": "garbage"},
    ],
    ids=lambda fault: f"{fault['do']}-{fault.get('status', '')}",
)
def test_the_products_client_makes_each_job_once(tmp_path: Path, fault: dict[str, Any], at: int) -> None:
    names = ["one", "three", "two"]
    (tmp_path / "specs").mkdir()
    for name in names:
        spec = {"name": name, "pipeline_type": "batch", "pipeline_key": "waiter"}
        (tmp_path / "specs" / f"{name}.json").write_text(json.dumps(spec))
    with lying(tmp_path, [{"match": JOBS, "at": at, **fault}]) as url:

        def reconciler(*command: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "reconciler", *command],
                capture_output=True, text=True, cwd=tmp_path, env=environment(tmp_path, url), check=False, timeout=60,
            )  # fmt: skip

        first = reconciler("apply", "--yes")
        again = reconciler("apply", "--yes")
        assert again.returncode == 0, (first, again)
        third = reconciler("plan", "--detailed-exitcode")
        assert third.returncode == 0, (first, again, third)
        headers = {"Authorization": f"Bearer {KEY}"}
        jobs = httpx.get(f"{url}/batch/jobs", headers=headers, trust_env=False).json()["jobs"]
        assert sorted(job["name"] for job in jobs) == names, (first, again)
