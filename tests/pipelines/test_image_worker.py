"""The image worker as a process, on digits that its models were not trained on."""

import csv
import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image, ImageOps
from worker_process import SPECS, Ended, Given, definition, run_worker

KEY = "image-classifier"
DIGITS = SPECS / "data" / "digits"
ONE = DIGITS / "digit-1497.png"


def labels() -> dict[str, str]:
    with (DIGITS / "labels.csv").open(newline="") as text:
        return {row["file"]: row["label"] for row in csv.DictReader(text)}


def classify(folder: Path, *images: Given, **config: Any) -> Ended:
    return run_worker(KEY, {"images": images}, config, folder)


def results_of(ended: Ended) -> list[dict[str, Any]]:
    assert ended.status == 0, ended.stderr
    return [json.loads(line) for path in ended.outputs for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("model", "threshold", "least", "accepted"),
    # The neighbours agree on each of these images: all scores equal the threshold, which is enough.
    [("resnet50", 1, 0.9, {True}), ("efficientnet-b0", 0.9, 0.8, {True, False})],
)
def test_held_back_digits_are_recognised(
    tmp_path: Path, model: str, threshold: float, least: float, accepted: set[bool]
) -> None:
    known = labels()
    ended = classify(tmp_path, *(Given(DIGITS / name) for name in known), model=model, threshold=threshold)
    results = results_of(ended)
    assert [result["file_id"] for result in results] == list(known)
    right = [result["label"] == known[result["file_id"]] for result in results]
    assert sum(right) / len(right) >= least
    assert [line["step"] for line in ended.of_type("progress")] == [10, 20, 30]
    assert {result["accepted"] for result in results} == accepted
    for result in results:
        assert result["accepted"] == (result["score"] >= threshold)
        assert result["model_requested"] == model
        assert result["model_used"].endswith(f"(local stand-in for {model}, digits only)")
        assert result["sha256"] == hashlib.sha256((DIGITS / result["file_id"]).read_bytes()).hexdigest()
    assert f"{model} is not part of this service" in ended.of_type("event")[0]["message"]


def test_size_mode_format_and_polarity_do_not_matter(tmp_path: Path) -> None:
    source = Image.open(ONE).convert("L").resize((256, 256), Image.Resampling.NEAREST)
    stroke_is_light = source.getpixel((0, 0)) == 0
    ink = source if stroke_is_light else ImageOps.invert(source)
    clear = Image.merge("LA", (Image.new("L", ink.size, 0), ink))
    padded = ImageOps.expand(ImageOps.invert(ink), border=(100, 30, 20, 300), fill=255)
    pictures = {
        "light.png": ink,
        "dark.png": ImageOps.invert(ink),
        "transparent.png": clear,
        "palette.png": ink.convert("P"),
        "deep.png": ink.convert("I;16"),
        "colour.jpg": ImageOps.colorize(ink, "navy", "yellow"),
        "cmyk.jpg": ink.convert("CMYK"),
        "padded.png": padded,
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees clockwise
    ink.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned by a camera.jpg", exif=exif, quality=95)
    images = [Given(path) for path in sorted(tmp_path.iterdir())]
    found = {result["file_id"]: result["label"] for result in results_of(classify(tmp_path / "run", *images))}
    assert found == dict.fromkeys([*pictures, "turned by a camera.jpg"], labels()[ONE.name])


def test_the_content_counts_not_the_name(tmp_path: Path) -> None:
    (result,) = results_of(classify(tmp_path, Given(ONE, file_id="file_abc123")))
    assert (result["file_id"], result["label"]) == ("file_abc123", labels()[ONE.name])


@pytest.mark.slow
def test_parallel_indexes_share_the_images_and_agree_with_one(tmp_path: Path) -> None:
    images = [Given(path) for path in sorted(DIGITS.glob("*.png"))[:7]]
    whole = results_of(classify(tmp_path / "whole", *images))
    shared: list[dict[str, Any]] = []
    names = set()
    for index in (0, 1):
        part = {"images": images[index::2]}
        ended = run_worker(KEY, part, {}, tmp_path / str(index), index=index, parallelism=2)
        shared += results_of(ended)
        names |= {path.name for path in ended.outputs}
    assert names == {"results-index-0-of-2.jsonl", "results-index-1-of-2.jsonl"}
    assert sorted(shared, key=lambda result: result["file_id"]) == whole


def test_an_index_without_images_ends_well(tmp_path: Path) -> None:
    ended = classify(tmp_path)
    assert (ended.status, ended.outputs) == (0, [])


def test_a_blank_image_is_warned_of(tmp_path: Path) -> None:
    Image.new("L", (50, 50), 200).save(tmp_path / "blank.png")
    ended = classify(tmp_path / "run", Given(tmp_path / "blank.png"))
    assert ended.status == 0
    assert [event["level"] for event in ended.of_type("event")] == ["INFO", "WARN"]


def wide_png(side: int) -> bytes:
    """A PNG that claims so many pixels a side and has next to no data."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def broken_jpeg(folder: Path) -> bytes:
    path = folder / "whole.jpg"
    Image.radial_gradient("L").save(path)
    return path.read_bytes()[:900]


def test_files_that_cannot_be_decoded_fail_alone_and_by_name(tmp_path: Path) -> None:
    good = ONE.read_bytes()
    bad = {
        "text": (b"not an image at all", "not_an_image"),
        "cut jpeg": (broken_jpeg(tmp_path), "image_broken"),
        "bad header": (good[:20] + b"\xff" + good[21:], "not_an_image"),
        "bad pixels": (good[:43] + b"\xff" + good[44:], "image_broken"),
        "somewhat large": (wide_png(6_400), "image_too_large"),
        "bomb": (wide_png(60_000), "image_too_large"),
    }
    for name, (content, _) in bad.items():
        (tmp_path / name).write_bytes(content)
    ended = classify(tmp_path / "run", *(Given(tmp_path / name) for name in bad), Given(ONE))
    assert ended.status == 0
    failed = [event for event in ended.of_type("event") if event["event_type"] == "input_failed"]
    assert [event["payload"]["code"] for event in failed] == [code for _, code in bad.values()]
    assert all(name in event["message"] for name, event in zip(bad, failed, strict=True))
    statuses = [line["status"] for line in ended.of_type("input")]
    assert statuses == ["processing", "failed"] * len(bad) + ["processing", "completed"]
    (output,) = ended.outputs
    assert [json.loads(line)["file_id"] for line in output.read_text().splitlines()] == [ONE.name]


@pytest.mark.parametrize("wrong", [{"model": "resnet18"}, {"threshold": 1.1}, {"threshold": "0.5"}, {"treshold": 0.5}])
def test_the_schema_refuses(wrong: dict[str, Any]) -> None:
    schema = definition(KEY)["user_config_schema"]
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"model": "efficientnet-b0", "threshold": 0.8})
    assert not validator.is_valid(wrong)
