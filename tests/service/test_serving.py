"""The service as a process: keys, signals, `kill -9`, and what the next start finds."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import stat
import statistics
import time
from pathlib import Path

import httpx
import pytest
from service_client import ENDED, Api, entries, gone, running, served, start

from reconciler.service.errors import ServiceError
from reconciler.service.listening import demand_key
from reconciler.service.server import serve

pytestmark = [pytest.mark.anyio, pytest.mark.network]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def serve_here(
    data: Path, *, host: str = "127.0.0.1", port: int = 0, capacity: int = 1, key: str | None = None
) -> None:
    said: list[str] = []
    serve(host=host, port=port, data=data, capacity=capacity, key=key, pipelines=None, announce=said.append)


async def test_it_says_how_to_use_it_but_not_the_key(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        assert service.key.startswith("sk_local_")
        assert stat.S_IMODE((tmp_path / "api-key").stat().st_mode) == 0o600
        said = "\n".join(service.announced)
        assert service.key not in said
        assert f"export ATAI_API_ENDPOINT={service.url}" in said
        assert f'export ATAI_API_KEY="$(cat {tmp_path}/api-key)"' in said
        assert str(tmp_path) in said
        assert service.url.startswith("http://127.0.0.1:")
        assert service.url.endswith("/v0.5")
        async with service.client() as api:
            assert (await api.http.get("/batch/jobs")).status_code == 200
        assert service.stop(signal.SIGTERM) == 0
        assert service.process.stderr is not None
        assert service.process.stderr.read() == ""


async def test_only_the_key_opens_it(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        async with httpx.AsyncClient(base_url=service.url, trust_env=False) as http:
            for header in (None, "Bearer", "Bearer wrong", f"Basic {service.key}", service.key, "Bearer \xff"):
                headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
                for path in ("/batch/jobs", "/nowhere", "/batch/contents/x?expires=1&signature=x"):
                    answer = await http.get(path, headers=headers)
                    status, errors = entries(answer)
                    assert (status, errors[0]["code"]) == (401, "unauthorized")
                    assert answer.headers["www-authenticate"] == "Bearer"
            described = await http.get(service.url.replace("/v0.5", "/openapi.json"))
            assert described.json()["info"]["version"] == "0.5"
            good = await http.get("/batch/jobs", headers={"authorization": f"bearer {service.key}"})
            assert good.status_code == 200
            assert good.headers["Idempotency-Key-Honored"] == "true"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_cleanly(tmp_path: Path, how: signal.Signals) -> None:
    with served(tmp_path) as service:
        async with service.client() as api:
            job = await api.submit("sleeper")
            pids = (await api.event(job["id"], "asleep"))[0]["payload"]["pids"]
        assert service.stop(how) == 0
        assert await gone(pids)
    async with running(tmp_path, run_jobs=False) as api:
        stopped = await api.job(job["id"])
        assert (stopped["status"], stopped["preemption_count"]) == ("PREEMPTED", 1)


async def test_a_second_signal_stops_it_at_once(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        port = int(service.url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as slow:
            head = f"POST /v0.5/batch/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
            slow.sendall(f"{head}Content-Length: 10\r\nExpect: 100-continue\r\n\r\n".encode())
            assert slow.recv(100).startswith(b"HTTP/1.1 100")  # the request is under way, and stays so
            service.process.send_signal(signal.SIGTERM)
            async with httpx.AsyncClient(trust_env=False) as http:
                with pytest.raises(httpx.TransportError):  # the port closes while the request is waited for
                    while True:
                        await http.get(service.url, headers={"connection": "close"})
            assert service.process.poll() is None
            assert service.stop(signal.SIGTERM) == 128 + signal.SIGTERM


async def test_after_kill_9_every_job_is_where_it_should_be(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        async with service.client() as api:
            made = {}
            for name in ("completed", "failed", "cancelled", "running", "admitted", "pending", "preempted"):
                key = {"completed": "babble", "failed": "crash"}.get(name, "waiter")
                job = await api.submit(key, name=name)
                made[name] = job["id"]
                if name in {"completed", "failed"}:
                    await api.wait(job["id"], *ENDED)
                if name == "cancelled":
                    await api.http.post(f"/batch/jobs/{job['id']}/cancel")
            (asleep,) = await api.event(made["running"], "asleep")
            await api.event(made["admitted"], "asleep")
        service.stop(signal.SIGKILL)
    with sqlite3.connect(tmp_path / "service.db") as database:  # the two statuses that last too short to be caught
        for status in ("admitted", "preempted"):
            database.execute("UPDATE jobs SET status = ? WHERE name = ?", (status.upper(), status))
    database.close()
    assert await gone(asleep["payload"]["pids"])  # its stdin closed
    async with running(tmp_path, run_jobs=False) as api:
        before = {name: (await api.job(job_id))["status"] for name, job_id in made.items()}
        assert before == {name: name.upper() for name in made}
    with served(tmp_path) as service:
        async with service.client() as api:
            await api.event(made["running"], "asleep", 2)  # it runs again
            after = {name: await api.job(job_id) for name, job_id in made.items()}
            assert {name: job["preemption_count"] for name, job in after.items()} == {
                "completed": 0, "failed": 0, "cancelled": 0, "running": 1, "admitted": 1, "pending": 0, "preempted": 0
            }  # fmt: skip
            assert [after[n]["status"] for n in ("completed", "failed", "cancelled")] == [
                "COMPLETED", "FAILED", "CANCELLED"
            ]  # fmt: skip
            assert [after[n]["queue_position"] for n in ("pending", "preempted")] == [1, 2]
        service.stop(signal.SIGTERM)


async def test_an_acknowledged_job_survives_kill_9(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        async with service.client() as api:
            headers = {"Idempotency-Key": "k"}
            body = {"name": "n", "pipeline_type": "batch", "pipeline_key": "waiter"}
            made = (await api.http.post("/batch/jobs", json=body, headers=headers)).json()
            service.stop(signal.SIGKILL)
    async with running(tmp_path, run_jobs=False) as api:
        again = await api.http.post("/batch/jobs", json=body, headers=headers)
        assert again.json()["id"] == made["id"]
        assert again.headers["Idempotency-Replayed"] == "true"


async def test_requests_cut_off_by_kill_9_make_one_job_each_when_sent_again(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(60)]
    acknowledged: dict[str, str] = {}

    async def send(api: Api, name: str) -> None:
        body = {"name": name, "pipeline_type": "batch", "pipeline_key": "waiter"}
        answer = await api.http.post("/batch/jobs", json=body, headers={"Idempotency-Key": name})
        job_id = answer.json()["id"]
        assert acknowledged.setdefault(name, job_id) == job_id
        if len(acknowledged) == 20:
            service.process.kill()

    with served(tmp_path) as service:
        async with service.client() as api:
            ends = await asyncio.gather(*(send(api, name) for name in names), return_exceptions=True)
    assert any(isinstance(end, httpx.TransportError) for end in ends)
    assert all(end is None or isinstance(end, httpx.TransportError) for end in ends)
    async with running(tmp_path, run_jobs=False) as api:
        for name in names:
            await send(api, name)
        page = (await api.http.get("/batch/jobs", params={"limit": 100})).json()
        assert sorted(job["name"] for job in page["jobs"]) == sorted(names)


async def test_a_second_service_on_the_folder_is_refused_but_a_command_may_look(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        with start(tmp_path) as second:
            _, said = second.communicate(timeout=15)
        assert second.returncode == 1
        assert f"pid {service.process.pid}" in said
        async with running(tmp_path) as other, service.client() as api:
            job = await other.submit("babble")
            assert (await api.wait(job["id"]))["status"] == "COMPLETED"


async def test_an_answer_does_not_wait_for_an_acknowledgement(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        async with service.client() as api:
            taken = []
            for _ in range(20):
                began = time.perf_counter()
                await api.http.get("/batch/jobs")
                taken.append(time.perf_counter() - began)
    assert statistics.median(taken) < 0.035  # a delayed acknowledgement takes 40 ms, each time


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServiceError) as caught:
        serve_here(tmp_path, port=taken.getsockname()[1])
    assert "is taken" in caught.value.message
    assert "--port" in caught.value.hint


def test_a_host_that_is_not_here_is_said(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="cannot listen"):
        serve_here(tmp_path, host="192.0.2.1", key="sk_0123456789abcdef")
    with pytest.raises(ServiceError, match="cannot listen"):
        serve_here(tmp_path, host="no such host")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
@pytest.mark.parametrize(("key", "fault"), [(None, "no key is set"), ("sk_0123456789ab", "less than 16 characters")])
def test_other_machines_are_let_in_only_with_a_key_that_somebody_set(
    tmp_path: Path, host: str, key: str | None, fault: str
) -> None:
    with pytest.raises(ServiceError, match=fault) as caught:
        serve_here(tmp_path / "data", host=host, key=key)
    assert "export ATAI_API_KEY=" in caught.value.hint
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_this_machine_any_key_will_do(host: str) -> None:
    demand_key(host, 0, None)
    demand_key(host, 0, "short")


def test_other_machines_are_let_in_with_a_good_key() -> None:
    demand_key("0.0.0.0", 0, "sk_0123456789abc")
    demand_key("0.0.0.0", 0, None, key_file=True)
    with pytest.raises(ServiceError):
        demand_key("0.0.0.0", 0, "short", key_file=True)


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="cannot be written"):
        serve_here(tmp_path / "file" / "data")
    with pytest.raises(ServiceError, match="capacity of 0"):
        serve_here(tmp_path / "data", capacity=0)


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "service.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ServiceError) as caught:
        serve_here(tmp_path)
    assert "newer version" in caught.value.message
    assert "upgrade" in caught.value.hint
    (tmp_path / "service.db").write_bytes(b"no database at all, but long enough to be looked at" * 20)
    with pytest.raises(ServiceError, match="not a database"):
        serve_here(tmp_path)
