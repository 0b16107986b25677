"""The HTML page of a report: read by a parser, as a browser does. What it looks like is tested in a real one."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nouns import desired, recorded, state
from report_samples import ERROR, FAILURES, NOON, RECORDS, SOURCE, hostile, job, plan, report

from reconciler.apply import Outcome
from reconciler.errors import Diagnostic, Location
from reconciler.facts import Facts, PlanOptions
from reconciler.guards import Limit
from reconciler.job import FailureLog, RecordedJob
from reconciler.plan import make_plan
from reconciler.report.page import Report, report_page
from reconciler.report.page.timeline import ROWS

VOID = {"meta"}
TAGS = set(
    "html head meta title style body header nav main section footer h1 h2 h3 p ul li dl div dt dd a span strong code "
    "del ins time details summary table caption thead tbody tr th td figure figcaption svg rect path desc".split()
)


@dataclass
class Parsed(HTMLParser):
    """Elements, links and text of a page; every element is closed where it was opened."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def parsed(made: Report | str) -> Parsed:
    page = Parsed()
    page.feed(made if isinstance(made, str) else report_page(made))
    page.close()
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= TAGS, "no script, no form, no frame, no picture, no style sheet"
    for _, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on") or key in ("style", "src", "srcset", "action")]
        link = attributes.get("href") or "#"
        assert link.startswith(("https://", "#"))
    return page


def test_it_is_complete_in_itself_and_forbids_everything_else() -> None:
    text = report_page(report())
    page = parsed(text)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    look = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert look is not None
    assert base64.b64encode(hashlib.sha256(look[1].encode()).digest()).decode() in policy
    assert "url(" not in look[1]
    assert "@import" not in look[1]


def test_it_says_what_it_is_about() -> None:
    page = parsed(report())
    for words in (
        "reconciler apply",
        "https://platform.example/v0.5",
        "serial 4",
        "0123456789ab",
        "Ada Lovelace",
        "1.2.3",
    ):
        assert words in page.text
    links = [a["href"] for a in page.all("a")]
    assert SOURCE.run_url in links
    assert f"{SOURCE.repository}/commit/{SOURCE.commit}" in links
    assert f"{SOURCE.repository}/blob/{SOURCE.commit}/jobs/specs/pumps.yaml#L3" in links
    dirty = parsed(report(source=SOURCE.model_copy(update={"dirty": True})))
    assert "with changes that are not committed" in dirty.text


def test_the_plan_has_its_sections_in_the_order_of_the_markdown_and_fields_before_and_after() -> None:
    page = parsed(report(records={}, outcomes=()))
    titles = [
        "Cancels running work (1)",
        "Creates (1)",
        "Retries (1)",
        "Orphans: their specs are gone (1)",
        "Unchanged (1)",
    ]
    places = [page.text.index(title) for title in titles]
    assert places == sorted(places)
    changed = page.text.index("parameters.worker.config.value")
    assert page.text.index('"old"') > changed


def test_what_is_blocked_or_refused_is_said_with_what_overrides_it() -> None:
    wanted = {n: desired(n, n) for n in "abcdef"}
    wanted["a"] = desired("a", "new", protect=True)
    how = PlanOptions(limits={"max_submissions": Limit(2)})
    made = make_plan(Facts(wanted, state(a=recorded("RUNNING", "old"))), how)
    page = parsed(report(plan=made, command="plan"))
    assert made.refusals
    for words in ("Refused: ", made.refusals[0].reason, made.refusals[0].override, "Blocked by reconcile.protect"):
        assert words in page.text
    override = next(a.override for a in made.actions if a.name == "a")
    assert override
    assert override in page.text


def test_a_spec_that_is_gone_is_not_linked_at_a_commit_that_lacks_it() -> None:
    links = [str(a["href"]) for a in parsed(report(records={})).all("a")]
    assert any("specs/a.yaml#L1" in link for link in links)
    assert not any("old.yaml" in link for link in links)


def test_every_job_has_a_row_with_its_times_and_a_bar_that_says_the_same() -> None:
    text = report_page(report())
    rows = {name: row for name in RECORDS for row in re.findall(r"<tr.*?</tr>", text) if f">{name} <span" in row}
    assert rows.keys() == RECORDS.keys()
    assert "1 min 0 s" in rows["completed"]
    assert "2 min 0 s" in rows["completed"]
    assert "<title>queued 12:00:00, started 12:01:00, ended 12:03:00</title>" in rows["completed"]
    assert 'class="waited" x="0" y="2" width="300"' in rows["completed"]
    assert 'class="ran" x="300" y="2" width="600"' in rows["completed"]
    assert "retried 2 times" in rows["retried"]
    assert "preempted 1 time" in rows["preempted"]
    assert "≤ 2 min 0 s" in rows["retried"]
    assert 'class="ran"' not in rows["cancelled"]


def test_the_charts_count_jobs_by_status_and_over_time() -> None:
    page = parsed(report())
    assert "Status of 9 jobs" in page.text
    assert "At most 6 jobs waited (at 12:00:25 UTC), and at most 4 ran (at 12:01:10 UTC)." in page.text
    assert "2 jobs ran more than once" in page.text


def test_a_peak_that_is_shorter_than_a_column_is_drawn() -> None:
    records = {f"n{i}": job("COMPLETED", 100_000, 100_001, 100_002) for i in range(40)} | {
        "long": job("COMPLETED", 0, 1, 1_000_000)
    }
    page = parsed(report(records=records))
    drawn = next(p["d"] for p in page.all("path") if p["class"] == "running")
    assert "V0H" in str(drawn)
    assert "the top is 41" in page.text


