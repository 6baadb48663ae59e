"""The dashboard's lists among very many users, asked for as an administrator's browser does: one page after the other."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from processes import output_of
from servers import Usher, dashed

EMAIL = "reader@example.com"
# How many people are looked for, each once, and how often a list is asked for.
PEOPLE = 200
# How long the names of a million may take to be gathered.
PATIENCE = 120
# What the page of a search has that found nobody: among all, or among those whom it has come to.
NOBODY = 'role="status">Nobody'


@dataclass
class Page:
    """How long one kind of page took."""

    subject: str
    users: int
    page: str
    p50_ms: float
    p99_ms: float
    max_ms: float
    failed: int


@dataclass(frozen=True)
class Person:
    """Who is looked for."""

    id: str
    email: str
    name: str

    @property
    def phone(self) -> str:
        return self.email.split("@")[0].removeprefix("jane.")


class Dashboard:
    """An administrator who is signed in."""

    def __init__(self, usher: Usher) -> None:
        self.usher, self.base = usher, f"/admin/{usher.app}/sandbox"
        self.connection = http.client.HTTPConnection(urlsplit(usher.url).netloc, timeout=60)
        output_of(usher.command("admin", "create", EMAIL, "--role", "read_only", "--json"))
        link = json.loads(output_of(usher.command("admin", "link", EMAIL, "--public-url", usher.url, "--json")))["link"]
        entered = self.ask("POST", urlsplit(link).path, {})
        self.headers = {"Cookie": entered.headers["Set-Cookie"].split(";")[0]}

    def ask(self, method: str, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        self.connection.request(method, path, headers=headers)
        answer = self.connection.getresponse()
        self.text = answer.read().decode()
        return answer

    def get(self, path: str) -> float:
        """Milliseconds until the page is there."""
        begin = time.perf_counter()
        answer = self.ask("GET", self.base + path, self.headers)
        took = (time.perf_counter() - begin) * 1000
        if answer.status != 200:
            raise RuntimeError(f"{path} answers {answer.status}")
        return took

    def gather(self, oldest: Person) -> float:
        """Waits until names are found among everybody; seconds."""
        begin = time.monotonic()
        while time.monotonic() - begin < PATIENCE:
            self.get(f"/users?q={quote(oldest.name)}")
            if oldest.email in self.text:
                return time.monotonic() - begin
            time.sleep(0.2)
        raise RuntimeError(f"nobody is called {oldest.name} after {PATIENCE} s")

    def people(self) -> list[Person]:
        """Some who have a name of their own, the oldest first."""
        usher = self.usher
        which = "id" if usher.cluster else "hex(id)"
        some = "SELECT {}, email, profile FROM users WHERE {} AND email LIKE 'jane.%' ORDER BY {} LIMIT {}"
        rows = usher.query(some.format(which, "1 = 1", "created_at, id", 1))
        if usher.cluster:
            rows += usher.query(some.format(which, "1 = 1", "random()", PEOPLE))
        else:
            last = usher.number("SELECT MAX(rowid) FROM users")
            picked = ",".join(str(random.randint(1, last)) for _ in range(PEOPLE))
            rows += usher.query(some.format(which, f"rowid IN ({picked})", "random()", PEOPLE))
        return [Person(dashed(id), email, json.loads(profile)["family_name"]) for id, email, profile in rows]

    def measure(self, users: int) -> Iterator[Page]:
        tenant, request = self.usher.clinic()
        oldest, *people = self.people()
        print(f"       names were gathered within {self.gather(oldest):.1f} s", flush=True)
        row = '<a class="row-link"'
        lists = {
            "newest": "/users",
            "oldest first": "/users?sort=created",
            "last changed first": "/users?sort=-updated",
            "first changed first": "/users?sort=updated",
            "in the order of addresses": "/users?sort=email",
            "addresses from the end": "/users?sort=-email",
            "of a tenant": f"/users?tenant={tenant}",
            "active, of a day on": "/users?status=active&created_from=2020-01-01&sort=-updated",
        }
        for name, path in lists.items():
            yield self.page(users, name, lambda _, path=path: (path, row), people)
        looks: dict[str, Callable[[Person], tuple[str, str]]] = {
            "by e-mail": lambda who: (f"/users?q={who.email}", who.email),
            "by its beginning": lambda who: (f"/users?q={who.email[:12]}", who.email[:12]),
            "by phone": lambda who: (f"/users?q={who.phone}", who.email),
            "by name": lambda who: (f"/users?q=jane+{who.name}", who.email),
            "by name, of a tenant that they are not of": lambda who: (f"/users?q=jane+{who.name}&tenant={tenant}", "Nobody fits"),
            "by a name that all have, of a tenant": lambda _: (f"/users?q=jane&tenant={tenant}", row),
            "by a name that all have, frozen (nobody is)": lambda _: ("/users?q=jane&status=frozen", NOBODY),
            "by id": lambda who: (f"/users?q={who.id}", who.email),
            "by request id": lambda _: (f"/search?q={request}", "user.created"),
            "by a name nobody has": lambda who: (f"/users?q=nobody{who.phone}", "Nobody fits"),
            "frozen (nobody is)": lambda _: ("/users?status=frozen", "Nobody fits"),
            "audit trail": lambda _: ("/audit", row),
            "audit trail, an action that never was": lambda _: ("/audit?action=user.erased", "Nothing of that kind"),
            "mail": lambda _: ("/mails", row),
            "mail, in a state that none is in": lambda _: ("/mails?state=sent", "No such mail"),
            "mail, given up (none is)": lambda _: ("/mails?state=failed", "No such mail"),
        }
        for name, look in looks.items():
            yield self.page(users, name, look, people)

    def page(self, users: int, name: str, look: Callable[[Person], tuple[str, str]], people: list[Person]) -> Page:
        took, failed = [], 0
        for person in people:
            path, expected = look(person)
            took.append(self.get(path))
            failed += expected not in self.text
        took.sort()
        return Page(self.usher.name, users, name, took[len(took) // 2], took[len(took) * 99 // 100], took[-1], failed)
