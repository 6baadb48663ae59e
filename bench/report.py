"""What a run has found: the tables, the targets of the project, and the machine they are of."""

from __future__ import annotations

import datetime
import json
import os
import platform
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from dashboard import Page
from load import Cell
from servers import POSTGRES, ROOT, SQLITE

BEGIN, END = "<!-- bench/run --docs writes from here -->", "<!-- to here -->"
PEER = "PocketBase"
HTTP_FLOOR, SQLITE_FLOOR = "floor: axum, stores nothing", "floor: bare SQLite in groups"
POSTGRES_FLOOR = "floor: bare PostgreSQL in sets"
PGBENCH, PGBENCH_CREATE = "floor: pgbench, one row of users", "floor: pgbench, the rows of a create"
# Where a target names no number of connections.
USUAL = 64


@dataclass
class Start:
    """How a server starts, and what it takes when nothing is asked of it."""

    subject: str
    users: int
    ready_ms: float
    idle_mib: float


@dataclass
class Target:
    """What the project has set itself. `met` is `None` if the run has not measured it."""

    what: str
    goal: str
    measured: str
    met: bool | None


class Report:
    """Everything that was measured in one run."""

    def __init__(self, machine: dict[str, str], cells: list[Cell], starts: list[Start], pages: list[Page]) -> None:
        self.machine, self.cells, self.starts, self.pages = machine, cells, starts, pages

    @property
    def is_wrong(self) -> bool:
        """Whether anything failed or is not in the database: then its number is worth nothing."""
        return any(cell.failed or cell.complaint for cell in self.cells) or any(page.failed for page in self.pages)

    def write_json(self, file: Path) -> None:
        result = {
            "machine": self.machine,
            "cells": [asdict(cell) for cell in self.cells],
            "starts": [asdict(start) for start in self.starts],
            "pages": [asdict(page) for page in self.pages],
            "targets": [asdict(target) for target in self.targets()],
        }
        file.write_text(json.dumps(result, indent=2) + "\n")

    def write_into(self, file: Path) -> None:
        before, _, rest = file.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        if not rest or not after:
            raise RuntimeError(f"{file} has lost the lines {BEGIN} and {END}")
        file.write_text(f"{before}{BEGIN}\n\n{self.markdown()}\n\n{END}{after}")

    def markdown(self) -> str:
        parts = [self.rows(), self.targets_table()]
        parts += [self.starts_table()] if self.starts else []
        parts += [self.pages_table()] if self.pages else []
        parts.append("\n".join(f"- {name}: {value}" for name, value in self.machine.items()))
        return "\n\n".join(parts)

    def rows(self) -> str:
        head = ["server", "row", "users before", "connections", "requests/s", "p50 ms", "p99 ms", "failed"]
        head += ["CPU µs/request", "peak MiB"]
        return table(head, [self.line(cell) for cell in self.cells], left=2)

    def line(self, cell: Cell) -> list[str]:
        cpu = "" if cell.cpu_us is None else f"{cell.cpu_us:.0f}"
        cpu += "" if cell.database_cpu_us is None else f" + {cell.database_cpu_us:.0f}"
        wrong = [f"**{cell.failed} FAILED**"] if cell.failed else []
        wrong += [f"**WRONG: {cell.complaint}**"] if cell.complaint else []
        return [
            cell.subject,
            cell.row,
            "" if cell.users is None else f"{cell.users:,}",
            str(cell.connections),
            f"{cell.per_second:,.0f}",
            f"{cell.p50_ms:.2f}",
            f"{cell.p99_ms:.2f}",
            ", ".join(wrong) or "0",
            cpu,
            "" if cell.peak_mib is None else f"{cell.peak_mib:.0f}",
        ]

    def starts_table(self) -> str:
        rows = [[s.subject, f"{s.users:,}", f"{s.ready_ms:.0f}", f"{s.idle_mib:.1f}"] for s in self.starts]
        return table(["server", "users", "start to ready ms", "idle memory MiB"], rows, left=1)

    def pages_table(self) -> str:
        head = ["server", "page of the dashboard", "users", "p50 ms", "p99 ms", "max ms", "failed"]
        lines = [
            [page.subject, page.page, f"{page.users:,}", f"{page.p50_ms:.1f}", f"{page.p99_ms:.1f}", f"{page.max_ms:.1f}"]
            + [f"**{page.failed} FAILED**" if page.failed else "0"]
            for page in self.pages
        ]
        return table(head, lines, left=2)

    def targets_table(self) -> str:
        words = {True: "met", False: "**not met**", None: "not measured"}
        rows = [[target.what, target.goal, target.measured, words[target.met]] for target in self.targets()]
        return table(["target", "goal", "measured", ""], rows, left=4)

    # The targets

    def cell(self, subject: str, row: str, connections: int = USUAL, users: int | None = None) -> Cell | None:
        wanted = (subject, row, connections, users)
        found = (c for c in self.cells if (c.subject, c.row, c.connections, c.users) == wanted)
        return next(found, None)

    def ratios(self, over: tuple[str, str], under: tuple[str, str]) -> dict[int, float]:
        """Requests a second of one row in those of another, by connections."""
        found = {}
        for connections in sorted({cell.connections for cell in self.cells}):
            a, b = self.cell(*over, connections), self.cell(*under, connections)
            if a and b and b.per_second:
                found[connections] = a.per_second / b.per_second
        return found

    def targets(self) -> Iterator[Target]:
        for subject in (SQLITE, POSTGRES):
            for row in ("create", "update", "read"):
                found = self.ratios((subject, row), (PEER, row))
                yield ratio(f"{subject}: {row}, to {PEER}'s", 10, found, [USUAL])
        for subject, floor in ((SQLITE, SQLITE_FLOOR), (POSTGRES, POSTGRES_FLOOR)):
            yield self.half_of_the_lower_floor(subject, floor)
        found = self.ratios((POSTGRES, "create"), (PGBENCH, "create"))
        yield ratio(f"{POSTGRES}: create, to pgbench's", 3, found, list(found))
        for subject in (SQLITE, POSTGRES):
            for row in ("create", "update", "read"):
                yield self.growth(subject, row)
        for subject in (SQLITE, POSTGRES):
            yield self.slowest(subject)
            yield self.slowest(subject, grown=True)
        for subject in (SQLITE, POSTGRES):
            yield from self.starting(subject)
        yield from map(self.slowest_page, (SQLITE, POSTGRES))

    def half_of_the_lower_floor(self, subject: str, storage: str) -> Target:
        what = f"{subject}: create at {USUAL}, of the lower floor"
        cells = [self.cell(name, "create") for name in (subject, HTTP_FLOOR, storage)]
        if not all(cells):
            return Target(what, "≥ 50 %", "", None)
        usher, *floors = [cell.per_second for cell in cells if cell]
        share = usher / min(floors)
        lower = "HTTP" if floors[0] < floors[1] else "storage"
        return Target(what, "≥ 50 %", f"{share:.0%} of {min(floors):,.0f}/s ({lower})", share >= 0.5)

    def growth(self, subject: str, row: str) -> Target:
        grown = [cell for cell in self.cells if (cell.subject, cell.row) == (subject, row) and cell.users is not None]
        most = max((cell.users or 0 for cell in grown), default=0)
        what = f"{subject}: {row} at {most:,} users, of that at none"
        if most == 0:
            return Target(f"{subject}: {row} with many users, of that at none", "≥ 80 %", "", None)
        share = grown[-1].per_second / grown[0].per_second
        return Target(what, "≥ 80 %", f"{share:.0%}", share >= 0.8)

    def slowest(self, subject: str, grown: bool = False) -> Target:
        what = f"{subject}: p99 at {USUAL} connections, slowest row" + (", however many users" if grown else "")
        cells = [c for c in self.cells if (c.subject, c.connections, c.users is not None) == (subject, USUAL, grown)]
        if not cells:
            return Target(what, "< 20 ms", "", None)
        slowest = max(cells, key=lambda cell: cell.p99_ms)
        where = slowest.row + (f" at {slowest.users:,} users" if grown else "")
        return Target(what, "< 20 ms", f"{slowest.p99_ms:.1f} ms ({where})", slowest.p99_ms < 20)

    def slowest_page(self, subject: str) -> Target:
        what = f"{subject}: p99 of the dashboard's lists at 1,000,000 users, slowest page"
        pages = [page for page in self.pages if (page.subject, page.users) == (subject, 1_000_000)]
        if not pages:
            return Target(what, "< 100 ms", "", None)
        slowest = max(pages, key=lambda page: page.p99_ms)
        return Target(what, "< 100 ms", f"{slowest.p99_ms:.1f} ms ({slowest.page})", slowest.p99_ms < 100)

    def starting(self, subject: str) -> Iterator[Target]:
        starts = [start for start in self.starts if start.subject == subject]
        first, last = (starts[0], starts[-1]) if starts else (None, None)
        measures: list[tuple[str, Start | None, str, float, Callable[[Start], float]]] = [
            ("idle memory", first, "MiB", 40, lambda start: start.idle_mib),
            ("idle memory", last, "MiB", 40, lambda start: start.idle_mib),
            ("start to ready", first, "ms", 100, lambda start: start.ready_ms),
            ("start to ready", last, "ms", 300, lambda start: start.ready_ms),
        ]
        for what, start, unit, limit, value in measures:
            users = f"{start.users:,}" if start else "?"
            measured = f"{value(start):.1f} {unit}" if start else ""
            met = value(start) < limit if start else None
            yield Target(f"{subject}: {what} at {users} users", f"< {limit:.0f} {unit}", measured, met)


