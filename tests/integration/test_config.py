"""Settings: what is refused and how, which source wins, and that no secret is ever shown."""

from __future__ import annotations

import base64
import ctypes
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OutboxdFactory
from helpers import drain, init, publish

from harness import Answer, Completed, Database, Outboxd, ScriptedElastic

USAGE, CONFIG = 64, 78
SERVERS = """\
[postgres]
dsn = dbname=shop
[elasticsearch]
url = http://localhost:9200
"""


class Command:
    """Runs a command that needs no server: command("config", file="[relay]...", relay_workers=2)."""

    def __init__(self) -> None:
        self.made: list[Outboxd] = []

    def __call__(self, *arguments: str, file: str | None = None, **environment: Any) -> Completed:
        self.made.append(Outboxd(config_text=file, **environment))
        return self.made[-1].run(*arguments)


@pytest.fixture
def command() -> Iterator[Command]:
    command = Command()
    yield command
    for outboxd in command.made:
        outboxd.close()


def complaint(done: Completed, exit_code: int) -> str:
    """The one line that a refused command prints."""
    assert (done.exit_code, done.stdout) == (exit_code, ""), (done.exit_code, done.stdout, done.stderr)
    assert done.stderr.startswith("outboxd: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("outboxd: ").rstrip("\n")


def loaded(library: str, function: str) -> str:
    """What a library says of itself when it is loaded."""
    ask = getattr(ctypes.CDLL(library), function)
    ask.restype = ctypes.c_char_p
    return str(ask().decode())


def shown(done: Completed, name: str) -> tuple[str, str]:
    """Value and origin of a setting, as `outboxd config` prints them."""
    assert done.exit_code == 0, done.stderr
    found = re.search(rf"^{re.escape(name)} = (.*?) *# (.*)$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return found[1], found[2]


class TestTheFile:
    @pytest.mark.parametrize("line,where,words", [
        ("batch_size = 5", 2, ["batch_size", "allowed: workers, batch_rows"]),
        ("worker = 5", 2, ["worker", "workers"]),
        ("workers = 4\nworkers = 4", 3, ["relay.workers is set twice", "line 2"]),
        ("workers = 17", 2, ["relay.workers", "1", "16"]),
        ("workers = 0", 2, ["relay.workers", "1", "16"]),
        ("workers = -1", 2, ["relay.workers"]),
        ("workers = 4.5", 2, ["relay.workers"]),
        ("workers =", 2, ["relay.workers"]),
        ("workers = 99999999999999999999", 2, ["relay.workers"]),
        ("batch_bytes = 1", 2, ["relay.batch_bytes", "16kB", "90MB"]),
        ("batch_bytes = 5 parsecs", 2, ["relay.batch_bytes", "MB"]),
        ("poll_interval = 5 parsecs", 2, ["relay.poll_interval", "ms"]),
        ("poll_interval = 500", 2, ["relay.poll_interval", "ms"]),
        ("poll_interval = 2h", 2, ["relay.poll_interval", "1h"]),
        ("notify = maybe", 2, ["relay.notify", "true", "false"]),
        ("workers", 2, ["key = value"]),
        ("= 4", 2, ["nothing in front of the ="]),
        ("[relay", 2, ["not closed"]),
        ("[relais]\nworkers = 4", 3, ["relais", "relay"]),
    ])
    def test_a_mistake_is_named_with_its_line_and_what_is_allowed(self, command: Command, line: str, where: int,
                                                                  words: list[str]) -> None:
        text = complaint(command("config", file=f"[relay]\n{line}\n"), CONFIG)
        assert re.search(rf"/outboxd\.conf:{where}: ", text), text
        for word in words:
            assert word in text

    @pytest.mark.parametrize("section,key,words", [
        ("outbox", "preset = documents", ["document", "events", "debezium"]),
        ("outbox", "deletes = never", ["delete", "tombstone"]),
        ("elasticsearch", "compression = zstd", ["off", "gzip"]),
        ("elasticsearch", "timeout = 2m", ["1s", "40s"]),
        ("elasticsearch", "refresh = yes", ["false", "wait_for", "true"]),
        ("log", "level = loud", ["debug", "info", "warn", "error"]),
        ("retry", "base = 1s\ncap = 500ms", ["retry.cap", "retry.base"]),
    ])
    def test_choices_and_ranges_are_spelled_out(self, command: Command, section: str, key: str,
                                                words: list[str]) -> None:
        text = complaint(command("config", file=f"[{section}]\n{key}\n"), CONFIG)
        assert "/outboxd.conf:" in text
        for word in words:
            assert word in text

    def test_that_is_not_there(self, command: Command, tmp_path: Path) -> None:
        text = complaint(command("config", "--config", f"{tmp_path}/none.conf"), CONFIG)
        assert f"{tmp_path}/none.conf" in text and "No such file" in text

    def test_that_is_a_folder(self, command: Command, tmp_path: Path) -> None:
        assert str(tmp_path) in complaint(command("config", "--config", str(tmp_path)), CONFIG)

    def test_a_mistake_that_a_flag_hides_is_still_a_mistake(self, command: Command) -> None:
        text = complaint(command("config", "--relay-workers=2", file="[relay]\nworkers = many\n"), CONFIG)
        assert "outboxd.conf:2" in text

    def test_a_value_goes_on_in_indented_lines(self, command: Command) -> None:
        file = "[outbox]\noperation =\n  CASE WHEN o.event LIKE '%_deleted'\n  THEN 'delete' ELSE 'index' END\nkey = o.k\n"
        done = command("config", "--json", file=file)
        outbox = json.loads(done.stdout)["outbox"]
        assert outbox["operation"]["value"] == "CASE WHEN o.event LIKE '%_deleted'\nTHEN 'delete' ELSE 'index' END"
        assert outbox["key"]["value"] == "o.k"

    def test_the_sample_is_one_and_changes_nothing(self, command: Command) -> None:
        sample = command("config", "sample")
        assert sample.exit_code == 0
        assert command("config", file=sample.stdout).stdout == command("config").stdout
        # With every option taken out of its comment it is the defaults again, now from the file.
        options = re.sub(r"^#(?=[a-z_]+ =)", "", sample.stdout, flags=re.MULTILINE)
        values = [line.partition("#")[0] for line in command("config", file=options).stdout.splitlines()]
        assert [value.rstrip() for value in values] == [
            line.partition("#")[0].rstrip() for line in command("config").stdout.splitlines()]


class TestTheEnvironment:
    def test_a_mistake_names_the_variable(self, command: Command) -> None:
        text = complaint(command("config", relay_workers=17), CONFIG)
        assert "OUTBOXD_RELAY_WORKERS" in text and "16" in text

    def test_an_unknown_variable_names_its_neighbour(self, command: Command) -> None:
        text = complaint(command("config", relay_worker=4), CONFIG)
        assert "OUTBOXD_RELAY_WORKER" in text and "OUTBOXD_RELAY_WORKERS" in text

    def test_the_configuration_file_may_be_named_there(self, command: Command, tmp_path: Path) -> None:
        (tmp_path / "x.conf").write_text("[relay]\nworkers = 7\n")
        assert shown(command("config", config=tmp_path / "x.conf"), "relay.workers") == ("7", f"{tmp_path}/x.conf:2")


class TestFlags:
    @pytest.mark.parametrize("arguments,words", [
        (["--relay-workers=17"], ["--relay-workers", "16"]),
        (["--relay-workers", "x"], ["--relay-workers"]),
        (["--relay-workers"], ["--relay-workers", "needs a value"]),
        (["--relay-worker=4"], ["--relay-worker: no such flag", "relay-workers"]),
        (["--print"], ["--print: no such flag"]),
        (["--bogus"], ["--bogus: no such flag"]),
        (["-x"], ["-x: no such flag"]),
        (["--"], ["no such flag"]),
        (["nonsense"], ["config nonsense", "sample"]),
    ])
    def test_a_mistake_is_a_mistake_of_use(self, command: Command, arguments: list[str], words: list[str]) -> None:
        text = complaint(command("config", *arguments), USAGE)
        for word in words:
            assert word in text

    def test_an_unknown_command(self, command: Command) -> None:
        assert "launch: no such command" in complaint(command("launch"), USAGE)

    @pytest.mark.parametrize("arguments", [["run", "now"], ["status", "outbox"], ["init", "print"],
                                           ["--log-level=debug", "init"], ["config", "sample", "again"],
                                           ["dead", "1", "2"], ["requeue", "1", "2"]])
    def test_a_word_too_many_is_not_ignored(self, command: Command, arguments: list[str]) -> None:
        """`outboxd --config FILE init` would start a relay; `requeue 1 2` would forget the 2."""
        nowhere = {"postgres_dsn": "host=127.0.0.1 port=1", "elasticsearch_url": "http://127.0.0.1:1",
                   "relay_once_timeout": "1s"}
        outboxd = Outboxd(**nowhere)
        command.made.append(outboxd)
        try:
            done = outboxd.run(*arguments, timeout=3)
        except TimeoutError as error:
            pytest.fail(f"it went on as if nothing were wrong: {error}")
        if arguments[0].startswith("--"):
            assert done.exit_code in (USAGE, 75)  # refused, or understood as init, for which there is no server here
        else:
            complaint(done, USAGE)

    def test_help_names_every_command_and_setting(self, command: Command) -> None:
        done = command("--help")
        assert (done.exit_code, done.stderr) == (0, "")
        for word in ("run", "init", "status", "dead", "requeue", "config", "--once", "--print", "--notify", "--json"):
            assert re.search(rf"(^|\W){word}\b", done.stdout), word
        for line in command("config").stdout.splitlines():
            name = line.partition(" ")[0].replace(".", "-").replace("_", "-")
            assert f"--{name}" in done.stdout

    def test_version(self, command: Command) -> None:
        done = command("--version")
        first, *libraries = done.stdout.splitlines()
        assert done.exit_code == 0 and re.fullmatch(r"outboxd \d+\.\d+\.\d+\S*", first)
        assert [line.split()[0] for line in libraries] == ["libpq", "libcurl", "zlib", "libev", "libmicrohttpd", "jansson"]
        assert all(re.fullmatch(r"\S+ \d+\.\d+\S*( \([\w-]+/\d\S*\))?", line) for line in libraries), libraries
        # What runs is what is said, and not what was there at the build.
        assert f"libcurl {loaded('libcurl.so.4', 'curl_version').split()[0].partition('/')[2]} (" in done.stdout
        assert f"zlib {loaded('libz.so.1', 'zlibVersion')}\n" in done.stdout

    def test_help_comes_before_a_missing_configuration(self, command: Command) -> None:
        assert command("init", "--help").exit_code == 0


class TestPrecedence:
    def test_flag_environment_file_default(self, command: Command) -> None:
        file = "[relay]\nworkers = 5\nbatch_rows = 100\npoll_interval = 2s\n"
        done = command("config", "--relay-workers=7", file=file, relay_workers=6, relay_batch_rows=200)
        assert shown(done, "relay.workers") == ("7", "--relay-workers")
        assert shown(done, "relay.batch_rows") == ("200", "OUTBOXD_RELAY_BATCH_ROWS")
        value, origin = shown(done, "relay.poll_interval")
        assert value == "2s" and origin.endswith("/outboxd.conf:4")
        assert shown(done, "relay.batch_bytes") == ("1MB", "default")

    def test_in_json_too(self, command: Command) -> None:
        done = command("config", "--json", "--relay-workers=7", relay_notify=False)
        relay = json.loads(done.stdout)["relay"]
        assert relay["workers"] == {"value": 7, "origin": "flag", "place": "--relay-workers"}
        assert relay["notify"] == {"value": False, "origin": "environment", "place": "OUTBOXD_RELAY_NOTIFY"}
        assert relay["batch_rows"]["origin"] == "default"


class TestWhatIsNeeded:
    @pytest.mark.parametrize("words", [["run", "--once"], ["init"], ["status"], ["dead"], ["requeue", "--all"]])
    def test_every_command_that_connects_asks_for_the_dsn(self, command: Command, words: list[str]) -> None:
        text = complaint(command(*words, elasticsearch_url="http://localhost:9200"), CONFIG)
        assert "postgres.dsn is not set" in text and "OUTBOXD_POSTGRES_DSN" in text

    def test_run_asks_for_the_url(self, command: Command) -> None:
        text = complaint(command("run", "--once", postgres_dsn="dbname=shop"), CONFIG)
        assert "elasticsearch.url is not set" in text and "OUTBOXD_ELASTICSEARCH_URL" in text

    def test_init_needs_no_url(self, db: Database, command: Command) -> None:
        done = command("init", postgres_dsn=db.dsn)
        assert done.exit_code == 0, done.stderr

    def test_print_needs_nothing(self, command: Command) -> None:
        done = command("init", "--print")
        assert done.exit_code == 0, done.stderr
        assert "CREATE TABLE" in done.stdout

    def test_config_needs_nothing(self, command: Command) -> None:
        assert command("config").exit_code == 0

    @pytest.mark.parametrize("url", ["localhost:9200", "ftp://localhost", "http://", "https://:9200", "http://a b",
                                     "http://host:99999", "http://host:port"])
    def test_the_url_is_one(self, command: Command, url: str) -> None:
        file = f"[postgres]\ndsn = dbname=shop\n[elasticsearch]\nurl = {url}\n"
        assert re.search(r"elasticsearch\.url .*outboxd\.conf:4", complaint(command("run", "--once", file=file),
                                                                            CONFIG))

    @pytest.mark.parametrize("lines,words", [
        ("username = me", ["username", "needs elasticsearch.password_file"]),
        ("password_file = /dev/null", ["password_file", "needs elasticsearch.username"]),
        ("username = me\npassword_file = /dev/null\napi_key_file = /dev/null", ["api_key_file", "excludes"]),
        ("key_file = /dev/null", ["key_file", "needs elasticsearch.cert_file"]),
        ("aws_region = eu-west-1\napi_key_file = /dev/null", ["aws_region", "excludes"]),
    ])
    def test_credentials_fit_together(self, command: Command, lines: str, words: list[str]) -> None:
        text = complaint(command("status", file=f"{SERVERS}{lines}\n"), CONFIG)
        for word in (*words, "outboxd.conf:"):
            assert word in text

    @pytest.mark.parametrize("setting", ["password_file", "api_key_file"])
    @pytest.mark.parametrize("content", [None, "", "two\nlines\n", "a\x01b"])
    def test_a_secret_that_cannot_be_used_is_said_at_the_start(self, command: Command, tmp_path: Path, setting: str,
                                                               content: str | None) -> None:
        path = tmp_path / "secret"
        if content is not None:
            path.write_text(content)
        name = "username = me\n" if setting == "password_file" else ""
        text = complaint(command("run", "--once", file=f"{SERVERS}{name}{setting} = {path}\n"), CONFIG)
        assert str(path) in text
        assert "two" not in text and "a\x01b" not in text
        if content is None:
            assert f"elasticsearch.{setting}" in text


class TestSecrets:
    PASSWORD = "hunter2-Tr0ub4dor"

    @pytest.mark.parametrize("dsn", ["host=localhost password={} dbname=shop", "postgresql://me:{}@localhost/shop",
                                     "postgres://localhost/shop?password={}", "password = '{}'",
                                     "postgresql://me:{}@a,b/shop?sslmode=require",
                                     "postgresql:///shop?user=me&password={}", "sslpassword={}"])
    def test_the_password_of_the_database_is_masked_and_refused_as_a_flag(self, command: Command, dsn: str) -> None:
        dsn = dsn.format(self.PASSWORD)
        for done in (command("config", file=f"[postgres]\ndsn = {dsn}\n"), command("config", postgres_dsn=dsn),
                     command("config", "--json", postgres_dsn=dsn)):
            assert done.exit_code == 0, done.stderr
            assert self.PASSWORD not in done.stdout + done.stderr
        done = command("config", f"--postgres-dsn={dsn}")
        assert "password in a flag" in complaint(done, USAGE)
        assert self.PASSWORD not in done.stderr

    @pytest.mark.parametrize("dsn", ["postgresql://me:100%{}@localhost/shop", "host=localhost password=my {}",
                                     "postgresql://me:p@{}@localhost/shop", "postgresql://me:{}/x@localhost/shop", "postgresql://me:p/{}@localhost/shop", "password='{}", "host=localhost {}"])
    def test_a_dsn_that_cannot_be_read_is_not_quoted(self, command: Command, dsn: str) -> None:
        """libpq would say what it did not understand, which is a piece of the password."""
        for words in (("run",), ("status",), ("init",)):
            done = command(*words, postgres_dsn=dsn.format(self.PASSWORD), elasticsearch_url="http://localhost:1")
            assert "postgres.dsn is not understood" in complaint(done, CONFIG)
            assert self.PASSWORD not in done.stdout + done.stderr

    @pytest.mark.parametrize("url", ["http://me:{}@localhost:9200", "https://{}@localhost"])
    def test_no_password_in_the_url(self, command: Command, url: str) -> None:
        file = f"[postgres]\ndsn = dbname=shop\n[elasticsearch]\nurl = {url.format(self.PASSWORD)}\n"
        text = complaint(command("run", "--once", file=file), CONFIG)
        assert "elasticsearch.url" in text and "outboxd.conf:4" in text and "password_file" in text
        assert self.PASSWORD not in text
        done = command("run", "--once", f"--elasticsearch-url={url.format(self.PASSWORD)}", postgres_dsn="dbname=x")
        assert done.exit_code in (USAGE, CONFIG)
        assert self.PASSWORD not in done.stdout + done.stderr

    def test_a_file_that_cannot_be_read_does_not_tell_its_content(self, command: Command) -> None:
        done = command("config", file=f"[postgres]\npassword = {self.PASSWORD}\n")
        assert self.PASSWORD not in complaint(done, CONFIG)
        done = command("config", file=f"[postgres]\n{self.PASSWORD}\n")
        assert self.PASSWORD not in complaint(done, CONFIG)

    def test_nothing_of_them_in_a_whole_run(self, db: Database, tmp_path: Path, outboxd: OutboxdFactory) -> None:
        """With the talkative log, through a refused login, an outage and a dead event."""
        document_secret = "the-customer's-own-words"
        login, good = Answer(401, body='{"error":{"type":"security_exception","reason":"no"},"status":401}'), Answer()
        dead = Answer(items={0: (400, "document_parsing_exception", f"failed: Preview of value: '{document_secret}'")})
        (tmp_path / "password").write_text(self.PASSWORD + "\n")
        with ScriptedElastic([login, Answer(503), Answer(ending="reset"), dead, good]) as server:
            daemon = outboxd(postgres_dsn=db.dsn_with(password=self.PASSWORD + "-db"), elasticsearch_url=server.url,
                             elasticsearch_username="me", elasticsearch_password_file=tmp_path / "password",
                             log_level="debug", retry_base="1ms", retry_cap="10ms")
            init(daemon)
            publish(db, "products", "1", {"text": document_secret})
            publish(db, "products", "2", {"text": document_secret})
            done = drain(daemon, expect=65)
            token = base64.b64encode(f"me:{self.PASSWORD}".encode()).decode()
            assert server.bulks[-1].headers["authorization"] == f"Basic {token}"
        output = done.stdout + done.stderr
        assert done.logs("events_dead") and done.logs("elasticsearch_away"), output
        for secret in (self.PASSWORD, token, document_secret):
            assert secret not in output
