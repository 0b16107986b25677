"""Writes pictures of the page into .reconciler/screenshots/, of a service with the example jobs in every status."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from chromium import chromium
from playwright.sync_api import Browser, Page
from service_client import DEADLINE, Served, served

ROOT = Path(__file__).parents[2]
OUT = ROOT / ".reconciler" / "screenshots"
MOTIONS = ROOT / "specs" / "data" / "motions"
READER = {
    "data_columns": ["accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"],
    "timestamp_column": "time",
    "window_size": 50,
}
SLOW = {"reader_config": READER | {"step_size": 1}, "flush_every_n_iteration": 1, "batch_size": 16}
SIZES = {"desktop": (1280, 900), "phone": (360, 740)}
WAIT = DEADLINE * 8


def submit_examples(service: Served, http: httpx.Client, work: Path) -> dict[str, str]:
    """The jobs of specs/, and then some that fail, run long or wait. The ids of these by name."""
    command = [sys.executable, "-m", "reconciler", "--endpoint", service.url, "--state", str(work / "state.json")]
    environment = {"ATAI_API_KEY": service.key, "PATH": "/usr/bin:/bin"}
    subprocess.run([*command, "apply", "--yes", "--wait"], cwd=ROOT, env=environment, check=True, capture_output=True)
    rows = (MOTIONS / "held-back-1.csv").read_text().splitlines()
    night = "\n".join([rows[0], *rows[1:] * 60])
    for name in ("pump-3-night.csv", "pump-4-night.csv"):
        http.post("/files", files={"file": (name, night, "text/csv")}).raise_for_status()
    for path in MOTIONS.glob("*.csv"):
        http.post("/files", files={"file": (path.name, path.read_bytes(), "text/csv")}).raise_for_status()
    broken = {"reader_config": READER | {"data_columns": ["accel_x", "pressure"], "step_size": 50}}
    jobs = {
        "pump-3-wrong-column": submit(http, "pump-3-wrong-column", ["held-back-1.csv"], broken),
    }
    ended(http, *jobs.values())
    jobs["pumps-night-shift"] = submit(
        http, "pumps-night-shift", ["held-back-2.csv", "pump-3-night.csv", "pump-4-night.csv"]
    )
    jobs["pump-4-night"] = submit(http, "pump-4-night", ["pump-4-night.csv"])
    for name in ("pump-4-morning", "pump-5-morning-with-a-name-that-is-rather-long-but-still-says-something"):
        jobs[name] = submit(http, name, ["held-back-2.csv"])
    withdrawn = submit(http, "pump-6-withdrawn", ["held-back-3.csv"])
    http.post(f"/batch/jobs/{withdrawn}/cancel").raise_for_status()
    return jobs


def submit(http: httpx.Client, name: str, files: list[str], config: dict[str, Any] | None = None) -> str:
    labels = ("badminton", "running", "standing", "walking")
    shots = [{"file_id": f"nshot-{label}.csv", "metadata": {"class": label}} for label in labels]
    body = {
        "name": name,
        "pipeline_type": "batch",
        "pipeline_key": "machine-state-classification",
        "inputs": {"worker.inference": [{"file_id": file} for file in files], "worker.n_shots": shots},
        "parameters": {"worker": {"config": config or SLOW}},
    }
    answer = http.post("/batch/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def ended(http: httpx.Client, *ids: str) -> None:
    deadline = time.monotonic() + WAIT
    while any(http.get(f"/batch/jobs/{each}").json()["completed_at"] is None for each in ids):
        states = [http.get(f"/batch/jobs/{each}").json()["status"] for each in ids]
        if all(state in ("FAILED", "CANCELLED", "COMPLETED") for state in states):
            return
        assert time.monotonic() < deadline, states
        time.sleep(0.1)


def picture(browser: Browser, service: Served, name: str, size: str, scheme: Any, job: str | None = None) -> None:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page: Page = context.new_page()
    key = f"key={service.key}&" if name != "key" else ""
    page.goto(f"{service.url.removesuffix('/v0.5')}/#{key}{f'job={job}' if job else ''}")
    page.wait_for_selector("#ask-key" if name == "key" else "#job-body" if job else "#timeline li")
    page.wait_for_timeout(2500)  # so that a second look has been taken
    page.screenshot(path=OUT / f"{name}-{size}-{scheme}.png", full_page=True)
    context.close()


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "data") as service, chromium() as browser:
        headers = {"Authorization": f"Bearer {service.key}"}
        with httpx.Client(base_url=service.url, headers=headers, trust_env=False, timeout=30) as http:
            picture(browser, service, "key", "desktop", "light")
            key = f"key={service.key}"
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"{service.url.removesuffix('/v0.5')}/#{key}")
            page.wait_for_selector("#jobs-empty")
            page.screenshot(path=OUT / "empty-desktop-light.png", full_page=True)
            page.close()
            jobs = submit_examples(service, http, Path(folder))
            done = http.get("/batch/jobs", params={"status": "COMPLETED", "q": "motions", "limit": 1}).json()["jobs"]
            for size in SIZES:
                for scheme in ("light", "dark"):
                    picture(browser, service, "overview", size, scheme)
                    picture(browser, service, "running", size, scheme, jobs["pumps-night-shift"])
                    picture(browser, service, "failed", size, scheme, jobs["pump-3-wrong-column"])
                    picture(browser, service, "completed", size, scheme, done[0]["id"])
    print(f"The pictures are in {OUT.relative_to(ROOT)}/.")


if __name__ == "__main__":
    main()