def test_failures_have_their_error_their_inputs_and_their_events() -> None:
    page = parsed(report())
    for words in (ERROR["message"], "no column 'time'", "killed", "7 earlier ones are left out", "no job job_15-70"):
        assert words in page.text
    absent = parsed(report(failures={"failed": FailureLog(absent="its events could not be read: HTTP 503")}))
    assert "Events and inputs: its events could not be read: HTTP 503." in absent.text


def test_outcomes_that_are_not_done_come_first_with_what_to_do() -> None:
    page = parsed(report())
    assert page.text.index("HTTP 422") < page.text.index("job_7")
    assert "look at the registry" in page.text


def test_the_headline_is_what_a_person_must_know_first() -> None:
    headlines = {
        "1 action failed · 1 FAILED · 1 GONE": report(),
        "2 submissions unknown · 1 FAILED": report(outcomes=(), unsettled={"x": "", "y": ""}),
        "Plan: 1 to replace": report(command="plan"),
        "the platform is unavailable": report(stopped=("the platform is unavailable", "try again")),
        "No jobs are recorded.": Report("status", NOON, "local", "1"),
    }
    for words, made in headlines.items():
        assert f'class="headline">{words}' in report_page(made)
        assert f"reconciler {made.command}: {words}" in parsed(made).text


def test_it_tells_why_it_ended_early_and_what_is_wrong_with_specs() -> None:
    fault = Diagnostic("unknown-field", "unknown field 'modle'", Location("specs/a.yaml", 12, 7), hint="or 'model'?")
    page = parsed(Report("plan", NOON, "local", "1", stopped=("1 error",), diagnostics=(fault,)))
    for words in ("1 error", "specs/a.yaml:12:7", "error[unknown-field]", "unknown field 'modle' (or 'model'?)"):
        assert words in page.text
    unknown = parsed(report(unsettled={"x": "no answer"}))
    assert "The outcome of its submission is unknown: no answer" in unknown.text


@pytest.mark.parametrize("made", [report(), hostile(), Report("status", NOON, "local", "1")])
def test_it_can_be_used_without_seeing_it(made: Report) -> None:
    page = parsed(made)
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(th.get("scope") in ("row", "col") for th in page.all("th"))
    assert all(svg.get("role") == "img" for svg in page.all("svg"))
    assert len(page.all("title")) == 1 + len(page.all("svg")), "each drawing says what it shows"
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    named = [key for _, a in page.tags for key in str(a.get("aria-labelledby") or "").split()]
    assert set(named) <= set(ids)
    assert {str(a["href"])[1:] for a in page.all("a") if str(a["href"]).startswith("#")} <= set(ids)


def test_text_from_outside_is_only_text() -> None:
    text = report_page(hostile())
    page = parsed(text)
    assert page.text.count("<script>hacked=1</script>") >= 25
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    assert "javascript:" not in "".join(str(a.get("href")) for a in page.all("a"))
    assert all("evil.example" not in str(a.get("href")) for a in page.all("a"))


@given(st.text("<>&\"'=/!-? abc\0", min_size=1, max_size=40) | st.text(min_size=1, max_size=40))
def test_no_text_becomes_markup(words: str) -> None:
    plain = parsed(Report("wait", NOON, "x", "1", records={"n": job("FAILED", 0, 1, 2, error={"message": "x"})}))
    odd = job("FAILED", 0, 1, 2, error={"message": words}).model_copy(update={"spec_path": "specs/pumps.yaml"})
    page = parsed(Report("wait", NOON, words, "1", records={words: odd}))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]


def test_a_huge_report_counts_what_it_does_not_show() -> None:
    """Failures are shown before what went well; the file stays small enough to open."""
    count = 6000
    records: dict[str, RecordedJob] = {f"n{i}": RECORDS["completed"] for i in range(count)}
    records |= {f"bad{i}": RECORDS["failed"] for i in range(300)}
    wanted = {f"w{i}": desired(f"w{i}", i) for i in range(count)}
    made = make_plan(Facts(wanted, state(w0=recorded("COMPLETED", "x"))))
    outcomes = [Outcome(f"w{i}", "create", "done") for i in range(count)]
    notes = [f"note {i}" for i in range(count)]
    text = report_page(report(records=records, plan=made, outcomes=outcomes, notes=notes))
    assert len(text) < 4_000_000
    page = parsed(text)
    assert f"{count + 300 - ROWS:,} more jobs are only counted here: {count + 300 - ROWS:,} COMPLETED." in page.text
    assert "100 more jobs that ended badly are only counted here." in page.text
    assert f"{count - 1 - 500:,} more actions are only counted here." in page.text
    assert f"{count - 500:,} more outcomes are only counted here." in page.text
    assert f"{count - 500:,} more notes are only counted here." in page.text


def test_jobs_without_any_time_are_listed_all_the_same() -> None:
    bare = recorded("COMPLETED").model_copy(update={"submitted_at": None})
    page = parsed(report(records={"bare": bare}, failures=FAILURES))
    assert "not known" in page.text


def test_a_clock_that_is_behind_the_platforms_draws_nothing_outside() -> None:
    text = report_page(report(at=NOON - timedelta(days=1), plan=plan()))
    for x, size in re.findall(r'x="([\d.-]+)" y="2" width="([\d.-]+)"', text):
        assert 0 <= float(x) <= float(x) + float(size) <= 1000.1
