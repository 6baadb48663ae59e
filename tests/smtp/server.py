"""An SMTP server by aiosmtpd. Prints its port, then one JSON line for everything that a client does.

What it answers is in the recipient's name: refused@ 550, mended@ 554 once, busy@ 451 with a NUL in its words, later@ the same once, slow@ 250 after
three seconds, hang@ nothing at all; everybody else's mail is taken.
"""

import argparse
import asyncio
import email
import email.policy
import json
import logging
import ssl
import warnings
from html.parser import HTMLParser

from aiosmtpd.smtp import SMTP, AuthResult


def tell(**what):
    print(json.dumps(what), flush=True)


class Hrefs(HTMLParser):
    """The addresses behind the links of a page, as a mail program reads them."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name == "href"]


def parts(content):
    message = email.message_from_bytes(content, policy=email.policy.default)
    return {
        "raw": content.decode(),
        "headers": [[name, str(value)] for name, value in message.items()],
        "type": message.get_content_type(),
        "parts": [part.get_content_type() for part in message.iter_parts()],
        "text": message.get_body(["plain"]).get_content(),
        "html": message.get_body(["html"]).get_content(),
        "hrefs": Hrefs(message.get_body(["html"]).get_content()).found,
    }


class Handler:
    def __init__(self):
        self.seen = set()

    async def handle_MAIL(self, server, session, envelope, address, options):
        tell(event="mail", encrypted=session.ssl is not None, authenticated=bool(session.authenticated))
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused@"):
            return "550 5.1.1 No mailbox of that name here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        tell(event="message", sender=envelope.mail_from, recipients=envelope.rcpt_tos, **parts(envelope.content))
        to = envelope.rcpt_tos[0]
        first = to not in self.seen
        self.seen.add(to)
        if to.startswith("hang@"):
            await asyncio.sleep(3600)
        if to.startswith("slow@"):
            await asyncio.sleep(3)
        if to.startswith("mended@") and first:
            return "554 5.7.1 Not like this"
        if to.startswith("busy@") or (to.startswith("later@") and first):
            return "451 4.3.2 Come back\0 in a while"
        return "250 OK"


class Closed(SMTP):
    """Lets nobody in: refuses with 554 at one step of a connection's set-up."""

    step = None

    async def refuse(self, step):
        if step == self.step:
            await super().push(f"554 5.7.1 Closed at {step}")
        return step == self.step

    async def push(self, status):
        if not (str(status).startswith("220 ") and await self.refuse("greeting")):
            await super().push(status)

    async def smtp_EHLO(self, hostname):
        if not await self.refuse("hello"):
            await super().smtp_EHLO(hostname)

    async def smtp_HELO(self, hostname):
        if not await self.refuse("hello"):
            await super().smtp_HELO(hostname)

    async def smtp_AUTH(self, arg):
        if not await self.refuse("login"):
            await super().smtp_AUTH(arg)


# It warns of what some of the tests are about: passwords without TLS.
warnings.simplefilter("ignore")
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("--login", help="USER:PASSWORD without which nothing is taken")
    options.add_argument("--certificate", help="PEM file of key and certificate; nothing is taken before STARTTLS")
    options.add_argument("--closed", help="refuse everybody at this step: greeting, hello, login")
    options = options.parse_args()

    def authenticate(server, session, envelope, mechanism, data):
        given = f"{data.login.decode()}:{data.password.decode()}"
        tell(event="login", mechanism=mechanism, encrypted=session.ssl is not None, given=given)
        return AuthResult(success=given == options.login, handled=False)

    context = None
    if options.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
    handler = Handler()
    Closed.step = options.closed

    def connection():
        return Closed(
            handler,
            hostname="mail.test",
            authenticator=authenticate,
            auth_required=options.login is not None,
            auth_require_tls=context is not None,
            tls_context=context,
            require_starttls=context is not None,
        )

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    tell(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
