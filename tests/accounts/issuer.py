"""A small OpenID Connect issuer: discovery, authorisation with PKCE, token, userinfo, keys. Real HTTP, real signatures."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "hawkops", "issuer-secret"


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Issuer:
    """Whom it vouches for, and what a test lets it do wrong."""

    url: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    # replace what is in the signed token, its signature, or the answer of userinfo
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    signed_by: Any = None
    key: rsa.RSAPrivateKey = field(default_factory=_key)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def authorise(self, address: str) -> str:
        """What a browser does at the issuer: returns where it is led back to."""
        given = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert given["client_id"] == CLIENT and given["response_type"] == "code" and "openid" in given["scope"].split()
        assert given["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = given
        return f"{given['redirect_uri']}?{urlencode({'code': code, 'state': given['state']})}"

    def token(self, form: dict[str, str]) -> dict[str, Any]:
        """Exchange a code, once, for whoever proves to have begun."""
        begun = self.codes.pop(form["code"])
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        assert challenge.decode() == begun["code_challenge"] and form["redirect_uri"] == begun["redirect_uri"]
        assert (form["client_id"], form["client_secret"]) == (CLIENT, SECRET)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 60, **self.person, **self.claims}
        signed_by = self.signed_by or self.key
        signed = jwt.encode(claims, signed_by, algorithm=self.algorithm, headers={"kid": "one"})
        return {"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": signed}

    def answer(self, path: str) -> dict[str, Any]:
        """What it says to anybody who asks."""
        if path == "/.well-known/openid-configuration":
            named = {name: f"{self.url}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
            named |= {"userinfo_endpoint": f"{self.url}/userinfo", "jwks_uri": f"{self.url}/keys", "issuer": self.url}
            return {**named, "token_endpoint_auth_methods_supported": ["client_secret_post"], **self.document}
        if path == "/keys":
            public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
            return {"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]}
        assert path == "/userinfo"
        return {**self.person, **self.userinfo}


@contextmanager
def serve() -> Iterator[Issuer]:
    """Run one on a free port."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            self._say(issuer.answer(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._say(issuer.token({name: values[0] for name, values in parse_qs(body).items()}))

        def _say(self, found: dict[str, Any]) -> None:
            data = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output free of requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
