"""Parse Server, one process as it starts by default, on the same PostgreSQL cluster: a class `People` with the same
fields and the same two unique indexes, open to everyone."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

from load import Request
from processes import Process, free_port
from servers import CHANGE, PERSON, Cluster

PACKAGE = "parse-server@9.10.0"
DATABASE = "parse"
APP = {"X-Parse-Application-Id": "bench"}
TYPES = {bool: "Boolean", int: "Number", dict: "Object", str: "String"}


class Parse:
    """`parse-server` on a database of its own."""

    name = "Parse Server, PostgreSQL"
    requests = {
        "create": Request("POST", "/parse/classes/People", PERSON, APP),
        "update": Request("PUT", "/parse/classes/People/{id}", CHANGE, APP),
        "read": Request("GET", "/parse/classes/People/{id}", None, APP),
    }

    def __init__(self, modules: Path, home: Path, cluster: Cluster) -> None:
        self.home, self.cluster = home, cluster
        home.mkdir(parents=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command: list[object] = ["node", modules / "parse-server/bin/parse-server", "--appId", "bench", "--masterKey", "bench"]
        command += ["--databaseURI", cluster.create(DATABASE), "--host", "127.0.0.1", "--port", port]
        command += ["--serverURL", f"{self.url}/parse", "--logsFolder", home / "logs"]
        self.process = Process(command, home / "log", cwd=home)
        self.process.wait_for(f"{self.url}/parse/health")
        request = urllib.request.Request(
            f"{self.url}/parse/schemas/People",
            json.dumps(schema()).encode(),
            {"Content-Type": "application/json", "X-Parse-Master-Key": "bench", **APP},
        )
        urllib.request.urlopen(request).close()
        for name in ("email", "phonenumber"):
            cluster.ask(DATABASE, f'CREATE UNIQUE INDEX "people_{name}" ON "People" ("{name}")')

    @property
    def pid(self) -> int:
        return self.process.pid

    def targets(self, limit: int) -> list[tuple[str, str]]:
        found = self.cluster.ask(DATABASE, f'SELECT "objectId", email FROM "People" ORDER BY random() LIMIT {limit}')
        return [(id, email) for id, _, email in (line.partition("|") for line in found.splitlines())]

    def evidence(self, row: str, targets: list[tuple[str, str]]) -> Callable[[], int] | None:
        found = {
            "create": 'SELECT COUNT(*) FROM "People"',
            # The doctor has the number of the last change, and numbers only grow.
            "update": """SELECT COALESCE(MAX(SUBSTR("doctorFullname", 5)::bigint), 0) FROM "People"
                WHERE "doctorFullname" ~ '[0-9]'""",
        }.get(row)
        return (lambda: int(self.cluster.ask(DATABASE, found))) if found else None

    def remove(self) -> None:
        self.process.stop()
        self.cluster.drop(DATABASE)
        shutil.rmtree(self.home)


def schema() -> dict[str, object]:
    fields = {name: {"type": TYPES[type(value)]} for name, value in PERSON.items()}
    everyone = {operation: {"*": True} for operation in ("get", "find", "create", "update")}
    return {"className": "People", "fields": fields, "classLevelPermissions": everyone}
