"""Who we are to Elasticsearch: each kind of credentials, from its file, and a file that changes while the daemon runs."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from conftest import OutboxdFactory
from helpers import drain, init, publish, secure_node, undelivered

from harness import Answer, Database, Elastic, ElasticClient, Outboxd, ScriptedElastic, wait_until
from harness.scripted_elastic import Request

CONFIG = 78
QUICK = {"relay_poll_interval": "50ms", "retry_base": "50ms", "retry_cap": "300ms"}
WRITES = {"relay": {"indices": [{"names": ["*"], "privileges": ["index", "delete", "auto_configure"]}]}}


@pytest.fixture(scope="module")
def node() -> Iterator[Elastic]:
    with secure_node(WRITES) as server:
        yield server


@pytest.fixture
def waits(db: Database, outboxd: OutboxdFactory, index: str) -> str:
    init(outboxd(), "--notify")
    publish(db, index, "1", {"n": 1})
    return index


def test_basic(node: Elastic, waits: str, secret: Path, outboxd: OutboxdFactory) -> None:
    drain(outboxd(elasticsearch_url=node.url, elasticsearch_username="relay", elasticsearch_password_file=secret))
    assert set(node.all_docs(waits)) == {"1"}


def rotate(relay: Outboxd, db: Database, index: str, change: Callable[[], str], file: Path) -> None:
    """What stands in the file holds no more, and an event waits; then the file is replaced, and nothing else done."""
    fresh = change()
    publish(db, index, "2", {"n": 2})
    assert "HTTP 401" in relay.wait_log("elasticsearch_away", timeout=20)["error"]
    assert undelivered(db) == 1
    file.write_text(fresh + "\n")
    relay.wait_log("elasticsearch_back", timeout=20)
    wait_until(lambda: undelivered(db) == 0, 20, "the second event")
    assert fresh not in relay.stderr and "-secret" not in relay.stderr


def test_a_password_is_rotated(node: Elastic, db: Database, waits: str, secret: Path, outboxd: OutboxdFactory) -> None:
    relay = outboxd(elasticsearch_url=node.url, elasticsearch_username="relay", elasticsearch_password_file=secret,
                    **QUICK)
    relay.start()
    wait_until(lambda: undelivered(db) == 0, 20, "the first event")

    def change(password: str = "another-secret") -> str:
        node.run_tool("elasticsearch-users", "passwd", "relay", "-p", password)
        as_before = ElasticClient(node.url, "relay", "relay-secret")
        wait_until(lambda: (as_before.request("GET", "/_security/_authenticate").status == 200) is
                   (password == "relay-secret"), 20, "the node to read its users")
        return password

    try:
        rotate(relay, db, waits, change, secret)
    finally:
        change("relay-secret")
    assert set(node.all_docs(waits)) == {"1", "2"}


def test_a_bearer_token_is_rotated(node: Elastic, db: Database, outboxd: OutboxdFactory, tmp_path: Path) -> None:
    """Of a service account that the server knows by itself, with what that one may write."""
    index, file, account = f"logs-outboxd-{db.name}", tmp_path / "token", "elastic/fleet-server"

    def make(name: str) -> str:
        text = node.run_tool("elasticsearch-service-tokens", "create", account, name)
        token = re.search(r"= (\S+)$", text.strip())
        assert token, text
        client = ElasticClient(node.url)
        wait_until(lambda: client.request("GET", "/_security/_authenticate",
                                          headers={"authorization": f"Bearer {token[1]}"}).status == 200, 20,
                   "the node to know the token")
        return token[1]

    def change() -> str:
        node.run_tool("elasticsearch-service-tokens", "delete", account, "first")
        return make("second")

    first = make("first")
    file.write_text(first)
    relay = outboxd(elasticsearch_url=node.url, elasticsearch_bearer_file=file, **QUICK)
    init(relay, "--notify")
    publish(db, index, "1", {"n": 1})
    node.create_index(index)
    try:
        relay.start()
        wait_until(lambda: undelivered(db) == 0, 20, "the first event")
        rotate(relay, db, index, change, file)
        assert set(node.all_docs(index)) == {"1", "2"}
        file.write_text(first)
        done = relay.run("check")
        assert done.exit_code == CONFIG and "HTTP 401" in done.stdout and "bearer_file" in done.stdout, done.stdout
        assert first not in done.stdout + done.stderr + relay.stderr
    finally:
        node.run_tool("elasticsearch-service-tokens", "delete", account, "second")
        node.delete_index(index)


def test_an_api_key_is_rotated(db: Database, waits: str, outboxd: OutboxdFactory, tmp_path: Path) -> None:
    """The minimal distribution cannot make API keys (its .security index needs a module that it lacks)."""
    file, holds = tmp_path / "api_key", ["Zmlyc3Q6a2V5"]
    file.write_text(holds[0])

    def judge(request: Request) -> Answer | None:
        return None if request.headers.get("authorization") == f"ApiKey {holds[0]}" else Answer(status=401, body="{}")

    def change() -> str:
        holds[0] = "c2Vjb25kOmtleQ=="
        return holds[0]

    with ScriptedElastic(judge, judge) as server:
        relay = outboxd(elasticsearch_url=server.url, elasticsearch_api_key_file=file, **QUICK)
        relay.start()
        wait_until(lambda: undelivered(db) == 0, 20, "the first event")
        rotate(relay, db, waits, change, file)
        # The friendlier order: the new key first. Nobody is refused.
        aside = tmp_path / "next"
        aside.write_text("dGhpcmQ6a2V5")
        aside.rename(file)
        holds[0] = "dGhpcmQ6a2V5"
        publish(db, waits, "3", {"n": 3})
        wait_until(lambda: undelivered(db) == 0, 20, "the third event")
        assert len(relay.logs("elasticsearch_away")) == 1


# -- AWS: the signature is computed once more, from what came over the wire, as AWS describes it


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def canonical_query(target: str) -> str:
    """Each name and value decoded and encoded anew, in the order of the encoded ones."""
    _, _, query = target.partition("?")
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    return "&".join(f"{name}={value}" for name, value in sorted(
        (quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")) for name, value in pairs))


def expected_signature(request: Request, secret: str, region: str, service: str) -> str:
    found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=[^/]+/([^,]+), SignedHeaders=([^,]+), Signature=\w{64}",
                         request.headers["authorization"])
    assert found, request.headers
    scope, names = found[1], found[2].split(";")
    date = request.headers["x-amz-date"]
    assert scope == f"{date[:8]}/{region}/{service}/aws4_request"
    # All that is AWS' own has to be signed, and so has the host.
    assert names == sorted(names) and "host" in names
    assert {name for name in request.headers if name.startswith("x-amz-")} <= set(names)
    path = "/".join(quote(part, safe="-_.~") for part in request.target.partition("?")[0].split("/"))
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in names)
    canonical = "\n".join([request.method, path, canonical_query(request.target), headers, ";".join(names),
                           hash_of(request.raw_body)])
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hash_of(canonical.encode())])
    key = f"AWS4{secret}".encode()
    for part in (date[:8], region, service, "aws4_request"):
        key = sign(key, part)
    return sign(key, text).hex()


class Aws:
    """Answers who signs with the key that holds now, and refuses others as AWS does."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.keys = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
        self.token: str | None = None
        self.server = ScriptedElastic(self.answer, self.answer)

    def answer(self, request: Request) -> Answer | None:
        sent = request.headers.get("authorization", "")
        found = re.search(r"Credential=([^/]+)/.*Signature=(\w{64})$", sent)
        if not found or found[1] not in self.keys:
            return Answer(status=403, body='{"message":"The security token included in the request is invalid."}')
        expected = expected_signature(request, self.keys[found[1]], "eu-west-1", self.service)
        if found[2] != expected or request.headers.get("x-amz-security-token") != self.token:
            return Answer(status=403, body='{"message":"The request signature we calculated does not match"}')
        if self.service == "aoss" and request.headers.get("x-amz-content-sha256") != hash_of(request.raw_body):
            return Answer(status=400, body='{"message":"x-amz-content-sha256"}')
        return None


