"""The HTML report in a real browser, opened as a file, as somebody does who has downloaded it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from playwright.sync_api import Browser, Page, expect
from report_samples import HOSTILE, RECORDS, hostile, job, report

from reconciler.report.page import report_page
from reconciler.text import one_line

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.network]
WIDTHS = [320, 360, 1280]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@contextmanager
def opened(browser: Browser, folder: Path, text: str, **options: Any) -> Iterator[Page]:
    """The page; at its end nothing was asked for, nothing ran, nothing was reported, and nothing is too wide."""
    file = folder / "report.html"
    file.write_text(text)
    context = browser.new_context(**options)
    page = context.new_page()
    faults: list[str] = []
    page.on("request", lambda asked: None if asked.url == file.as_uri() else faults.append(asked.url))
    page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
    page.on("pageerror", lambda error: faults.append(f"page: {error}"))
    page.on("console", lambda line: faults.append(f"console: {line.text}"))
    try:
        page.goto(file.as_uri())
        yield page
        assert faults == []
        if options.get("java_script_enabled", True):
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    finally:
        context.close()


def test_without_script_all_of_its_text_is_there(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, tmp_path, report_page(report()), java_script_enabled=False) as page:
        for name in RECORDS:
            expect(page.get_by_role("rowheader", name=name, exact=False).first).to_be_visible()
        for words in ("Cancels running work (1)", "parameters.worker.config.value", "killed", "no column 'time'"):
            expect(page.get_by_text(words, exact=True).first).to_be_visible()
        expect(page.get_by_role("img", name="queued 12:00:00, started 12:01:00, ended 12:03:00")).to_be_visible()
        expect(page.get_by_role("img", name="Jobs that waited and ran, over time")).to_be_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_text_is_inert(browser: Browser, tmp_path: Path, width: int) -> None:
    with opened(browser, tmp_path, report_page(hostile()), viewport={"width": width, "height": 740}) as page:
        shown = one_line(HOSTILE)
        assert page.evaluate("document.body.textContent").count(shown) >= 25
        assert page.evaluate("window.hacked") is None
        assert page.locator("script, img, iframe, link, form, object, [onerror], [style]").count() == 0
        hrefs = page.evaluate("[...document.links].map(link => link.href).filter(href => !href.startsWith('file:'))")
        assert all(href.startswith("https://github.com/acme/") for href in hrefs)


def test_what_the_page_forbids_is_forbidden(browser: Browser, tmp_path: Path) -> None:
    """Markup that somehow came in would neither run nor load nor send anything."""
    worst = (
        "<script>window.hacked=1</script><img src='https://evil.example/x' onerror='window.hacked=1'>"
        "<link rel=stylesheet href='https://evil.example/y'><p style='color:red' onclick='window.hacked=1'>x</p>"
    )
    (tmp_path / "report.html").write_text(report_page(report()).replace("<main>", f"<main>{worst}"))
    context = browser.new_context()
    page = context.new_page()
    refused: dict[str, str | None] = {}
    page.on("requestfailed", lambda asked: refused.update({asked.url: asked.failure}))
    page.goto((tmp_path / "report.html").as_uri())
    page.get_by_text("x", exact=True).click()
    assert page.evaluate("window.hacked") is None
    assert refused == dict.fromkeys(("https://evil.example/x", "https://evil.example/y"), "csp")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_timeline_and_charts_can_be_seen_and_stay_inside(
    browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    view: dict[str, Any] = {"viewport": {"width": width, "height": 740}, "color_scheme": scheme}
    with opened(browser, tmp_path, report_page(report()), **view) as page:
        for drawing in page.locator("svg").all():
            box = drawing.bounding_box()
            assert box is not None
            assert box["height"] >= 12
            assert 0 <= box["x"] <= box["x"] + box["width"] <= width
        assert page.locator(".timeline tbody svg").count() == len(RECORDS)
        bar = page.locator(".timeline tbody svg rect.ran").first
        drawn, ground = (
            page.evaluate("([node, key]) => getComputedStyle(node)[key]", [bar.element_handle(), "fill"]),
            page.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor"),
        )
        assert drawn != ground
        box = bar.bounding_box()
        assert box is not None
        assert box["width"] > 20


def test_where_a_server_forbids_the_style_the_drawings_still_say_what_they_say(
    browser: Browser, tmp_path: Path
) -> None:
    bare = re.sub("<style>.*</style>", "", report_page(report()), flags=re.DOTALL)
    with opened(browser, tmp_path, bare, viewport={"width": 800, "height": 900}) as page:
        fills = page.evaluate(
            """Object.fromEntries([...document.querySelectorAll('rect, path')].map(
                shape => [shape.getAttribute('class'), getComputedStyle(shape).fill]))"""
        )
        assert fills == {"waited": "none", "earlier": "none", "waiting": "none"} | dict.fromkeys(
            ("ran", "running"), "rgb(0, 0, 0)"
        )
        box = page.locator(".timeline tbody svg").first.bounding_box()
        assert box is not None
        assert box["width"] > 100


def test_contrast_of_text_is_enough_in_light_and_dark(browser: Browser, tmp_path: Path) -> None:
    measure = """() => {
        const channel = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        const light = colour => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(channel);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = node => {
            for (; node; node = node.parentElement) {
                const colour = getComputedStyle(node).backgroundColor;
                if (!colour.endsWith(", 0)")) return colour;
            }
            return "rgb(255, 255, 255)";
        };
        const texts = [...document.querySelectorAll("body *")].filter(
            node => !node.closest("svg") && [...node.childNodes].some(c => c.nodeType === 3 && c.data.trim()));
        return texts.map(node => {
            const pair = [getComputedStyle(node).color, ground(node)].map(light).sort((a, b) => b - a);
            return [(pair[0] + 0.05) / (pair[1] + 0.05), node.textContent.slice(0, 40)];
        }).sort((a, b) => a[0] - b[0])[0];
    }"""
    for scheme in ("light", "dark"):
        with opened(browser, tmp_path, report_page(report(stopped=("it ended",))), color_scheme=scheme) as page:
            least, words = page.evaluate(measure)
            assert least >= 4.5, f"{scheme}: {words}"


def test_the_keyboard_reaches_parts_and_opens_details(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, tmp_path, report_page(report())) as page:
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.outerHTML")
        assert "/commit/" in focused
        details = page.locator("#failures details").first
        details.locator("summary").focus()
        expect(details.get_by_text("killed")).to_be_visible()
        page.keyboard.press("Enter")
        expect(details.get_by_text("killed")).to_be_hidden()
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"


def test_on_paper_nothing_is_folded_or_cut_off(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, tmp_path, report_page(report()), viewport={"width": 700, "height": 900}) as page:
        page.evaluate("document.querySelectorAll('details').forEach(node => node.open = false)")
        expect(page.get_by_text("killed")).to_be_hidden()
        page.emulate_media(media="print")
        expect(page.get_by_text("killed")).to_be_visible()
        assert len(page.pdf()) > 10_000


def test_ten_thousand_jobs_still_open(browser: Browser, tmp_path: Path) -> None:
    records = {f"n{i}": job("COMPLETED", i % 900, i % 900 + 60, i % 900 + 90 + i % 7) for i in range(10_000)}
    text = report_page(report(records=records))
    assert len(text) < 3_000_000
    with opened(browser, tmp_path, text, viewport={"width": 360, "height": 740}) as page:
        expect(page.get_by_text("8,000 more jobs are only counted here: 8,000 COMPLETED.")).to_be_visible()
