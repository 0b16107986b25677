"""Several organisations on one service: each sees its own, and none makes the others wait for all it has queued."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from scripting import pipeline, submit
from service_client import BASE, Api

from reconciler.service.errors import ServiceError
from reconciler.service.keys import Keys
from reconciler.service.service import open_service
from reconciler.service.settings import Settings

pytestmark = pytest.mark.anyio
KEYS = {"a": "sk_team_a_0123456789", "b": "sk_team_b_0123456789", "b2": "sk_team_b_9876543210"}
TEXT = f"# names and keys\nteam-a: {KEYS['a']}\n\nteam-b: {KEYS['b']}\nteam-b:{KEYS['b2']}\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def keys_file(folder: Path, text: str = TEXT, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.write_text(text)
    path.chmod(mode)
    return path


@contextmanager
def teams(folder: Path) -> Iterator[dict[str, Api]]:
    """A client for each key, on a service that runs nothing."""
    pipelines = pipeline(pipeline(folder / "p"), "private", organisation="team-a")
    with open_service(
        folder / "d", key=None, keys_file=keys_file(folder), capacity=1, pipelines=pipelines, settings=Settings()
    ) as service:
        yield {
            name: Api(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(service.app),
                    base_url=BASE,
                    headers={"Authorization": f"Bearer {key}"},
                )
            )
            for name, key in KEYS.items()
        }


async def test_what_one_has_the_others_do_not_see(tmp_path: Path) -> None:
    with teams(tmp_path) as team:
        theirs = await submit(team["a"], files=("same-name",))
        await team["b"].upload("same-name", b"other content")
        assert (await team["b"].http.get("/files/download/same-name")).content == b"other content"
        assert (await team["a"].http.get("/files/download/same-name")).content == b"same-name"
        assert (await team["b"].http.get("/files/info")).json()["num_files"] == 1
        (given,) = await team["a"].rows(theirs, "inputs")
        link = f"http://service/v0.5{given['data']['ref']}"
        assert (await team["a"].http.get(link)).status_code == 200
        assert (await team["b"].http.get(link)).status_code == 404
        nouns = ("", "/events", "/progress", "/inputs", "/inputs/progress", "/inputs/progress/counts",
                 "/inputs/progress/traces", "/outputs", "/checkpoints")  # fmt: skip
        for noun in nouns:
            assert (await team["a"].http.get(f"/batch/jobs/{theirs}{noun}")).status_code == 200
            assert (await team["b"].refused("GET", f"/batch/jobs/{theirs}{noun}"))[0] == 404
        for method, verb in (("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")):
            assert (await team["b"].refused(method, f"/batch/jobs/{theirs}{verb}"))[0] == 404
        assert (await team["b"].http.get("/batch/jobs")).json()["total"] == 0
        assert (await team["b"].http.get("/batch/jobs", params={"q": theirs})).json()["total"] == 0
        mine = await team["b"].submit("scripted")
        assert mine["org_id"] != (await team["a"].job(theirs))["org_id"]
        assert (await team["b2"].job(mine["id"]))["id"] == mine["id"]  # another key of the same organisation


async def test_an_idempotency_key_is_of_one_organisation(tmp_path: Path) -> None:
    body = {"name": "n", "pipeline_type": "batch", "pipeline_key": "scripted"}
    with teams(tmp_path) as team:
        made = [
            (await team[name].http.post("/batch/jobs", json=body, headers={"Idempotency-Key": "k"})).json()["id"]
            for name in ("a", "b", "a", "b2")
        ]
        assert len(set(made)) == 2
        assert made[0] == made[2]
        assert made[1] == made[3]


async def test_a_pipeline_of_one_organisation_is_not_there_for_others(tmp_path: Path) -> None:
    body = {"name": "n", "pipeline_type": "batch", "pipeline_key": "private"}
    with teams(tmp_path) as team:
        rows = (await team["a"].http.get("/batch/registry/pipelines")).json()["pipelines"]
        (private,) = [row for row in rows if row["pipeline_key"] == "private"]
        assert (private["visibility"], private["status"]) == ("org", "published")
        assert (await team["a"].http.post("/batch/jobs", json=body)).status_code == 201
        path = f"/batch/registry/pipelines/{private['id']}"
        for method, where in (("GET", path), ("GET", f"{path}/schema"), ("POST", "/batch/jobs")):
            status, errors = await team["b"].refused(method, where, json=body if method == "POST" else None)
            assert (status, errors[0]["code"]) == (404, "pipeline_not_found")


async def test_organisations_take_turns(tmp_path: Path) -> None:
    with teams(tmp_path) as team:
        first = [await submit(team["a"]) for _ in range(5)]
        second = [await submit(team["b"]) for _ in range(2)]
        places = [(await team["a"].job(job))["queue_position"] for job in first]
        places += [(await team["b"].job(job))["queue_position"] for job in second]
        assert places == [1, 3, 5, 6, 7, 2, 4]
        assert (await team["a"].job(first[0]))["queue_depth"] == 7
        queues = (await team["b"].http.get("/batch/jobs/queue")).json()["queues"]
        assert queues == [{"pipeline_type": "batch", "depth": 7}, {"pipeline_type": "training", "depth": 0}]


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        (TEXT, 0o644, "others may read"),
        ("team-a: short\n", 0o600, ":1: this is no name and key"),
        (f"# c\n{KEYS['a']}\n", 0o600, ":2: this is no name and key"),
        (f"a: {KEYS['a']}\nb: {KEYS['a']}\n", 0o600, ":2: this key stands in the file already"),
        (f"a: short\nb: {KEYS['a']}\nc\n", 0o600, r"(?s):1: this is no name.*:3: this is no name"),
        ("\n", 0o600, "holds no key"),
        ("team-ä: sk_0123456789abcdef\n", 0o600, "more than ASCII"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used_is_refused_with_the_line(
    tmp_path: Path, text: str, mode: int, says: str
) -> None:
    path = keys_file(tmp_path, text, mode)
    with (
        pytest.raises(ServiceError, match=says) as caught,
        open_service(tmp_path / "d", key=None, keys_file=path, capacity=1, pipelines=None, settings=Settings()),
    ):
        pass
    assert KEYS["a"] not in f"{caught.value} {caught.value.hint}"


def test_every_key_is_compared_whatever_the_answer() -> None:
    keys = Keys({"first": "org_1", "second": "org_2"})
    assert [keys.organisation(given) for given in ("first", "second", "third", "", "ü")] == [
        "org_1",
        "org_2",
        None,
        None,
        None,
    ]