@pytest.fixture(params=["es", "aoss"])
def aws(request: pytest.FixtureRequest) -> Iterator[Aws]:
    made = Aws(request.param)
    with made.server:
        yield made


def write_keys(file: Path, key: str, secret: str, token: str | None = None) -> None:
    more = f"aws_session_token = {token}\n" if token else ""
    aside = file.with_name("aside")
    aside.write_text(f"# rotated\n[other]\naws_access_key_id = x\naws_secret_access_key = y\n\n"
                     f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\nregion = x\n{more}")
    aside.rename(file)


def signed(aws: Aws, file: Path, **more: Any) -> dict[str, Any]:
    return {"elasticsearch_url": aws.server.url, "elasticsearch_aws_region": "eu-west-1",
            "elasticsearch_aws_service": aws.service, "elasticsearch_aws_credentials_file": file, **QUICK, **more}


@pytest.mark.parametrize("more", [{}, {"elasticsearch_compression": "gzip"}, {"elasticsearch_refresh": "wait_for"}],
                         ids=["plain", "gzip", "refresh"])
def test_aws_signatures(more: dict[str, str], aws: Aws, db: Database, waits: str, outboxd: OutboxdFactory,
                        tmp_path: Path) -> None:
    """Posts and gets on one connection, from the file."""
    write_keys(tmp_path / "credentials", *next(iter(aws.keys.items())))
    publish(db, waits, "ü/ *~", {"text": "ü" * 1000})
    relay = outboxd(**signed(aws, tmp_path / "credentials", **more))
    drain(relay)
    assert undelivered(db) == 0
    before = len(aws.server.requests)
    relay.run("check")
    asked = aws.server.requests[before:]
    assert len(asked) > 5
    for request in asked:
        assert aws.answer(request) is None, f"{request.method} {request.target}"


def test_aws_keys_of_the_environment(aws: Aws, db: Database, waits: str, outboxd: OutboxdFactory) -> None:
    (key, secret), = aws.keys.items()
    aws.token = "FwoGZXIvYXdzEBYaD+/="
    environment = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": aws.token}
    settings = signed(aws, Path())
    del settings["elasticsearch_aws_credentials_file"]
    drain(outboxd(**settings, environment=environment))
    assert undelivered(db) == 0


def test_aws_keys_that_expire(aws: Aws, db: Database, waits: str, outboxd: OutboxdFactory, tmp_path: Path) -> None:
    """Temporary keys: AWS answers 403 to those that have expired."""
    file = tmp_path / "credentials"
    aws.token = "first-token+/="
    write_keys(file, *next(iter(aws.keys.items())), aws.token)
    relay = outboxd(**signed(aws, file))
    relay.start()
    wait_until(lambda: undelivered(db) == 0, 20, "the first event")

    aws.keys, aws.token = {"AKIDSECOND": "second/secret"}, "second-token+/="
    publish(db, waits, "2", {"n": 2})
    assert "HTTP 403" in relay.wait_log("elasticsearch_away", timeout=20)["error"]
    write_keys(file, "AKIDSECOND", "second/secret", aws.token)

    wait_until(lambda: undelivered(db) == 0, 20, "the second event")
    assert not [word for word in ("second/secret", "-token", "wJalr") if word in relay.stderr]


@pytest.mark.parametrize("content", ["", "[other]\naws_access_key_id=x\naws_secret_access_key=y\n",
                                     "[default]\naws_access_key_id=x\n", "no file of AWS\n"])
def test_an_aws_file_that_cannot_be_used(content: str, waits: str, outboxd: OutboxdFactory, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(content)
    done = outboxd(elasticsearch_url="http://127.0.0.1:1", elasticsearch_aws_region="eu-west-1",
                   elasticsearch_aws_credentials_file=file).run("run", "--once")
    assert done.exit_code == CONFIG and str(file) in done.stderr, done.stderr
