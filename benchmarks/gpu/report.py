"""The report: section by section, row by row, written down after each so that nothing measured is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.bench import Bench, OutOfTimeError, Rows, Work
from knowledge_transfer.learning.training import events


@dataclass(frozen=True)
class Section:
    """`rows` of one question; the least `seconds` it needs; whether each row builds on those before (`chained`)."""

    rows: Callable[[Bench], Rows]
    seconds: float
    chained: bool = False
    needs_images: bool = False


class Report:
    """A report in the file `path`: the facts, and for each section its status, seconds, rows and errors by row.

    The status is `done`, `failed` (a row could not be measured, see `errors`), `out of time` (rows are missing) or
    `skipped` (it was not begun, for too little time was left).
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.content: dict[str, Any] = {**facts, "sections": {}}
        self._write()

    def measure(self, name: str, section: Section, bench: Bench) -> None:
        """Measure every row of a section; an error in one is written down, and ends the section where it is chained."""
        entry: dict[str, Any] = {"status": "done", "seconds": 0.0, "rows": {}, "errors": {}}
        self.content["sections"][name] = entry
        if bench.clock.left < section.seconds:
            message = f"needs {section.seconds:.0f} s, {max(0.0, bench.clock.left):.0f} s are left"
            entry |= {"status": "skipped", "message": message}
        else:
            self._measure_rows(name, section, bench, entry)
        self._write()
        told = entry.get("message") or f"{len(entry['rows'])} rows, {len(entry['errors'])} errors"
        print(f"{name}: {entry['status']}, {entry['seconds']:.1f} s, {told}", flush=True)

    def _measure_rows(self, name: str, section: Section, bench: Bench, entry: dict[str, Any]) -> None:
        began = time.perf_counter()
        events.subscribe(bench.clock.require)
        try:
            for row, work in section.rows(bench):
                bench.clock.require()
                self._measure_row(row, work, entry, may_fail=not section.chained)
                entry["seconds"] = time.perf_counter() - began
                self._write()
                print(f"  {name} {row}: {entry['rows'].get(row) or entry['errors'].get(row)}"[:200], flush=True)
        except OutOfTimeError:
            entry |= {"status": "out of time", "message": f"out of time after {', '.join(entry['rows']) or 'nothing'}"}
        except Exception as error:  # the other sections are to be measured whatever this one meets
            entry |= {"status": "failed", "message": _said(error)}
        finally:
            events.unsubscribe(bench.clock.require)
            entry["seconds"] = time.perf_counter() - began

    def _measure_row(self, row: str, work: Work, entry: dict[str, Any], *, may_fail: bool) -> None:
        began = time.perf_counter()
        try:
            measured = work()
        except OutOfTimeError:
            raise
        except Exception as error:
            entry["errors"][row] = _said(error)
            if not may_fail:
                raise
            entry["status"] = "failed"
        else:
            entry["rows"][row] = {**measured, "seconds": time.perf_counter() - began}

    def _write(self) -> None:
        # Put in place as a whole: whoever is stopped while writing leaves the report of before.
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        new.replace(self.path)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2000]