def ratio(what: str, goal: float, found: dict[int, float], judged: list[int]) -> Target:
    """`judged` are the numbers of connections at which the goal has to be reached; the others are shown beside them."""
    measured = ", ".join(f"{ratio:.1f} at {connections}" for connections, ratio in found.items())
    at = f" at {USUAL}" if judged == [USUAL] else ""
    met = all(found[connections] >= goal for connections in judged) if found and set(judged) <= set(found) else None
    return Target(what + at, f"≥ {goal:.0f} times", measured, met)


def table(head: list[str], rows: list[list[str]], left: int) -> str:
    """Markdown that can also be read as it is. The first `left` columns are texts, the others numbers."""
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]

    def padded(line: list[str]) -> list[str]:
        return [text.ljust(w) if i < left else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))]

    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [padded(head), rule, *map(padded, rows)])


def of_pgbench(log: Path, seconds: int) -> dict[str, int]:
    """The result that pgbench's log of each transaction amounts to, in the words of `load.lua`."""
    lines = [line.split() for file in log.iterdir() for line in file.read_text().splitlines()]
    times = sorted(int(fields[2]) for fields in lines if fields[2].isdigit())

    def at(percent: int) -> int:
        return times[min(len(times) * percent // 100, len(times) - 1)] if times else 0

    counts = {"requests": len(lines), "refused": len(lines) - len(times), "broken": 0}
    return {**counts, "micros": seconds * 1_000_000, "p50_us": at(50), "p99_us": at(99), "max_us": at(100)}


# The machine


def machine(home: Path, peers: dict[str, str]) -> dict[str, str]:
    """What the numbers are of. `home` is where the databases are."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "Date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "Usher": version("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"),
        "Cores": f"{os.cpu_count()} ({cpu[1] if cpu else platform.machine()}), shared with the load",
        "Memory": f"{memory:.0f} GiB",
        "Kernel": platform.release(),
        "Disk": fsync_latency(home),
        "Rust": version("rustc", "--version"),
        "PostgreSQL": version("psql", "--version"),
        "wrk": version("wrk", "-v").splitlines()[0],
        "Node": version("node", "--version"),
        "Load before the run": " ".join(Path("/proc/loadavg").read_text().split()[:3]),
        **peers,
    }


def version(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).strip()
    except FileNotFoundError:
        return "none"


def fsync_latency(home: Path, times: int = 200) -> str:
    """How long the disk takes to keep a page for good: what a commit cannot be faster than."""
    kind = version("stat", "-f", "-c", "%T", str(home))
    if kind == "tmpfs":
        raise RuntimeError(f"{home} is in memory, where nothing is durable: name another place with --dir")
    took = []
    file = os.open(home / "fsync", os.O_CREAT | os.O_WRONLY)
    for _ in range(times):
        os.write(file, b"x" * 4096)
        begin = time.perf_counter()
        os.fdatasync(file)
        took.append((time.perf_counter() - begin) * 1000)
    os.close(file)
    took.sort()
    return f"{kind}, fdatasync of 4 KiB {took[times // 2]:.2f} ms, p99 {took[times * 99 // 100]:.2f} ms; {scattered_pages(home):,.0f} scattered pages a second"


def scattered_pages(home: Path, gib: int = 4, at_once: int = 1000, rounds: int = 10) -> float:
    """How many pages of 4 KiB at random places of a large file can be kept for good a second, many to an fdatasync: what
    indexes that are far larger than memory cost."""
    path, page = home / "scattered", os.urandom(4096)
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    for _ in range(gib << 10):
        os.write(file, page * 256)
    os.fsync(file)
    begin = time.perf_counter()
    for _ in range(rounds):
        for place in sorted(random.sample(range(gib << 18), at_once)):
            os.pwrite(file, page, place << 12)
        os.fdatasync(file)
    took = time.perf_counter() - begin
    os.close(file)
    path.unlink()
    return at_once * rounds / took
