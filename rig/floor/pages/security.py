"""Who may ask for what: hosts, origins, tokens and roles."""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Literal

from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intake.errors import InputError
from intake.trees import parse_yaml
from rig.exits import UsageError

Role = Literal["operator", "engineer"]
ROLES: tuple[Role, ...] = ("operator", "engineer")
COOKIE = "rig_session"
LEAST_TOKEN = 16
MOST_BYTES = 1_000_000  # of what a request carries: no page takes files
SAFE = ("GET", "HEAD", "OPTIONS")
OPEN_PATHS = ("/login", "/static/")
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",  # with no-referrer browsers call a form's origin "null"
    b"x-frame-options": b"SAMEORIGIN",
    b"cross-origin-resource-policy": b"same-origin",
}
POLICY = (
    b"default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    b"frame-ancestors 'self'; form-action 'self'; base-uri 'none'"
)


@dataclass
class Access:
    """What is asked of a request before it is answered.

    Attributes
    ----------
    hosts : names that this server answers to; empty: every one
    tokens : token and role; empty: everybody here is the engineer
    """

    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "::1"})
    tokens: Mapping[str, Role] = field(default_factory=dict)
    secure: bool = False
    _sessions: dict[str, Role] = field(default_factory=dict)

    def role_of_token(self, token: str) -> Role | None:
        """The role of a token; every known one is compared, in constant time."""
        found: Role | None = None
        for known, role in self.tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                found = role
        return found

    def begin(self, role: Role) -> str:
        """A new session of a browser: what its cookie says."""
        session = secrets.token_urlsafe(32)
        self._sessions[session] = role
        return session

    def end(self, session: str) -> None:
        self._sessions.pop(session, None)

    def role(self, headers: Mapping[bytes, bytes]) -> Role | None:
        """The role behind a request, None if it shows neither cookie nor token."""
        if not self.tokens:
            return "engineer"
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() == "bearer":
            return self.role_of_token(token.strip())
        return self._sessions.get(session_of(headers), None)


def session_of(headers: Mapping[bytes, bytes]) -> str:
    """What the session's cookie says; empty without one."""
    try:
        cookie = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
    except CookieError:
        return ""
    return cookie[COOKIE].value if COOKIE in cookie else ""


class Guard:
    """Refuses other hosts, other origins, people without a token, and requests without an end.

    A page somewhere on the web can make the browser of this machine call localhost (a name that
    resolves to it, a form that posts to it); the rig does not obey it. Browsers state the origin
    of what they send; programs that are no browsers send none, and have no cookie to misuse.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refused = self._refused(scope, headers)
        if refused is not None:
            await JSONResponse({"error": refused}, status_code=403)(scope, receive, send)
            return
        role = self.access.role(headers)
        path = scope["path"]
        if role is None and not path.startswith(OPEN_PATHS):
            page = path == "/" or b"text/html" in headers.get(b"accept", b"")
            answer: JSONResponse | RedirectResponse = (
                RedirectResponse("/login", status_code=303)
                if page and scope["method"] == "GET"
                else JSONResponse({"error": "show a token: Authorization: Bearer …"}, 401)
            )
            await answer(scope, receive, send)
            return
        hear = receive if scope["method"] in SAFE else await _held(headers, receive)
        if hear is None:
            said = f"this page takes requests of up to {MOST_BYTES // 1_000_000} MB: send less"
            await JSONResponse({"error": said}, status_code=413)(scope, receive, send)
            return
        scope.setdefault("state", {})["role"] = role

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                extra = {**HEADERS, b"content-security-policy": POLICY}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in extra.items() if name not in own),
                ]
            await send(message)

        await self.app(scope, hear, sending)

    def _refused(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if self.access.hosts and name.strip("[]").lower() not in self.access.hosts:
            return f"this page does not answer to the name '{name}'"
        site = headers.get(b"sec-fetch-site", b"none")
        navigation = scope["method"] == "GET" and headers.get(b"sec-fetch-mode", b"") == b"navigate"
        if site not in (b"same-origin", b"none") and not navigation:
            return "only the pages of this rig itself may ask for that"
        origin = headers.get(b"origin")
        if scope["method"] not in SAFE and origin is not None:
            own = f"{scope['scheme']}://{host}".encode("latin-1")
            if origin != own:
                return "only the pages of this rig itself may ask for that"
        return None


async def _held(headers: Mapping[bytes, bytes], receive: Receive) -> Receive | None:
    """What a request carries, read and to be heard again; None where it is too long."""
    stated = headers.get(b"content-length", b"")
    if stated.isdigit() and int(stated[:20]) > MOST_BYTES:
        return None
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            return None
        more = bool(message.get("more_body"))
    gone = message["type"] != "http.request"  # who sends it left before its end
    heard: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": gone}]

    async def again() -> Message:
        return heard.pop() if heard else await receive()

    return again


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def access_of(host: str, tokens: Path | None, certificate: Path | None, key: Path | None) -> Access:
    """The access rules of a server on that address.

    Raises
    ------
    UsageError
        if others could reach it without a token or in the clear
    """
    if (certificate is None) != (key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise UsageError(f"there is no file {path}")
    if not is_loopback(host) and (tokens is None or certificate is None):
        raise UsageError(
            f"{host} can be reached by others: give --tokens FILE, --tls-cert FILE and --tls-key "
            "FILE, or leave --host out"
        )
    known = {} if tokens is None else read_tokens(tokens)
    hosts = Access.hosts if is_loopback(host) else frozenset()
    return Access(hosts=hosts, tokens=known, secure=certificate is not None)


def read_tokens(path: Path) -> dict[str, Role]:
    """Tokens of a YAML file: ``operator: [...]`` and ``engineer: [...]``.

    Raises
    ------
    UsageError
        if it is none, a token is short, or others may read the file
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UsageError(f"there is no file {path} with tokens") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text: save it as UTF-8") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"others may read {path}: chmod 600 {path}")
    try:
        data = parse_yaml(text, str(path))
    except InputError:
        data = None
    if not isinstance(data, dict) or not data or not set(data) <= {"operator", "engineer"}:
        raise UsageError(f"{path} holds no tokens: write 'operator: [TOKEN]', 'engineer: [TOKEN]'")
    found: dict[str, Role] = {}
    for role in ROLES:
        listed = data.get(role) or []
        for token in listed if isinstance(listed, list) else [listed]:
            if not isinstance(token, str) or len(token) < LEAST_TOKEN:
                raise UsageError(
                    f"{path}: a token of role {role} has fewer than {LEAST_TOKEN} characters: make "
                    "one with 'openssl rand -hex 24', in quotes"
                )
            found[token] = role
    if not found:
        raise UsageError(f"{path} holds no tokens: write 'operator: [TOKEN]', 'engineer: [TOKEN]'")
    return found
