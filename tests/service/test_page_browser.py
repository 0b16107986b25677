"""The page in a real browser, on a service with real jobs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from chromium import chromium
from playwright.sync_api import Browser, Page, Request, expect
from scripting import pipeline
from service_client import Served, served, start

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.network]
HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1<!-- "
PATIENCE = 15_000.0  # milliseconds; several looks of the page
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "data") as running:
        yield running


@pytest.fixture
def http(service: Served) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {service.key}"}
    with httpx.Client(base_url=service.url, headers=headers, trust_env=False) as client:
        yield client


@dataclass
class Opened:
    """A page, and what happened in it that should not."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def check(self) -> None:
        assert self.page.evaluate("window.hacked") is None
        # Chromium reports every answer that is no success; who asks for a key or is offline gets those.
        assert [fault for fault in self.faults if "Failed to load resource" not in fault] == []
        assert self.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@contextmanager
def opened(browser: Browser, service: Served, words: str | None = None, **options: Any) -> Iterator[Opened]:
    """The page, by default with the key in the address; checked at the end."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    looked = Opened(context.new_page())
    home = service.url.removesuffix("/v0.5")

    def note(request: Request) -> None:
        looked.hosts.add(urlsplit(request.url).netloc)

    looked.page.on("request", note)
    looked.page.on("dialog", lambda dialog: looked.faults.append(f"dialog: {dialog.message}"))
    looked.page.on("pageerror", lambda error: looked.faults.append(f"page: {error}"))
    looked.page.on("console", lambda line: looked.faults.append(line.text) if line.type == "error" else None)
    try:
        looked.page.goto(f"{home}/#{f'key={service.key}' if words is None else words}")
        yield looked
        looked.check()
        assert looked.hosts <= {urlsplit(home).netloc, ""}  # "" is a blob: of the page itself
    finally:
        context.close()


def upload(http: httpx.Client, *names: str) -> None:
    for name in names:
        answer = http.post("/files", files={"file": (name, f"one two {name}".encode(), "text/plain")})
        assert answer.status_code == 200, answer.text


def submit(http: httpx.Client, key: str, name: str | None = None, **more: Any) -> str:
    body = {"name": name or key, "pipeline_type": "batch", "pipeline_key": key, **more}
    answer = http.post("/batch/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def count_words(http: httpx.Client, name: str, *files: str) -> str:
    upload(http, *files)
    return submit(http, "word-count", name, inputs={"worker.text": [{"file_id": file} for file in files]})


def test_it_asks_for_the_key_and_tells_when_it_is_wrong(browser: Browser, service: Served) -> None:
    with opened(browser, service, "") as looked:
        field = looked.page.get_by_label("API key")
        expect(field).to_be_focused()
        field.fill("sk_wrong")
        field.press("Enter")
        expect(looked.page.get_by_role("alert")).to_have_text("The service does not accept this key.")
        assert looked.page.evaluate("sessionStorage.length") == 0
        field.fill(service.key)
        field.press("Enter")
        expect(looked.page.get_by_text("There are no jobs yet.")).to_be_visible()
        looked.page.reload()
        expect(looked.page.get_by_text("There are no jobs yet.")).to_be_visible()
        assert looked.page.evaluate("localStorage.length + document.cookie.length") == 0
        looked.page.get_by_role("button", name="Forget the key").click()
        expect(field).to_be_visible()


def test_a_key_in_the_address_is_taken_out_of_it(browser: Browser, service: Served) -> None:
    with opened(browser, service) as looked:
        expect(looked.page.get_by_role("heading", name="Queue")).to_be_visible()
        assert "key" not in looked.page.url


def test_where_no_key_is_needed_none_is_asked_for(browser: Browser, service: Served) -> None:
    with opened(browser, service, "") as looked:
        expect(looked.page.get_by_label("API key")).to_be_visible()
        headers = {"authorization": f"Bearer {service.key}"}  # from here on the service is one that needs no key
        looked.page.route("**/v0.5/**", lambda route: route.continue_(headers=headers))
        looked.page.reload()
        expect(looked.page.get_by_text("There are no jobs yet.")).to_be_visible()
        expect(looked.page.get_by_label("API key")).to_be_hidden()
        expect(looked.page.get_by_role("button", name="Forget the key")).to_be_hidden()


def test_it_shows_what_runs_waits_and_has_ended(browser: Browser, service: Served, http: httpx.Client) -> None:
    count_words(http, "counted", "a.txt", "b.txt")
    with opened(browser, service) as looked:
        page = looked.page
        table = page.locator("#jobs")
        expect(table.get_by_role("row", name="counted")).to_contain_text("Completed")
        row = table.get_by_role("row", name="counted").element_handle()
        page.get_by_label("Name or id").focus()
        for name in ("first", "second", "third"):
            submit(http, "sleeper", name)
        expect(page.locator("#running li")).to_have_count(2)
        expect(page.locator("#queue li")).to_have_count(1)
        expect(page.locator("#queue li")).to_contain_text("third")
        expect(page.locator("#timeline li")).to_have_count(4)
        expect(page.locator("#counts")).to_contain_text("Completed")
        assert row is not None
        assert row.evaluate("node => node.isConnected"), "rows are updated, not made anew"
        expect(page.get_by_label("Name or id")).to_be_focused()
        page.keyboard.type("THIR")
        expect(table.get_by_role("row")).to_have_count(1)
        page.get_by_role("button", name="Running").click()
        expect(table.get_by_role("row")).to_have_count(2)


def test_the_overview_follows_what_a_worker_says(browser: Browser, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    said = [["say", {"type": "progress", "kind": "inference", "step": n, "message": f"part {n} of 2"}] for n in (1, 2)]
    steps = [said[0], ["wait", str(gate)], said[1], ["wait", str(tmp_path / "never")]]
    with served(tmp_path / "data", pipelines=pipeline(tmp_path / "p")) as service:
        headers = {"Authorization": f"Bearer {service.key}"}
        with httpx.Client(base_url=service.url, headers=headers, trust_env=False) as http:
            submit(http, "scripted", parameters={"worker": {"config": {"steps": steps}}})
        with opened(browser, service) as looked:
            expect(looked.page.locator("#running li")).to_contain_text("part 1 of 2")
            gate.touch()
            expect(looked.page.locator("#running li")).to_contain_text("part 2 of 2")


def test_a_job_shows_its_files_and_gives_its_outputs(browser: Browser, service: Served, http: httpx.Client) -> None:
    job = count_words(http, "counted", "a.txt", "b.txt")
    with opened(browser, service, f"job={job}&key={service.key}") as looked:
        page = looked.page
        expect(page.locator("#inputs tr")).to_have_count(2)
        expect(page.locator("#outputs tr")).to_have_count(2)
        expect(page.locator("#events")).to_contain_text("counted")
        expect(page.locator("#job-parameters")).to_contain_text('"lower": true')
        with page.expect_download() as download:
            page.get_by_role("button", name="Download a.txt.csv").click()
        assert download.value.suggested_filename == "a.txt.csv"
        assert Path(download.value.path()).read_text() == "a.txt,1\none,1\ntwo,1\n"


def test_cancel_and_retry_ask_first(browser: Browser, service: Served, http: httpx.Client) -> None:
    job = submit(http, "sleeper")
    with opened(browser, service, f"job={job}&key={service.key}") as looked:
        page = looked.page
        page.get_by_role("button", name="Cancel the job").click()
        page.keyboard.press("Escape")
        assert http.get(f"/batch/jobs/{job}").json()["cancelled_at"] is None
        page.get_by_role("button", name="Cancel the job").click()
        page.get_by_role("button", name="Yes, cancel the job").click()
        expect(page.get_by_role("article")).to_contain_text("Cancelled")
        page.get_by_role("button", name="Retry the job").click()
        page.get_by_role("button", name="Yes, run it again").click()
        expect(page.get_by_role("button", name="Cancel the job")).to_be_visible()
        assert http.get(f"/batch/jobs/{job}").json()["retry_count"] == 1


@pytest.mark.parametrize("width", [360, 1280])
def test_what_jobs_say_is_only_text(browser: Browser, service: Served, http: httpx.Client, width: int) -> None:
    counted = count_words(http, HOSTILE + "x" * 300, HOSTILE)
    config = {"path": HOSTILE + "y" * 300, "port": HOSTILE}
    failed = submit(http, "stray", "stray", parameters={"worker": {"config": config}})
    with opened(browser, service, viewport={"width": width, "height": 740}) as looked:
        expect(looked.page.locator("#jobs")).to_contain_text(HOSTILE)
        looked.check()
        looked.page.evaluate(f"location.hash = 'job={counted}'")
        expect(looked.page.locator("#job-name")).to_contain_text(HOSTILE)
        expect(looked.page.locator("#outputs")).to_contain_text(HOSTILE)
        expect(looked.page.locator("#inputs")).to_contain_text(HOSTILE)
        looked.check()
        looked.page.evaluate(f"location.hash = 'job={failed}'")
        expect(looked.page.locator("#job-error")).to_contain_text("<img src=x")
        expect(looked.page.locator("#job-parameters")).to_contain_text("<script>")
        looked.check()
        looked.page.evaluate("location.hash = 'job=' + encodeURIComponent('../<img src=x onerror=hacked=1>')")
        expect(looked.page.locator("#job-missing")).to_contain_text("There is no job")
        assert looked.page.locator("img, main script").count() == 0


def test_the_keyboard_alone_reaches_a_job_and_comes_back(browser: Browser, service: Served, http: httpx.Client) -> None:
    count_words(http, "counted", "a.txt")
    with opened(browser, service) as looked:
        page = looked.page
        link = page.locator("#jobs a")
        expect(link).to_have_text("counted")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        for _ in range(40):
            page.keyboard.press("Tab")
            if link.evaluate("node => node === document.activeElement"):
                break
        expect(link).to_be_focused()
        assert link.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="counted")).to_be_focused()
        page.keyboard.press("Shift+Tab")
        expect(page.get_by_role("link", name="All jobs")).to_be_focused()
        page.keyboard.press("Enter")
        expect(link).to_be_focused()
        page.go_back()
        expect(page.get_by_role("heading", name="counted")).to_be_focused()


def test_it_is_dark_where_the_viewer_wants_it_dark(browser: Browser, service: Served) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        with opened(browser, service, color_scheme=scheme) as looked:
            color = looked.page.evaluate("getComputedStyle(document.body).backgroundColor")
            shades[scheme] = sum(map(int, color.removeprefix("rgb(").removesuffix(")").split(",")))
    assert shades["dark"] < 100 < 700 < shades["light"]


def test_a_service_that_is_gone_is_told_and_found_again(
    browser: Browser, service: Served, http: httpx.Client, tmp_path: Path
) -> None:
    count_words(http, "counted", "a.txt")
    with opened(browser, service) as looked:
        expect(looked.page.locator("#jobs")).to_contain_text("Completed")
        service.stop(signal.SIGKILL)
        said = looked.page.locator("#connection")
        expect(said).to_contain_text("The service cannot be reached. Trying again…")
        expect(looked.page.locator("#jobs")).to_contain_text("counted")
        with start(tmp_path / "data", urlsplit(service.url).port or 0) as again:
            try:
                expect(said).to_have_text("")
            finally:
                again.kill()
                again.communicate()
