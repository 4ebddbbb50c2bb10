"""The report, section by section: it is written after every row, so that no measurement is lost."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import ours
from benchmarks.common.bench import Bench, OutOfTimeError, Rows, Work


@dataclass(frozen=True)
class Section:
    """The rows of one question, the seconds it needs at least, and whether each row needs those before (`chained`)."""

    rows: Callable[[Bench], Rows]
    seconds: float
    chained: bool = False
    needs_images: bool = False


class Report:
    """A report in the file `path`: the facts, and for each section its status, seconds, rows and errors by row.

    The status is `done`, `failed` (see `errors`), `out of time` (rows are missing) or `skipped` (too little time was
    left to begin).
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.content: dict[str, Any] = {**facts, "sections": {}}
        self._write()

    def measure(self, name: str, section: Section, bench: Bench) -> None:
        """Measure every row of a section; an error in one goes into the report, and ends a chained section."""
        entry: dict[str, Any] = {"status": "done", "seconds": 0.0, "rows": {}, "errors": {}}
        self.content["sections"][name] = entry
        began = time.perf_counter()
        ours.events.subscribe(bench.clock.require)
        try:
            if bench.clock.left < section.seconds:
                message = f"needs {section.seconds:.0f} s, {max(0.0, bench.clock.left):.0f} s are left"
                entry |= {"status": "skipped", "message": message}
                return
            for row, work in section.rows(bench):
                bench.clock.require()
                self._measure_row(row, work, entry, may_fail=not section.chained)
                self._write()
                _log(f"  {name} {row}: {entry['rows'].get(row) or entry['errors'].get(row)}")
        except OutOfTimeError:
            entry |= {"status": "out of time", "message": f"out of time after {', '.join(entry['rows']) or 'nothing'}"}
        except Exception as error:  # an error in one section leaves the others
            entry |= {"status": "failed", "message": _message(error)}
        finally:
            ours.events.unsubscribe(bench.clock.require)
            entry["seconds"] = time.perf_counter() - began
            self._write()
            outcome = entry.get("message") or f"{len(entry['rows'])} rows, {len(entry['errors'])} errors"
            _log(f"{name}: {entry['status']}, {entry['seconds']:.1f} s, {outcome}")

    def _measure_row(self, row: str, work: Work, entry: dict[str, Any], *, may_fail: bool) -> None:
        began = time.perf_counter()
        try:
            entry["rows"][row] = {**work(), "seconds": time.perf_counter() - began}
        except OutOfTimeError:
            raise
        except Exception as error:
            entry["errors"][row] = _message(error)
            entry["status"] = "failed"
            if not may_fail:
                raise

    def _write(self) -> None:
        # Replaced as a whole: a process that is stopped while it writes leaves the last report.
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        new.replace(self.path)


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2000]


def _log(line: str) -> None:
    print(line[:200], file=sys.stderr, flush=True)
