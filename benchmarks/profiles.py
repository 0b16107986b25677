"""Where the time goes on the three hottest paths, as a page of pyinstrument each: `make profiles`.

A plan without changes over many specs; the submission of many jobs; a look at many jobs in flight.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import fleet
from benchmarks.measure import ROOT, Command, run, told
from benchmarks.talking import stand_in

PAGES = ROOT / ".bench" / "profiles"


def profile(name: str, folder: Path, *arguments: str) -> None:
    """Run a command of reconciler in `folder`, and write where its time went."""
    told(name)
    page = PAGES / f"{name}.html"
    tool = (sys.executable, "-m", "pyinstrument", "--renderer", "html", "--outfile", str(page), "-m", "reconciler")
    run(Command((*tool, *arguments), folder, {"ATAI_API_KEY": "sk_bench"}))
    print(page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=2_000, help="how many specs")
    number = parser.parse_args().number
    PAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        home = Path(temporary)
        fleet.write(home / "plan", number, "completed")
        profile("plan", home / "plan", "plan")
        with stand_in() as url:
            fleet.write(home / "apply", number, endpoint=url, shared=True)
            limits = ("--max-submissions", "none", "--parallelism", "64")
            profile("apply", home / "apply", "apply", "--yes", *limits)
        with stand_in(jobs=number) as url:
            fleet.write(home / "status", number, "in-flight", endpoint=url)
            profile("status", home / "status", "status")


if __name__ == "__main__":
    main()
