from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.client import wire
from reconciler.entries import Observed

WIRE = Path(__file__).parent.parent / "data" / "wire"
JOB = {"id": "job_1", "name": "a", "status": "RUNNING"}


@pytest.mark.parametrize("name", ["create-job.response.json", "get-job.response.json"])
def test_documented_job_objects_are_read_whole(name: str) -> None:
    raw = json.loads((WIRE / name).read_text())
    job = wire.job(raw)
    assert job is not None
    assert (job.id, job.name, job.status) == (raw["id"], raw["name"], raw["status"])
    assert (job.pipeline_key, job.pipeline_version) == ("image-classifier", "1.2.0")
    assert job.parameters == raw["parameters"]
    assert (job.queue_position, job.queue_depth) == (raw["queue_position"], raw["queue_depth"])
    assert (job.created_at, job.completed_at) == (raw["created_at"], raw["completed_at"])
    assert job.raw == raw


def test_unknown_statuses_and_fields_are_passed_on() -> None:
    raw = {**JOB, "status": "HIBERNATED", "input_progress": {"pending": 1}, "new": [1]}
    job = wire.job(raw)
    assert job is not None
    assert job.status == "HIBERNATED"
    assert job.raw["new"] == [1]


@pytest.mark.parametrize("wrong", [None, 5, -1, 2.5, True, "5", 10**30, [], {}, [{}], {"a": 1}])
def test_fields_of_a_wrong_type_are_taken_as_absent(wrong: Any) -> None:
    fields = """org_id pipeline_type pipeline_key pipeline_version parameters retry_count preemption_count
        queue_position queue_depth created_at updated_at started_at completed_at failed_at cancelled_at error""".split()
    job = wire.job({**JOB, **dict.fromkeys(fields, wrong)})
    assert job is not None
    assert all(isinstance(v, str) for v in (job.pipeline_type, job.pipeline_key, job.pipeline_version))
    assert all(v is None or isinstance(v, str) for v in (job.created_at, job.completed_at, job.cancelled_at))
    assert isinstance(job.parameters, dict)
    assert job.error is None or isinstance(job.error, dict)
    counts = [job.retry_count, job.preemption_count, job.queue_position or 0, job.queue_depth or 0]
    assert all(type(n) is int and 0 <= n < 2**53 for n in counts)


@pytest.mark.parametrize("field", ["id", "name", "status"])
@pytest.mark.parametrize("wrong", [None, 5, True, ["x"], {"x": 1}])
def test_what_has_no_identity_is_not_a_job(field: str, wrong: Any) -> None:
    assert wire.job({**JOB, field: wrong}) is None
    assert wire.job({k: v for k, v in JOB.items() if k != field}) is None


@pytest.mark.parametrize("raw", [None, [], "job", 5, [JOB], {"job": JOB}])
def test_what_is_no_object_is_not_a_job(raw: Any) -> None:
    assert wire.job(raw) is None


@pytest.mark.parametrize(
    "job_id",
    ["", ".", "..", "a/b", "../a", "a\\b", "a\nb", "job_1\n", "a b", "a\x00", "a\x7f", "a?b", "a#b", "a%2f", "x" * 257],
)
def test_an_id_that_would_change_a_path_is_none(job_id: str) -> None:
    assert wire.job({**JOB, "id": job_id}) is None


@pytest.mark.parametrize("job_id", ["5", "a.b", "...", "JOB:1", "jöb", "x" * 256])
def test_ids_are_opaque_otherwise(job_id: str) -> None:
    job = wire.job({**JOB, "id": job_id})
    assert job is not None
    assert job.id == job_id


BAD_JSON = {
    "nothing": "",
    "html": "<html></html>",
    "cut off": '{"a": ',
    "not a number": '{"a": NaN}',
    "infinity": "[-Infinity]",
    "beyond a float": '{"a": 1e999}',
    "half a surrogate pair": '{"a": "\\ud800"}',
    "half a pair as a key": '{"\\udc00": 1}',
    "5000 digits": '{"a": ' + "9" * 5000 + "}",
    "deeper than Python goes": "[" * 100_000 + "]" * 100_000,
    "deeper than our files go": "[" * 101 + "]" * 101,
    "a byte order mark": "\ufeff{}",
    "two values": "{} {}",
}


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=list(BAD_JSON))
def test_what_is_not_plain_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.loads(text)


@pytest.mark.parametrize("text", ['{"a": "\\ud83d\\ude00"}', '[1e308, 12345678901234567890, ""]', "[" * 90 + "]" * 90])
def test_odd_but_sound_json_is_read_and_can_be_kept(text: str) -> None:
    value = wire.loads(text)
    assert value == json.loads(text)
    kept = Observed(name="a", at="2026-01-01T00:00:00Z", job_id="job_1", job={"x": value})
    assert json.loads(json.dumps(kept.model_dump(mode="json"), allow_nan=False))["job"] == {"x": value}


