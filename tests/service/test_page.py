"""The page of the service: what is served, and that only that needs no key."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from service_client import entries, running, served

from reconciler.service.routes import page

pytestmark = pytest.mark.anyio
FOLDER = Path(page.__file__).parents[1] / "page"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_page_and_its_parts_are_served_under_a_strict_policy(tmp_path: Path) -> None:
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    async with running(tmp_path, run_jobs=False) as api:
        for path in FOLDER.iterdir():
            address = "/" if path.name == "index.html" else f"/page/{path.name}"
            answer = await api.http.get(f"http://service{address}")
            assert answer.status_code == 200
            assert answer.content == path.read_bytes()
            assert answer.headers["content-type"].partition(";")[0] == kinds[path.suffix]
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "%2e%2e%2fapp.py", "..%2froutes%2fpage.py", "a/b", ""])
async def test_nothing_else_is_served(tmp_path: Path, name: str) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        answer = await api.http.get(f"http://service/page/{name}")
        assert entries(answer)[0] == 404


async def test_it_is_no_part_of_the_documented_api(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        document = (await api.http.get("http://service/openapi.json")).text
        assert '"/page' not in document


@pytest.mark.network
async def test_only_the_shell_needs_no_key(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        async with httpx.AsyncClient(base_url=service.url.removesuffix("/v0.5"), trust_env=False) as http:
            for path in ("/", "/page/main.js"):
                assert (await http.get(path)).status_code == 200
            assert entries(await http.get("/page/nothing.js"))[0] == 404
            for path in ("/v0.5/batch/jobs", "/page", "/v0.5/", "/index.html", "/page/../v0.5/batch/jobs"):
                assert (await http.get(path)).status_code == 401, path
            assert (await http.post("/page/main.js")).status_code == 401
        assert any(f"{service.url.removesuffix('v0.5')}" == line.split()[-1] for line in service.announced)


def test_the_source_names_no_other_host_and_makes_no_markup_of_text() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text()
        addresses = re.findall(r"https?://[^\s\"'`<]+", text)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
        assert not re.search(r"<[^>]+\s(on\w+|style)=", text) or path.suffix != ".html"


def test_every_text_can_be_read_in_both_schemes() -> None:
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w+)", part)) for part in _schemes())
    for colors in (light, dark):
        tones = ["text", "quiet", "accent", *(name for name in colors if name.isupper())]
        pairs = [(tone, ground) for tone in tones for ground in ("surface", "ground", "hover")]
        for tone, ground in [*pairs, ("on-accent", "accent"), ("FAILED", "shade"), ("text", "code")]:
            assert _contrast(colors[tone], colors[ground]) >= 4.5, (tone, ground)


def _schemes() -> list[str]:
    blocks = re.findall(r":root \{(.*?)\}", (FOLDER / "page.css").read_text(), re.DOTALL)
    assert len(blocks) == 2
    return list(blocks)


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(digit * 2 for digit in color[1:])
    parts = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
