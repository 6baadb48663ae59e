"""An app beside Usher: people sign in to it by Usher, and it hears what changes about them by a webhook.

Needs Python and nothing else, and no key. Reads USHER_URL and USHER_CLIENT_ID, as the first start of Usher prints them, and the
WEBHOOK_SECRET that `usher webhook create` shows once.
"""

import base64, hashlib, hmac, html, json, os, secrets, time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import Request, urlopen

USHER, CLIENT_ID = os.environ["USHER_URL"], os.environ["USHER_CLIENT_ID"]
SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
PORT = int(os.environ.get("PORT", 9000))
HOME = f"http://localhost:{PORT}/"  # registered by `usher app redirect add`


def usher(path, body=None, **headers):
    """Asks Usher, and gives the JSON of its answer."""
    headers = {"Content-Type": "application/json", **headers}
    return json.load(urlopen(Request(USHER + path, body and json.dumps(body).encode(), headers)))


def verified(headers, body):
    """The message of a webhook, if Usher has signed it within the last five minutes."""
    id, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    expected = hmac.digest(SECRET, f"{id}.{stamp}.".encode() + body, hashlib.sha256)
    given = [signature.removeprefix("v1,") for signature in headers["webhook-signature"].split(" ")]
    is_signed = any(hmac.compare_digest(base64.b64encode(expected).decode(), one) for one in given)
    return json.loads(body) if is_signed and abs(time.time() - int(stamp)) < 300 else None


class App(BaseHTTPRequestHandler):
    def do_GET(self):
        query = dict(parse_qsl(urlsplit(self.path).query))
        cookie = SimpleCookie(self.headers["cookie"]).get("state")
        if "code" in query and cookie and query["state"] == cookie.value:
            tokens = usher("/v1/tokens", {"client_id": CLIENT_ID, "redirect_uri": HOME, "code": query["code"]})
            me = usher("/v1/users/me", Authorization="Bearer " + tokens["accessToken"])["data"]
            print("signed in:", me["id"], flush=True)
            name = html.escape(me["given_name"] or me["email"])
            return self.say(f"<h1>Hello {name}</h1><a href='{USHER}/profile'>Change your profile</a>")
        state = secrets.token_urlsafe()  # the browser that comes back must be the one that went
        there = urlencode({"client_id": CLIENT_ID, "redirect_uri": HOME, "state": state, "type": "signIn"})
        self.say(f"<h1>An app</h1><a href='{USHER}/sign-in?{html.escape(there)}'>Sign in</a>", f"state={state}; HttpOnly")

    def do_POST(self):
        message = verified(self.headers, self.rfile.read(int(self.headers["content-length"])))
        self.send_response(204 if message else 400)
        self.end_headers()
        if message:
            print("verified:", message["type"], *message["data"].get("fields", []), flush=True)

    def say(self, body, cookie=None):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        head = "<!doctype html><html lang='en'><title>An app</title><link rel='icon' href='data:,'>"
        self.wfile.write(f"{head}{body}</html>".encode())

    def log_message(self, *_):
        """Codes stand in the addresses, so they are not logged."""


server = ThreadingHTTPServer(("127.0.0.1", PORT), App)
print("Open", HOME, flush=True)
server.serve_forever()
