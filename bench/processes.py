"""Processes: how they are started and ended, and what they cost, as the kernel counts it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A child that writes its log to a file and is ended when the benchmark leaves it."""

    def __init__(self, command: Sequence[object], log: Path, piped: bool = False, **options: Any) -> None:
        """`piped` gives standard input and output to the benchmark; `options` are of `Popen`."""
        self.log = log
        with log.open("ab") as end:
            options |= {"stderr": end, "stdout": end}
            options |= {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE} if piped else {}
            self.spawned = time.perf_counter()
            self.child: subprocess.Popen[bytes] = subprocess.Popen(words(command), **options)

    @property
    def pid(self) -> int:
        return self.child.pid

    def line(self) -> str:
        """The next line of a piped child."""
        assert self.child.stdout is not None
        return self.child.stdout.readline().decode().strip()

    def wait_for(self, url: str, seconds: float = 60) -> float:
        """Polls until the address answers 200; returns how many seconds after the spawn that was."""
        while time.perf_counter() - self.spawned < seconds and self.child.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    if answer.status == 200:
                        return time.perf_counter() - self.spawned
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.001)
        raise RuntimeError(f"{url} did not answer: {tail(self.log)}")

    def stop(self) -> None:
        self.child.terminate()
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def output_of(command: Sequence[object], text: str = "") -> str:
    """What a command prints that is given the text; fails if it does."""
    done = subprocess.run(words(command), input=text, stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout.strip()


def words(command: Sequence[object]) -> list[str]:
    return [str(word) for word in command]


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def family(root: int) -> list[int]:
    """The process and everything that descends from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the family, with those of it that have ended."""
    return sum(sum(map(int, stat[11:15])) for pid in family(root) if (stat := _stat(pid))) / TICKS


@dataclass(frozen=True)
class Cost:
    """What processes have cost since they began: seconds of the processor, and bytes of their calls to read and write."""

    cpu: float
    read: int
    written: int

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.read - other.read, self.written - other.written)


def cost(root: int) -> Cost:
    """Of the root; its processor time with that of all that descends from it."""
    counts = dict(line.split(": ") for line in Path(f"/proc/{root}/io").read_text().splitlines())
    return Cost(cpu_seconds(root), int(counts["rchar"]), int(counts["wchar"]))


def reset_peak(root: int) -> None:
    for pid in family(root):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def memory_mib(root: int, what: str) -> float:
    """`VmHWM` (the most since `reset_peak`) or `VmRSS` (now), summed over the family."""
    lines = (line for pid in family(root) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith(what + ":")) / 1024


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on: the name before it may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
