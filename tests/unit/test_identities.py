"""An input by `file_id` whose content was replaced: noticed by its identity, and no fault when it cannot be known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from http_server import Answer, Request, answer, reset, talk
from msgspec.structs import replace
from nouns import desired, recorded

from reconciler import identities
from reconciler.facts import to_compare
from reconciler.identities import Identities, content_drift, literal_files
from reconciler.job import PlatformFile, Upload

pytestmark = pytest.mark.network


def row(uid: str, size: int = 4) -> bytes:
    return answer(200, {"file_id": "x", "file_uid": uid, "num_bytes": size, "is_valid": True})


NO_LIST = answer(404)


def _lists(request: Request) -> bool:
    return "/files/metadata/" not in request.target


def drift(said: Any, **files: tuple[str, int | None]) -> Any:
    then = {name.replace("_", "."): PlatformFile(file_uid=uid, num_bytes=size) for name, (uid, size) in files.items()}
    jobs = {"a": recorded("COMPLETED", files=then)}
    return talk(said, lambda client: content_drift(client, jobs))


def test_only_files_that_are_not_ours_are_noted() -> None:
    items = [{"file_id": "theirs.csv"}, {"file_id": "ours.1.csv"}, {"checkpoint_id": "ckp_1"}, {"from": {"job": "b"}}]
    request = {"inputs": {"p": items, "q": [{"file_id": "theirs.csv"}]}}
    assert literal_files(request, [Upload("ours.csv", "ours.1.csv", "sha256:0", 1, "text/csv")]) == {"theirs.csv"}
    assert literal_files({}, []) == set()


def test_another_content_is_a_warning_that_says_what_to_do() -> None:
    (warning,) = drift([row("fil_2")], x_csv=("fil_1", 4)).result
    assert warning == (
        "a: input x.csv was uploaded anew after job_1 was submitted (drift); --replace a submits it again"
    )


@pytest.mark.parametrize(
    ("said", "warnings"),
    [
        (row("fil_1"), 0),
        (row("fil_1", 5), 1),
        (answer(404), 1),
        (answer(200, []), 0),
        (answer(200, {"file_uid": 5}), 0),
        (answer(200, {"file_uid": "fil_1"}), 0),
    ],
)
def test_what_is_drift_and_what_is_not(said: Answer, warnings: int) -> None:
    assert len(drift([said], x_csv=("fil_1", 4)).result) == warnings


def test_a_content_whose_size_was_not_known_is_known_by_its_id() -> None:
    assert drift([row("fil_1")], x_csv=("fil_1", None)).result == ()


def test_many_inputs_of_a_job_are_one_warning() -> None:
    files = {f"f{i}": ("fil_1", 4) for i in range(6)}
    (warning,) = drift([row("fil_2")], **files).result
    assert "inputs f0, f1, f2 and 3 more were uploaded anew" in warning


@pytest.mark.parametrize("said", [answer(503), answer(500), answer(401), reset])
def test_a_platform_that_does_not_answer_is_asked_once_and_is_no_fault(said: Answer) -> None:
    told = drift([said], a=("fil_1", 4), b=("fil_1", 4), c=("fil_1", 4))
    (warning,) = told.result
    assert "is not known" in warning
    assert len(told.requests) == 1
    assert told.slept == []


def test_each_file_is_asked_for_once_and_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "LIMIT", 3)
    files = {f"f{i}": PlatformFile(file_uid="fil_1", num_bytes=4) for i in range(5)}
    jobs = {name: recorded("COMPLETED", files=files) for name in ("a", "b")}
    told = talk(lambda r: NO_LIST if _lists(r) else row("fil_1"), lambda client: content_drift(client, jobs))
    assert sorted(r.target[-2:] for r in told.requests if not _lists(r)) == ["f0", "f1", "f2"]
    assert told.result == ("only 3 of 5 inputs were compared with what they were when their jobs were submitted",)


def _listed(*rows: tuple[str, str], after: str | None = None, bare: bool = False) -> Answer:
    data = [{"file_id": name, "file_uid": uid, "num_bytes": 4} for name, uid in rows]
    return answer(200, data if bare else {"data": data, "has_more": after is not None, "next_cursor": after})


FILES = {f"f{i}": PlatformFile(file_uid=f"fil_{i}", num_bytes=4) for i in range(2_000)}
ROWS = [(name, file.file_uid) for name, file in FILES.items()]


def _looked(said: Callable[[Request], Answer], files: Mapping[str, PlatformFile] = FILES) -> tuple[Any, list[str]]:
    told = talk(said, lambda client: content_drift(client, {"a": recorded("COMPLETED", files=files)}))
    return told.result, [request.target.partition("/files/metadata")[2] for request in told.requests]


def test_many_files_are_compared_at_the_price_of_their_pages() -> None:
    pages = {"?limit=1000": _listed(*ROWS[:1000], after="7"), "?limit=1000&after=7": _listed(*ROWS[1000:], after="8")}
    warnings, asked = _looked(lambda r: pages[r.target.partition("/files/metadata")[2]])
    assert warnings == ()
    assert asked == ["?limit=1000", "?limit=1000&after=7"]  # all are found: the rest of the list is nobody's business


def test_a_list_without_pages_is_read_as_well() -> None:
    warnings, asked = _looked(lambda _: _listed(*ROWS[:10], bare=True), dict(list(FILES.items())[:10]))
    assert (warnings, asked) == ((), ["?limit=1000"])


def test_what_a_page_shows_otherwise_is_only_believed_when_it_is_asked_for() -> None:
    changed = [("f0", "fil_new"), ("f1", "fil_new"), *ROWS]

    def said(request: Request) -> Answer:
        if _lists(request):
            return _listed(*changed)
        return row("fil_0") if request.target.endswith("/f0") else row("fil_new")

    (warning,), asked = _looked(said)
    assert "input f1 was uploaded anew" in warning  # of f0 the list was behind
    assert sorted(asked) == ["/f0", "/f1", "?limit=1000"]


def test_a_name_that_is_listed_with_two_contents_is_asked_for() -> None:
    few = dict(list(FILES.items())[:6])
    both = _listed(*ROWS[:6], ("f0", "fil_new"), bare=True)
    (warning,), asked = _looked(lambda r: both if _lists(r) else row("fil_new"), few)
    assert "input f0 was uploaded anew" in warning
    assert sorted(asked) == ["/f0", "?limit=1000"]


def test_a_page_of_other_peoples_files_is_the_last() -> None:
    few = dict(list(FILES.items())[:6])
    warnings, asked = _looked(
        lambda r: _listed(("x", "fil_x"), after="7") if _lists(r) else row("fil_" + r.target[-1]), few
    )
    assert warnings == ()
    assert sorted(asked) == ["/f0", "/f1", "/f2", "/f3", "/f4", "/f5", "?limit=1000"]


@pytest.mark.parametrize("said", [answer(404), answer(503), answer(200, "x"), answer(200, {"data": [1, {}]}), reset])
def test_without_a_list_each_file_is_asked_for(said: Answer) -> None:
    few = dict(list(FILES.items())[:6])
    warnings, asked = _looked(lambda r: said if _lists(r) else row("fil_" + r.target[-1]), few)
    assert warnings == ()
    assert len(asked) == 7


def test_only_jobs_that_the_specs_still_ask_for_are_compared() -> None:
    files = {"x": PlatformFile(file_uid="fil_1")}
    records = {
        "same": recorded(value=1, files=files),
        "changed": recorded(value=2, files=files),
        "gone": recorded(value=1, files=files),
        "none": recorded(value=1),
    }
    wanted = {name: desired(name, 1) for name in ("same", "changed", "none", "new")}
    assert list(to_compare(wanted, records)) == ["same"]
    assert to_compare({"same": replace(wanted["same"], fingerprint="sha256:other")}, records) == {}


def test_jobs_that_share_a_file_ask_for_it_once() -> None:
    def script(request: Request) -> Answer:
        return row("fil_1") if request.target.endswith("shared") else answer(404)

    async def both(client: Any) -> list[dict[str, PlatformFile]]:
        known = Identities()
        return list(await asyncio.gather(*(known.of(client, {"shared", "missing"}) for _ in range(3))))

    told = talk(script, both)
    assert told.result == [{"shared": PlatformFile(file_uid="fil_1", num_bytes=4)}] * 3
    assert len(told.requests) == 2


def test_what_is_replaced_for_its_drift_is_not_told_to_be_replaced() -> None:
    jobs = {name: recorded("COMPLETED", files={"x.csv": PlatformFile(file_uid="fil_1")}) for name in ("a", "b")}
    one, two = talk([row("fil_2")], lambda client: content_drift(client, jobs, {"a"})).result
    assert one.endswith("was submitted (drift)")
    assert two.endswith("(drift); --replace b submits it again")


def test_jobs_with_the_same_replaced_input_are_one_warning() -> None:
    jobs = {f"n{i}": recorded("COMPLETED", files={"x.csv": PlatformFile(file_uid="fil_1")}) for i in range(25)}
    (warning,) = talk([row("fil_2")], lambda client: content_drift(client, jobs)).result
    assert warning == (
        "n0, n1, n2 and 22 more: input x.csv was uploaded anew after their jobs were submitted (drift); "
        "--replace NAME submits it again"
    )


def test_an_input_that_is_gone_is_told() -> None:
    jobs = {n: recorded("COMPLETED", files={"x.csv": PlatformFile(file_uid="fil_1")}) for n in ("a", "b")}
    (warning,) = talk([answer(404)], lambda client: content_drift(client, jobs)).result
    assert warning == "a, b: input x.csv is no longer on the platform (drift)"
