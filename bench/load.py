"""Load: requests made of templates, sent by wrk, and what came of them."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from processes import cpu_seconds, memory_mib, output_of, reset_peak

SCRIPT = Path(__file__).with_name("load.lua")
# Of so many existing users one is taken at random for each request that needs one.
TARGETS = 100_000
# No machine this is run on sends more requests a second; each needs a number of its own.
FASTEST = 200_000


@dataclass(frozen=True)
class Request:
    """A request with the placeholders of `load.lua`."""

    method: str
    path: str
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_refused(self) -> bool:
        """Whether one in ten is to be."""
        return "{tenth}" in self.text

    @property
    def needs_targets(self) -> bool:
        return any(name in self.path + self.text for name in ("{id}", "{email}"))

    @property
    def text(self) -> str:
        return "" if self.body is None else json.dumps(self.body, separators=(",", ":"))

    def head(self, host: str) -> str:
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body is not None:
            lines += ["Content-Type: application/json", "Content-Length: {length}"]
        return "\r\n".join(lines) + "\r\n\r\n"


class Database(Protocol):
    """A database server beside the program that is measured."""

    pid: int


class Subject(Protocol):
    """A running server that rows are measured of."""

    name: str
    url: str
    requests: dict[str, Request]

    @property
    def cluster(self) -> Database | None: ...

    @property
    def pid(self) -> int: ...

    def targets(self, limit: int) -> list[tuple[str, str]]:
        """Ids and e-mail addresses of random users."""

    def evidence(self, row: str, targets: list[tuple[str, str]]) -> Callable[[], int] | None:
        """Asks the database for a number that grows by at least one with every success of the row."""


@dataclass
class Cell:
    """One measurement."""

    subject: str
    row: str
    connections: int
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failed: int
    cpu_us: float | None
    database_cpu_us: float | None
    peak_mib: float | None
    users: int | None = None
    complaint: str = ""
    refused: int = 0
    """Those that were to be; they have not failed."""

    def grown_to(self, users: int) -> Cell:
        return replace(self, users=users)


class Numbers:
    """Ranges of numbers, none of which is given twice."""

    def __init__(self) -> None:
        self.next = 1

    def take(self, count: int) -> int:
        first, self.next = self.next, self.next + count
        return first


class Load:
    """Drives subjects with wrk."""

    def __init__(self, home: Path, seconds: int) -> None:
        self.home, self.seconds, self.numbers = home, seconds, Numbers()

    def seed(self, subject: Subject, least: int) -> None:
        """Creates users until there are enough to choose from; not measured."""
        while len(subject.targets(least)) < least:
            self.wrk(subject, "create", 64, 1, None)

    def targets(self, subject: Subject, row: str) -> tuple[list[tuple[str, str]], Path | None]:
        if not subject.requests[row].needs_targets:
            return [], None
        self.seed(subject, 1000)
        chosen = subject.targets(TARGETS)
        file = self.home / "targets.tsv"
        file.write_text("".join(f"{id}\t{email}\n" for id, email in chosen))
        return chosen, file

    def row(self, subject: Subject, row: str, connections: list[int], announce: Callable[[str, int], None]) -> list[Cell]:
        """Measures a row at each number of connections, after a second that is not counted."""
        chosen, file = self.targets(subject, row)
        if subject.requests[row].method == "GET":
            probe(subject, subject.requests[row], *chosen[0])
        evidence = subject.evidence(row, chosen)
        self.wrk(subject, row, connections[0], 1, file)
        cells = []
        for count in connections:
            announce(f"{subject.name}: {row}", count)
            before = evidence() if evidence else 0
            cell = self.measure(subject, row, count, file)
            succeeded = cell.requests - cell.failed - cell.refused
            if evidence and evidence() - before < succeeded:
                cell.complaint = f"{succeeded} were answered and {evidence() - before} are in the database"
            if cell.requests == 0:
                cell.complaint = "nothing was answered"
            cells.append(cell)
        return cells

    def measure(self, subject: Subject, row: str, connections: int, targets: Path | None) -> Cell:
        roots = [subject.pid] + ([subject.cluster.pid] if subject.cluster else [])
        reset_peak(subject.pid)
        before = [cpu_seconds(root) for root in roots]
        result = self.wrk(subject, row, connections, self.seconds, targets)
        spent = [cpu_seconds(root) - start for root, start in zip(roots, before, strict=True)]
        measured = cell(subject.name, row, connections, result, spent, memory_mib(subject.pid, "VmHWM"))
        # Give or take those at the ends, and those that came before the one whose address they have.
        if subject.requests[row].is_refused and 0.08 < result["refused"] / max(result["requests"], 1) < 0.11:
            return replace(measured, failed=result["broken"], refused=result["refused"])
        return measured

    def wrk(self, subject: Subject, row: str, connections: int, seconds: int, targets: Path | None) -> dict[str, int]:
        request = subject.requests[row]
        first = self.numbers.take(FASTEST * (seconds + 1))
        command: list[object] = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
        command += ["-s", SCRIPT, subject.url, "--", request.head(subject.url.removeprefix("http://")), request.text, first]
        command += [targets] if targets else []
        return last_json(output_of(command))


def probe(subject: Subject, request: Request, id: str, email: str) -> None:
    """Whether reading a user answers that user."""
    address = subject.url + request.path.replace("{id}", id)
    with urllib.request.urlopen(urllib.request.Request(address, headers=request.headers)) as answer:
        text = answer.read().decode()
    if id not in text or email not in text:
        raise RuntimeError(f"{subject.name} answers another user than was asked for: {text}")


def last_json(output: str) -> dict[str, int]:
    result: dict[str, int] = json.loads(output.strip().splitlines()[-1])
    return result


def cell(subject: str, row: str, connections: int, result: dict[str, int], spent: list[float], peak: float | None) -> Cell:
    """`spent` is the CPU time of the program and, if there is one, of its database server; both in seconds."""
    requests = result["requests"]
    per_request = [seconds * 1e6 / max(requests, 1) for seconds in spent]
    return Cell(
        subject=subject,
        row=row,
        connections=connections,
        requests=requests,
        per_second=requests / result["micros"] * 1e6,
        p50_ms=result["p50_us"] / 1000,
        p99_ms=result["p99_us"] / 1000,
        max_ms=result["max_us"] / 1000,
        failed=result["refused"] + result["broken"],
        cpu_us=per_request[0] if spent else None,
        database_cpu_us=per_request[1] if len(spent) > 1 else None,
        peak_mib=peak,
    )
