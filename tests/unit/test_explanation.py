"""What `explain` finds and says. Whole answers are in the transcripts; here is what those do not show."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from nouns import ENDPOINT, recorded, request, state

from reconciler.entries import Intent, Submitted, token
from reconciler.errors import PlanRefused
from reconciler.explanation import explained_jobs, find
from reconciler.job import Move, PastJob, Source, State
from reconciler.journal import Journal
from reconciler.reconcile import Settings, explain
from reconciler.report.explanations import explanation_json, explanation_text
from reconciler.secrets import digest
from reconciler.state import dumps

HOSTILE = "a\x1b[31m\r\n::set-output name=x::\u202e\x00b"
PRINT = "sha256:" + "1" * 64
SCHEMA = Path(__file__).parents[2] / "schemas" / "explanation.schema.json"


def past(job_id: str, value: Any = 0, **more: Any) -> PastJob:
    return PastJob(
        job_id=job_id, fingerprint=PRINT, status="COMPLETED", reason="replaced", request=request(value), **more
    )


def settings(folder: Path, known: State | None = None) -> Settings:
    """A folder with the spec of `a`, and with a state; there is no platform."""
    (folder / "specs").mkdir(exist_ok=True)
    (folder / "specs" / "a.json").write_text(json.dumps({"name": "a", **request()}))
    if known is not None:
        (folder / "state.json").write_bytes(dumps(known))
    return Settings(root=folder, state=folder / "state.json", endpoint=ENDPOINT)


def specs(folder: Path) -> list[Path]:
    return [folder / "specs"]


@pytest.mark.parametrize(
    ("asked", "found_as", "name", "job_id"),
    [
        ("a", "name", "a", "job_a"),
        ("only-a-spec", "name", "only-a-spec", None),
        ("job_a", "job", "a", "job_a"),
        ("job_a_old", "past job", "a", "job_a_old"),
        ("was-b", "former name", "b", "job_b"),
        ("job_both", "job", "c", "job_both"),
    ],
)
def test_names_and_ids_are_found_wherever_they_are(asked: str, found_as: str, name: str, job_id: str | None) -> None:
    moves = (Move(moved_from="was-b", at="T", spec_path="b.yaml"),)
    known = state(
        a=recorded(job_id="job_a", history=(past("job_a_old"), past("job_both"))),
        b=recorded(job_id="job_b", moves=moves),
        c=recorded(job_id="job_both"),
    )
    found = find(asked, known, {"a", "only-a-spec"})
    assert found is not None
    assert (found.found_as, found.name, found.job_id) == (found_as, name, job_id)
    assert find("nothing", known, {"a"}) is None


@pytest.mark.parametrize("jobs", [{"job_b": recorded(job_id="job_x")}, {}])
def test_a_name_wins_over_an_id_and_says_so(jobs: Any) -> None:
    known = state(b=recorded(job_id="job_b"), **jobs)
    found = find("job_b", known, {"job_b"})
    assert found is not None
    assert found.name == "job_b"
    assert found.job_id == ("job_x" if jobs else None)
    assert "id of a job of b" in found.notes[0]


def test_each_job_is_compared_with_the_one_before_it_and_names_the_one_after() -> None:
    record = recorded("RUNNING", 3, job_id="job_3", history=(past("job_1", 1), past("job_2", 2)))
    newest, middle, oldest = explained_jobs("a", record)
    assert [j.job_id for j in (newest, middle, oldest)] == ["job_3", "job_2", "job_1"]
    assert [[(c.before, c.after) for c in j.changes or ()] for j in (newest, middle)] == [[(2, 3)], [(1, 2)]]
    assert (oldest.changes, oldest.followed_by, middle.followed_by, newest.followed_by) == (
        None,
        "job_2",
        "job_3",
        None,
    )
    unknown = past("job_2").model_copy(update={"request": None})
    newest, *_ = explained_jobs("a", recorded(history=(unknown,)))
    assert newest.changes is None, "what is not recorded is not said to be unchanged"


def test_after_moves_each_place_is_of_the_commit_that_had_it() -> None:
    def source(commit: str) -> Source:
        return Source(commit=commit, dirty=False, repository="https://github.com/team/jobs")

    moves = (
        Move(moved_from="one", at="T1", spec_path="1.yaml", line=1, source=source("b" * 7)),
        Move(moved_from="two", at="T2", spec_path="2.yaml", line=2, source=source("c" * 7)),
    )
    record = recorded(source=source("a" * 7), moves=moves, line=3).model_copy(update={"spec_path": "3.yaml"})
    (job,) = explained_jobs("three", record)
    assert job.spec.url == "https://github.com/team/jobs/blob/aaaaaaa/1.yaml#L1"
    assert [(m.before, m.after, m.spec.url) for m in job.renamed] == [
        ("one", "two", "https://github.com/team/jobs/blob/bbbbbbb/2.yaml#L2"),
        ("two", "three", "https://github.com/team/jobs/blob/ccccccc/3.yaml#L3"),
    ]


def test_it_touches_nothing(tmp_path: Path) -> None:
    """Neither platform nor lock: without a state there is not even a folder for one afterwards."""
    where = settings(tmp_path)
    told = explain(where, specs(tmp_path), "a")
    assert (told.next.action, told.job_id, told.jobs) == ("create", None, ())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["specs"]


def test_a_state_of_an_earlier_version_is_explained_as_far_as_it_goes(tmp_path: Path) -> None:
    old = recorded("COMPLETED", commit="c0ffee", history=(past("job_0").model_copy(update={"request": None}),))
    told = explain(settings(tmp_path, state(a=old)), specs(tmp_path), "a")
    text = explanation_text(told)
    assert "commit       c0ffee" in text
    assert "because      not recorded" in text
    assert "what it asked for is not recorded" in text
    assert "Next plan: keep: up to date" in text


def interrupted(where: Settings, known: State, *, answered: bool) -> None:
    """A journal that a killed apply left behind: the submission of `b`, and its answer."""
    mark = token(known.lineage, "b", 1)
    intent = Intent(
        name="b",
        at="2026-01-01T00:00:00Z",
        action="create",
        fingerprint=PRINT,
        generation=1,
        token=mark,
        request=request(2),
        spec_path="specs/b.yaml",
        line=7,
        why="new",
        source=Source(commit="c0ffee", branch="main"),
    )
    made = Submitted(name="b", at=intent.at, token=mark, job_id="job_b", job={"id": "job_b", "status": "PENDING"})
    journal = Journal.start(where.journal, known, [intent])
    if answered:
        asyncio.run(journal.append(made))
    journal.close()


def test_a_job_that_only_the_journal_has_is_found_by_its_id(tmp_path: Path) -> None:
    where = settings(tmp_path, state(a=recorded()))
    interrupted(where, state(a=recorded()), answered=True)
    before = where.journal.read_bytes()
    told = explain(where, specs(tmp_path), "job_b")
    assert (told.name, told.found_as, told.jobs[0].why) == ("b", "job", "new")
    assert told.next.action == "orphan"
    assert where.journal.read_bytes() == before


def test_a_submission_without_answer_says_what_is_known_of_it(tmp_path: Path) -> None:
    where = settings(tmp_path, state(a=recorded()))
    interrupted(where, state(a=recorded()), answered=False)
    told = explain(where, specs(tmp_path), "b")
    assert told.unsettled is not None
    assert (told.unsettled.spec.path, told.unsettled.spec.line, told.unsettled.why) == ("specs/b.yaml", 7, "new")
    assert (told.jobs, told.next.action) == ((), None)
    assert "to be settled first" in told.next.reason


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("pumps", "'pump'"),
        ("job_01hqzv3k9m2n4p6r8s0t1w3yz", "'job_01hqzv3k9m2n4p6r8s0t1w3yzx'"),
        ("job_01hqzv3k9m2n4p6r8s0t1w3yyx", "'job_01hqzv3k9m2n4p6r8s0t1w3yzx'"),
        ("", "status"),
        ("*", "status"),
    ],
)
def test_what_is_not_known_is_refused_with_the_nearest_that_is(tmp_path: Path, asked: str, hint: str) -> None:
    known = state(pump=recorded(), c=recorded(history=(past("job_01hqzv3k9m2n4p6r8s0t1w3yzx"),)))
    with pytest.raises(PlanRefused) as refused:
        explain(settings(tmp_path, known), specs(tmp_path), asked)
    assert hint in (refused.value.hint or "")
    assert refused.value.exit_code == 1


def hostile() -> State:
    source = Source(
        commit=HOSTILE,
        branch=HOSTILE,
        author=HOSTILE,
        repository=HOSTILE,
        run_url=HOSTILE,
        tool_version=HOSTILE,
        folder=HOSTILE,
        dirty=True,
    )
    moves = (Move(moved_from=HOSTILE, at=HOSTILE, spec_path=HOSTILE, source=source),)
    about: dict[str, Any] = {"why": HOSTILE, "source": source, "moves": moves, "taken_over_at": HOSTILE}
    record = recorded(
        HOSTILE,
        HOSTILE,
        observed={"error": {"message": HOSTILE}},
        observed_at=HOSTILE,
        pipeline_version=HOSTILE,
        retries=({"attempt": 2, "at": HOSTILE, "source": source},),
        history=(past("job_0", HOSTILE + "x", spec_path=HOSTILE, ended_at=HOSTILE, submitted_at=HOSTILE, **about),),
        **about,
    ).model_copy(update={"spec_path": HOSTILE, "submitted_at": HOSTILE})
    return state(**{HOSTILE: record})


@pytest.mark.parametrize("asked", [HOSTILE, "job_0", "job_1"])
def test_text_from_outside_cannot_steer_a_terminal(tmp_path: Path, asked: str) -> None:
    told = explain(settings(tmp_path, hostile()), specs(tmp_path), asked)
    text = explanation_text(told)
    assert "\\u001b[31m" in text
    assert not any(c in text for c in "\x1b\r\x00\u202e")
    assert "\n::set-output" not in text


def test_the_json_passes_its_schema_and_carries_true_values(tmp_path: Path) -> None:
    where = settings(tmp_path, hostile())
    for asked in (HOSTILE, "a", "job_0"):
        document = json.loads(json.dumps(explanation_json(explain(where, specs(tmp_path), asked))))
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
        assert document["jobs"] == [] or document["jobs"][0]["source"]["branch"] == HOSTILE


def test_a_long_comparison_is_cut_and_a_long_history_is_not(tmp_path: Path) -> None:
    values = [{str(i): n * i + n for i in range(100)} for n in range(200)]
    history = tuple(past(f"job_{n}", value) for n, value in enumerate(values))
    known = state(a=recorded("COMPLETED", job_id="job_now", history=history))
    text = explanation_text(explain(settings(tmp_path, known), specs(tmp_path), "job_100"))
    assert text.count("… and 80 more fields") == 2
    assert all(f"job_{n} " in text for n in range(200))


@pytest.mark.parametrize(("value", "action"), [("one", "keep"), ("two", "replace"), (None, "keep")])
def test_the_next_plan_is_told_with_the_environment_that_is_there(
    tmp_path: Path, value: str | None, action: str
) -> None:
    token = "${{ env.TOKEN }}"
    known = state(a=recorded("COMPLETED", token, secrets={"TOKEN": digest("L", "TOKEN", "one")}))
    environ = {} if value is None else {"TOKEN": value}
    around = replace(settings(tmp_path, known), environ=environ)
    (tmp_path / "specs" / "a.json").write_text(json.dumps({"name": "a", **request(token)}))
    told = explain(around, specs(tmp_path), "a").next
    assert told.action == action
    assert any("TOKEN is not set here" in warning for warning in told.warnings) == (value is None)
    assert ("another value of env.TOKEN" in told.reason) == (value == "two")
