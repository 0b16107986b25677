"""Sensor data from CSV, row by row, so that a file of any length takes the memory of a few windows."""

import csv
import difflib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.service.sensors.reader import Reader
from reconciler.service.worker import InputFile, WorkFailed


@dataclass(frozen=True, slots=True)
class Row:
    """One line of data: its time as it is written, its values in the order of `data_columns`."""

    time: str
    values: tuple[float, ...]


def check_header(file: InputFile, reader: Reader) -> None:
    """Raises `WorkFailed` unless the file begins with a header that has all the columns wanted."""
    with _opened(file) as lines:
        _positions(next(lines, None), file, reader)


def count_rows(file: InputFile) -> int:
    """Counts the rows of data, header and blank lines left out."""
    with _opened(file) as lines:
        return max(0, sum(1 for line in lines if line) - 1)


def read_rows(file: InputFile, reader: Reader) -> Iterator[Row]:
    """Yields the rows in the file's order. Blank lines are passed over.

    Raises `WorkFailed`: `empty_file`, `not_utf8`, `not_csv`, `column_not_found`, `column_ambiguous`,
    `timestamp_column_not_found`, `row_too_short`, `cell_not_numeric` (empty, not a number, or not finite).
    """
    with _opened(file) as lines:
        time_at, values_at = _positions(next(lines, None), file, reader)
        last = max(time_at, *values_at)
        for number, line in enumerate((line for line in lines if line), start=1):
            if len(line) <= last:
                raise WorkFailed(
                    "row_too_short",
                    f"{file.filename}: row {number} has {len(line)} cells, the header needs {last + 1}",
                    details={"file": file.filename, "row": number},
                )
            try:
                values = tuple(_finite(line[at]) for at in values_at)
            except ValueError:
                raise _not_numeric(file, reader, number, [line[at] for at in values_at]) from None
            yield Row(line[time_at], values)


def _finite(cell: str) -> float:
    number = float(cell)
    # float() takes "1_000", which no other reader of CSV does.
    if not math.isfinite(number) or "_" in cell:
        raise ValueError(cell)
    return number


def _not_numeric(file: InputFile, reader: Reader, number: int, cells: list[str]) -> WorkFailed:
    for column, cell in zip(reader.data_columns, cells, strict=True):
        try:
            _finite(cell)
        except ValueError:
            return WorkFailed(
                "cell_not_numeric",
                f"{file.filename}: row {number}, column {column!r}: {cell[:40]!r} is not a finite number",
                "rows are counted from 1 below the header; fill or drop such rows before uploading",
                {"file": file.filename, "row": number, "column": column},
            )
    raise AssertionError("one of the cells was refused")


def _positions(header: list[str] | None, file: InputFile, reader: Reader) -> tuple[int, list[int]]:
    if not header:
        raise WorkFailed("empty_file", f"{file.filename} is empty: a header line and rows of data are expected")
    time_at = _position(header, reader.timestamp_column, "timestamp_column_not_found", file)
    return time_at, [_position(header, column, "column_not_found", file) for column in reader.data_columns]


def _position(header: list[str], column: str, code: str, file: InputFile) -> int:
    found = [at for at, name in enumerate(header) if name == column]
    if len(found) == 1:
        return found[0]
    details = {"file": file.filename, "column": column, "columns": header}
    if found:
        raise WorkFailed("column_ambiguous", f"{file.filename} has {len(found)} columns {column!r}", None, details)
    close = difflib.get_close_matches(column, header, n=1)
    kind = "timestamp column" if code == "timestamp_column_not_found" else "column"
    raise WorkFailed(
        code,
        f"{file.filename} has no {kind} {column!r}; it has {', '.join(header)}",
        f"did you mean {close[0]!r}?" if close else "name a column of the file in reader_config",
        details,
    )


@contextmanager
def _opened(file: InputFile) -> Iterator[Iterator[list[str]]]:
    """Opens the file as lines of cells; what is wrong with its text becomes a `WorkFailed`."""
    try:
        # A byte order mark, which spreadsheets write, would otherwise be part of the first column's name.
        with file.path.open(encoding="utf-8-sig", newline="") as text:
            yield csv.reader(text)
    except UnicodeDecodeError as error:
        raise WorkFailed(
            "not_utf8",
            f"{file.filename} is not UTF-8 text: {error.reason}",
            "save the file as UTF-8 and upload it again",
            {"file": file.filename},
        ) from error
    except csv.Error as error:
        raise WorkFailed("not_csv", f"{file.filename} is not CSV: {error}", details={"file": file.filename}) from error
