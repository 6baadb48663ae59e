"""Usher on either engine, the PostgreSQL cluster beside it, and what Usher is asked."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from load import Request
from processes import Process, free_port, memory_mib, output_of

ROOT = Path(__file__).resolve().parent.parent

SQLITE, POSTGRES = "Usher, SQLite", "Usher, PostgreSQL"

# The create page's example, with what has to be unique made so. Addresses and numbers come in no order, as in life.
PERSON = {
    "email": "jane.{phone}@example.com",
    "firstname": "Jane",
    "lastname": "Doe",
    "phonenumber": "{phone}",
    "dateOfBirth": "1990-12-23",
    "sex": "female",
    "height": "5ft 6in",
    "pregnant": False,
    "diabetes": 0,
    "glp1drugs": False,
    "paymentPlan": 1,
    "planStartDate": "2023-10-30",
    "medicalClearance": "full",
    "medicalClearanceDescription": "Yes, provided medical clearance",
    "currentWeight": 130,
    "desiredWeight": 110,
    "allergies": "no allergies",
    "nutritionPreferences": "vegan, gluten free",
    "religiousDietaryRestrictions": "no pork",
    "doctorFullname": "Dr. Mike Smith",
    "metadata": {"glp1Dosage": "10mg", "clinic": "north"},
}
# Who is filled in: as many people, each with a name of their own.
NAMED = PERSON | {"lastname": "Doe{phone}"}
# What the update page can change, with values that were never there before.
CHANGE = {
    "diabetes": 3,
    "glp1drugs": True,
    "doctorFullname": "Dr. {n}",
    "medicalClearanceDescription": "Seen again, visit {n}",
    "metadata": {"glp1Dosage": "20mg", "clinic": "south", "visit": "{n}"},
}
PROFILE = {"nickname": "J{n}", "given_name": "Jane", "family_name": "Doe-{n}", "zoneinfo": "Europe/Berlin", "locale": "en-US"}


class Cluster:
    """A PostgreSQL cluster with the settings that Debian's has, but for `max_connections`."""

    def __init__(self, home: Path) -> None:
        # The server is run by an unprivileged user, who has to get to its data.
        home.chmod(0o755)
        variables = os.environ | {"TMPDIR": str(home)}
        self.tool = Process([ROOT / "tests/postgres"], home / "cluster.log", piped=True, env=variables)
        self.url = self.tool.line()
        if not self.url:
            raise RuntimeError("PostgreSQL did not start")
        data = self.ask("postgres", "SHOW data_directory")
        self.pid = int(Path(data, "postmaster.pid").read_text().split()[0])

    def ask(self, database: str, sql: str) -> str:
        return output_of(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", f"{self.url}/{database}"], sql)

    def create(self, database: str) -> str:
        self.ask("postgres", f"CREATE DATABASE {database}")
        return f"{self.url}/{database}"

    def drop(self, database: str) -> None:
        self.ask("postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self.ask("postgres", "CHECKPOINT")

    def stop(self) -> None:
        self.tool.child.communicate()


class Usher:
    """`usher serve` on a directory of its own, with the settings of a first start."""

    def __init__(self, binary: Path, home: Path, cluster: Cluster | None = None, database: str = "usher") -> None:
        self.binary, self.home, self.cluster, self.database = binary, home, cluster, database
        self.name = POSTGRES if cluster else SQLITE
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.postgres = cluster.create(database) if cluster else None
        home.mkdir(parents=True)
        self.file = home / "data" / "usher.db"
        banner = self.start()
        key, self.app = banner["key"], banner["clientId"]
        app = self.app
        made = output_of(self.command("key", "create", "--json", "--app", app, "--environment", "sandbox", "--access", "read"))
        self.requests = requests(app, key, json.loads(made)["key"])

    def command(self, *words: object) -> list[object]:
        where = ["--database", self.postgres] if self.postgres else []
        return [self.binary, "--data", self.home / "data", *where, *words]

    def start(self) -> dict[str, str]:
        """Starts the server and returns what it says first; `ready` is how many seconds that took."""
        command = self.command("serve", "--json", "--listen", f"127.0.0.1:{self.port}")
        self.process = Process(command, self.home / "log", piped=True)
        self.ready = self.process.wait_for(f"{self.url}/readyz")
        banner: dict[str, str] = json.loads(self.process.line())
        return banner

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.child.kill()

    def starts(self, times: int) -> list[float]:
        """Stops and starts again so often; milliseconds to ready."""
        measured = []
        for _ in range(times):
            self.stop()
            self.start()
            measured.append(self.ready * 1000)
        return measured

    def idle_mib(self) -> float:
        time.sleep(5)
        return memory_mib(self.pid, "VmRSS")

    def remove(self) -> None:
        self.stop()
        if self.cluster:
            self.cluster.drop(self.database)
        shutil.rmtree(self.home)

    def settle(self) -> None:
        """Does now what either engine does in the background for a while after so many writes at once."""
        if self.cluster:
            self.cluster.ask(self.database, "VACUUM ANALYZE; CHECKPOINT")
            return
        connection = sqlite3.connect(self.file)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()

    def query(self, sql: str) -> list[tuple[str, ...]]:
        """Rows of texts. What is asked here costs the server nothing: it happens between measurements."""
        if self.cluster:
            lines = self.cluster.ask(self.database, sql).splitlines()
            return [tuple(line.split("|")) for line in lines]
        connection = sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=30)
        try:
            return [tuple(str(value) for value in row) for row in connection.execute(sql)]
        finally:
            connection.close()

    def number(self, sql: str) -> int:
        return int(self.query(sql)[0][0])

    def users(self) -> int:
        return self.number("SELECT COUNT(*) FROM users")

    def targets(self, limit: int) -> list[tuple[str, str]]:
        if self.cluster:
            found = self.query(f"SELECT id, email FROM users ORDER BY random() LIMIT {limit}")
        else:
            last = self.number("SELECT COALESCE(MAX(rowid), 0) FROM users")
            rows = random.sample(range(1, last + 1), min(limit, last))
            asked = (f"SELECT hex(id), email FROM users WHERE rowid IN ({some})" for some in chunks(rows))
            found = [pair for sql in asked for pair in self.query(sql)]
        return [(dashed(id), email) for id, email in found]

    def clinic(self, people: int = 60) -> tuple[str, str]:
        """Enrols people of a tenant; its id, and that of the last request."""
        where = ("--app", self.app, "--environment", "sandbox", "--tenant", "clinic")
        made = output_of(self.command("key", "create", "--json", *where, "--access", "write"))
        headers = {"Authorization": f"Bearer {json.loads(made)['key']}", "Content-Type": "application/json"}
        for n in range(people):
            body = json.dumps({**PERSON, "email": f"clinic.{n}@example.com", "phonenumber": f"20255501{n:02}"})
            request = urllib.request.Request(f"{self.url}/users/create", body.encode(), headers)
            with urllib.request.urlopen(request) as answer:
                last = answer.headers["Request-Id"]
        which = "id" if self.cluster else "hex(id)"
        return dashed(self.query(f"SELECT {which} FROM tenants WHERE name = 'clinic'")[0][0]), last

    def evidence(self, row: str, targets: list[tuple[str, str]]) -> Callable[[], int] | None:
        if row == "read":
            return None
        if not targets:
            # A user, a link, a mail and an entry of the audit trail each, or it does not count.
            tables = ("users", "links", "outbox", "audit")
            return lambda: min(self.number(f"SELECT COUNT(*) FROM {table}") for table in tables)
        ids = [id for id, _ in targets]
        if self.cluster:
            listed = ",".join(ids)
            return lambda: self.number(f"SELECT SUM(version) FROM users WHERE id = ANY ('{{{listed}}}')")
        blobs = ["x'" + id.replace("-", "") + "'" for id in ids]
        asked = [f"SELECT SUM(version) FROM users WHERE id IN ({some})" for some in chunks(blobs)]
        return lambda: sum(map(self.number, asked))


def chunks(values: Sequence[object], size: int = 5000) -> Iterable[str]:
    return (",".join(map(str, values[at : at + size])) for at in range(0, len(values), size))


def dashed(id: str) -> str:
    plain = id.replace("-", "").lower()
    return "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))


def requests(app: str, key: str, read_key: str) -> dict[str, Request]:
    """The rows. `Fitmate-Version` is left out: the newest date applies."""
    partner = {"Authorization": f"Bearer {key}"}
    server = {"X-API-KEY": key, "X-API-KEY-TYPE": "write", "X-CLIENT-ID": app}
    reader = {"X-API-KEY": read_key, "X-API-KEY-TYPE": "read", "X-CLIENT-ID": app}
    keyed = partner | {"Idempotency-Key": '"bench-{n}"'}
    taken = PERSON | {"email": "jane.{tenth}@example.com"}
    return {
        "create": Request("POST", "/users/create", PERSON, partner),
        "update": Request("POST", "/users/update", {"email": "{email}", **CHANGE}, partner),
        "directory PUT": Request("PUT", "/v1/users/{id}", {"user": PROFILE}, server),
        "read": Request("GET", "/v1/users/{id}", None, reader),
        "create with Idempotency-Key": Request("POST", "/users/create", PERSON, keyed),
        "create, one in ten refused": Request("POST", "/users/create", taken, partner),
        "create with Idempotency-Key, one in ten refused": Request("POST", "/users/create", taken, keyed),
    }
