"""The whole page: what it is about, then the plan, what came of it, the jobs, and what went wrong."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256

from reconciler.errors import Diagnostic
from reconciler.job import Source
from reconciler.links import commit_link, https
from reconciler.report.jobs import by_status
from reconciler.report.page.charts import charts
from reconciler.report.page.failures import ended_badly, failures_part, outcomes_part
from reconciler.report.page.look import LOOK
from reconciler.report.page.markup import Child, Html, element, empty
from reconciler.report.page.pieces import link, moment, more, row, table
from reconciler.report.page.planned import plan_part
from reconciler.report.page.report import Report
from reconciler.report.page.timeline import timeline
from reconciler.report.plans import verdict
from reconciler.text import one_line, plural

_DIRTY = {
    False: None,
    True: "with changes that are not committed",
    None: "whether the specs are what it has is not known",
}
_LISTED = 500  # notes and diagnostics


def report_page(report: Report) -> str:
    """The report as a page that stands alone. Everything in it that came from outside is text."""
    parts = list(_parts(report))
    title = f"reconciler {report.command}"
    links = [element("li", element("a", heading, href=f"#{key}")) for key, heading, _ in parts]
    body = element(
        "body",
        element("header", element("h1", title), element("p", _headline(report), class_="headline"), _facts(report)),
        element("nav", element("ul", links), aria_label="Parts of the report") if len(parts) > 1 else None,
        element("main", _stopped(report), [_part(*part) for part in parts]),
        element("footer", element("p", f"Made by reconciler {report.version}. It is complete in itself: ", _ALONE)),
    )
    head = element(
        "head",
        empty("meta", charset="utf-8"),
        empty("meta", http_equiv="Content-Security-Policy", content=_policy()),
        empty("meta", name="viewport", content="width=device-width, initial-scale=1"),
        empty("meta", name="referrer", content="no-referrer"),
        empty("meta", name="color-scheme", content="light dark"),
        element("title", f"{title}: {_headline(report)}"),
        Html(f"<style>{LOOK}</style>"),
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


_ALONE = "it loads nothing and runs no script."


def _policy() -> str:
    """Nothing may be loaded, run or sent; of styles only the one that is written here."""
    look = b64encode(sha256(LOOK.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{look}'; base-uri 'none'; form-action 'none'"


def _headline(report: Report) -> str:
    """What it comes to, in one line."""
    if report.stopped:
        return one_line(report.stopped[0], 200)
    if report.command == "plan" and report.plan is not None:
        return verdict(report.plan)
    undone = Counter(o.outcome for o in report.outcomes if o.outcome != "done")
    parts = [f"{plural(count, 'action')} {word}" for word, count in undone.items()]
    if report.unsettled:
        parts.append(f"{plural(len(report.unsettled), 'submission')} unknown")
    parts += [f"{count:,} {word}" for word, count in by_status(report.records)]
    return " · ".join(parts) or "No jobs are recorded."


def _parts(report: Report) -> Iterator[tuple[str, str, Child]]:
    """Key, heading and content of each part that there is."""
    if report.diagnostics:
        yield "diagnostics", "Diagnostics of the specs", _diagnostics(report)
    if report.plan is not None:
        yield "plan", "Plan", list(plan_part(report.plan))
    if report.outcomes:
        yield "outcomes", "Outcomes", list(outcomes_part(report.outcomes))
    if report.records:
        jobs = [charts(report.records, report.at), list(timeline(report.records, report.at))]
        yield "jobs", "Jobs as they are recorded" if report.command == "plan" else "Jobs", jobs
    if report.unsettled or ended_badly(report.records):
        failures = list(failures_part(report.records, report.failures, report.unsettled))
        yield "failures", "What went wrong", failures
    if report.notes:
        notes = [element("li", note) for note in report.notes[:_LISTED]]
        yield "notes", "Notes", [element("ul", notes), more(len(report.notes) - _LISTED, "notes")]


def _part(key: str, heading: str, content: Child) -> Html:
    return element(
        "section", element("h2", heading, id=f"{key}-heading"), content, id=key, aria_labelledby=f"{key}-heading"
    )


def _stopped(report: Report) -> Child:
    if not report.stopped:
        return None
    return element("div", [element("p", line) for line in report.stopped], class_="stopped", role="note")


def _facts(report: Report) -> Html:
    source = report.source
    serial = "none yet" if report.serial is None else f"serial {report.serial}"
    facts: list[tuple[str, Child]] = [
        ("Command", element("code", f"reconciler {report.command}")),
        ("Made", moment(report.at)),
        ("Endpoint", element("code", report.endpoint)),
        ("State", serial),
        *_origin(source),
        ("Version", f"reconciler {report.version}"),
    ]
    return element("dl", [element("div", element("dt", term), element("dd", value)) for term, value in facts])


def _origin(source: Source) -> Iterator[tuple[str, Child]]:
    if source.commit:
        about = _DIRTY[source.dirty]
        commit = link(commit_link(source), element("code", source.commit[:12]))
        yield "Commit", [commit, " ", element("span", about, class_="about") if about else None]
    if source.branch:
        yield "Branch", source.branch
    if source.author:
        yield "Author", source.author
    if source.run_url:
        yield "CI run", link(https(source.run_url), source.run_url)


def _diagnostics(report: Report) -> list[Html]:
    rows = (row(str(d.location or ""), f"{d.severity}[{d.code}]", _told(d)) for d in report.diagnostics[:_LISTED])
    listed = table("Faults of the specs", ("Place", "Kind", "Message"), rows)
    return [listed, more(len(report.diagnostics) - _LISTED, "diagnostics")]


def _told(diagnostic: Diagnostic) -> str:
    return diagnostic.summary + (f" ({diagnostic.hint})" if diagnostic.hint else "")
