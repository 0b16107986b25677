"""An output is taken over from its worker whole, once, and also when the service dies in the middle of it."""

from __future__ import annotations

import io
from pathlib import Path
from threading import Thread

import pytest

from reconciler.service.contents import Contents, EscapingOutput
from reconciler.service.folder import DataFolder


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path / "data")
    made.prepare()
    return made


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a.txt").write_text("all of it")
    return tmp_path / "outputs"


def test_what_was_taken_over_is_found_again(folder: DataFolder, output_dir: Path) -> None:
    contents = Contents(folder)
    paths = {contents.take_over("out_1", output_dir, "a.txt") for _ in range(2)}
    assert paths == {folder.contents / "out_1" / "a.txt"}
    assert paths.pop().read_text() == "all of it"
    assert list(output_dir.iterdir()) == list(folder.incoming.iterdir()) == []


@pytest.mark.parametrize("moved", [False, True])
def test_a_service_that_died_while_it_took_over_is_no_fault_of_the_worker(
    folder: DataFolder, output_dir: Path, moved: bool
) -> None:
    (folder.incoming / "out_1").mkdir()
    if moved:
        (output_dir / "a.txt").rename(folder.incoming / "out_1" / "a.txt")
    path = Contents(folder).take_over("out_1", output_dir, "a.txt")
    assert path == folder.contents / "out_1" / "a.txt"
    assert path.read_text() == "all of it"
    assert path.stat().st_mode & 0o222 == 0


def test_what_cannot_be_taken_over_leaves_nothing(folder: DataFolder, output_dir: Path) -> None:
    with pytest.raises(EscapingOutput):
        Contents(folder).take_over("out_1", output_dir, "b.txt")
    assert list(folder.incoming.iterdir()) == list(folder.contents.iterdir()) == []


def test_what_moves_while_the_folder_is_looked_through_is_no_error(folder: DataFolder) -> None:
    """The sweep at the start, while requests are served already."""
    contents = Contents(folder)

    def receive() -> None:
        for number in range(300):
            contents.receive(f"file_{number}", "a.txt", io.BytesIO(b""))
            contents.publish(f"file_{number}")

    receiving = Thread(target=receive)
    receiving.start()
    while receiving.is_alive():
        contents.stored(older_than=0)
    assert len(set(contents.stored(older_than=1e12))) == 300