def test_a_page_has_rows_and_may_claim_a_total() -> None:
    assert wire.rows({"jobs": [JOB], "total": 7}, "jobs") == ([JOB], 7)
    assert wire.rows({"jobs": []}, "jobs") == ([], None)
    assert wire.rows({"jobs": [], "total": "7"}, "jobs") == ([], None)
    assert wire.rows({"jobs": [], "total": -7}, "jobs") == ([], None)


@pytest.mark.parametrize("raw", [None, [], [JOB], {}, {"jobs": None}, {"jobs": {"a": JOB}}, {"jobs": "x"}])
def test_what_is_no_page_is_refused(raw: Any) -> None:
    assert wire.rows(raw, "jobs") is None


@pytest.mark.parametrize("row", [None, "job_1", 5, [JOB]])
def test_a_page_with_a_row_that_is_none_is_refused_because_it_could_hide_a_job(row: Any) -> None:
    assert wire.rows({"jobs": [JOB, row]}, "jobs") is None


ENVELOPES = {
    "current": (
        {
            "errors": [
                {"code": "missing_parameter", "message": "no name", "suggestion": "give one", "error_uid": "err-1"}
            ]
        },
        ("HTTP 400: no name [err-1]", "give one", "missing_parameter"),
    ),
    "several": (
        {"errors": [{"code": "a", "message": "one"}, {"code": "b", "message": "two", "suggestion": "do"}]},
        ("HTTP 400: one; two", "do", "a"),
    ),
    "only a code": ({"errors": [{"code": "NOT_FOUND"}]}, ("HTTP 400: NOT_FOUND", None, "NOT_FOUND")),
    "legacy": ({"detail": "Not authenticated"}, ("HTTP 400: Not authenticated", None, None)),
    "legacy of a schema": (
        {"detail": [{"loc": ["body", "name"], "msg": "field required", "type": "missing"}, "and so on"]},
        ("HTTP 400: field required; and so on", None, None),
    ),
    "obsolete": (
        {"error": {"code": "RATE", "message": "slow down", "details": {"retry_after": 60}}},
        ("HTTP 400: slow down", None, "RATE"),
    ),
    "wrong types": ({"errors": [{"code": 5, "message": None, "suggestion": []}]}, ("HTTP 400: 5", None, None)),
    "nothing in it": ({"errors": [{}]}, ("HTTP 400: no message", None, None)),
}


@pytest.mark.parametrize(("body", "said"), ENVELOPES.values(), ids=list(ENVELOPES))
def test_every_envelope_is_understood(body: Any, said: tuple[str, str | None, str | None]) -> None:
    assert wire.error_text(400, json.dumps(body)) == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "HTTP 502: an empty body"),
        (" \n", "HTTP 502: an empty body"),
        ("\n<!DOCTYPE html><h1>Bad gateway</h1>", "HTTP 502: an HTML page"),
        ("upstream gone", "HTTP 502: upstream gone"),
        ('{"message": "Forbidden"}', 'HTTP 502: {"message": "Forbidden"}'),
        ('{"errors": []}', 'HTTP 502: {"errors": []}'),
        ("null", "HTTP 502: null"),
    ],
)
def test_any_other_error_body_is_shown_as_it_is(body: str, said: str) -> None:
    assert wire.error_text(502, body) == (said, None, None)


def test_error_text_cannot_drive_a_terminal_or_fill_it() -> None:
    hostile = "\x1b[2J\x1b]0;pwned\x07\r\nok\u202e"
    for body in (hostile, json.dumps({"errors": [{"message": hostile, "suggestion": hostile}]})):
        message, suggestion, _ = wire.error_text(500, body)
        assert (message + (suggestion or "")).isprintable()
    long, _, _ = wire.error_text(500, json.dumps({"detail": "x" * 100_000}))
    assert len(long) <= 2000


@given(
    st.text()
    | st.recursive(st.none() | st.text() | st.floats(), lambda c: st.dictionaries(st.text(), c)).map(json.dumps)
)
def test_no_error_body_breaks_the_client(body: str) -> None:
    message, _, _ = wire.error_text(500, body)
    assert message.startswith("HTTP 500: ")


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("Tue, 14 Apr 2026 10:00:00 GMT", 2026),
        ("Tue, 14 Apr 2026 10:00:00", 2026),
        ("Tuesday, 14-Apr-26 10:00:00 GMT", 2026),
    ],
)
def test_http_dates(text: str, year: int) -> None:
    moment = wire.http_date(text)
    assert moment is not None
    assert (moment.year, moment.hour, moment.utcoffset()) == (year, 10, moment.utcoffset())
    assert not moment.utcoffset()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "-1",
        "Mon, 20 Nov 99999999999 10:00:00 GMT",
        "Mon, 20 Nov 2026 99999999999999999999:00:00 GMT",
        "Mon, 20 Nov 2026 10:00:00 +99999999999",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -1200",
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert wire.http_date(text) is None


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://other.example:8443/x", "other.example:8443"),
        ("https://user:secret@other.example/", "other.example"),
        ("/elsewhere", ""),
        ("http://[::1", ""),
        ("", ""),
    ],
)
def test_the_host_of_a_url_without_its_credentials(url: str, host: str) -> None:
    assert wire.host(url) == host
