"""A small Elasticsearch client that shows exactly what the server said."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from .raw_json import elements, members

Body = Mapping[str, Any] | list[Any] | str | bytes | None
# What a kept connection shows when the server closed it while it was idle.
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Document(NamedTuple):
    version: int
    source: str  # the text as it was sent, never parsed: 19.90 stays 19.90


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class ElasticError(Exception):
    def __init__(self, what: str, reply: Reply) -> None:
        super().__init__(f"{what}: HTTP {reply.status} {reply.body[:2000].decode(errors='replace')}")
        self.reply = reply


class ElasticClient:
    """One kept connection per thread. `request` returns every answer; the other verbs raise on a refusal."""

    def __init__(self, url: str, username: str | None = None, password: str = "", timeout: float = 60,
                 context: ssl.SSLContext | None = None) -> None:
        self.url = url
        self.timeout = timeout
        self._address = urlsplit(url)
        self._context = context  # of an https:// address
        self._headers = {}
        if username is not None:
            token = base64.b64encode(f"{username}:{password}".encode()).decode()
            self._headers["authorization"] = f"Basic {token}"
        self._thread = threading.local()

    def request(self, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Sends a mapping or list as JSON, text and bytes as they are."""
        payload, kind = _encode(path, body)
        all_headers = {**self._headers, **kind, **(headers or {})}
        connection, is_kept = self._connection()
        try:
            try:
                return _exchange(connection, method, path, payload, all_headers)
            except _STALE:
                if not is_kept:
                    raise
                connection.close()
                return _exchange(connection, method, path, payload, all_headers)
        except BaseException:
            connection.close()  # it is in the middle of something; the next request opens it anew
            raise

    def call(self, method: str, path: str, body: Body = None) -> Any:
        """`request` for what must succeed; returns the parsed answer."""
        reply = self.request(method, path, body)
        if reply.status >= 300:
            raise ElasticError(f"{method} {path}", reply)
        return reply.json() if reply.body else None

    def create_index(self, name: str, mappings: Mapping[str, Any] | None = None,
                     settings: Mapping[str, Any] | None = None) -> None:
        body: dict[str, Any] = {"settings": {"number_of_shards": 1, "number_of_replicas": 0, **(settings or {})}}
        if mappings is not None:
            body["mappings"] = mappings
        self.call("PUT", f"/{quote(name)}", body)

    def delete_index(self, name: str) -> None:
        """Also when there is none."""
        self.call("DELETE", f"/{quote(name)}?ignore_unavailable=true")

    def refresh(self, index: str) -> None:
        self.call("POST", f"/{quote(index)}/_refresh")

    def get(self, index: str, document_id: str) -> Document | None:
        reply = self.request("GET", f"/{quote(index)}/_doc/{quote(document_id, safe='')}")
        if reply.status in (404, 503):  # the index may not be there yet either, or be just coming up
            return None
        if reply.status != 200:
            raise ElasticError(f"get {index}/{document_id}", reply)
        return _document(reply.body.decode(), 0)[1]

    def mget(self, index: str, ids: Iterable[str]) -> dict[str, Document]:
        """Those of `ids` that exist."""
        reply = self.request("POST", f"/{quote(index)}/_mget", {"ids": list(ids)})
        if reply.status != 200:
            raise ElasticError(f"mget {index}", reply)
        text = reply.body.decode()
        found = {}
        for start, _ in elements(text, members(text)["docs"][0]):
            if "_source" in members(text, start):
                name, document = _document(text, start)
                found[name] = document
        return found

    def count(self, index: str) -> int:
        """Documents that a search sees: refresh first where it matters."""
        return int(self.call("GET", f"/{quote(index)}/_count")["count"])

    def search(self, index: str, query: Mapping[str, Any] | None = None, size: int = 10) -> list[dict[str, Any]]:
        body = {"query": query or {"match_all": {}}, "size": size, "version": True}
        return list(self.call("POST", f"/{quote(index)}/_search", body)["hits"]["hits"])

    def all_docs(self, index: str) -> dict[str, Document]:
        """Every document of an index by id, after a refresh."""
        self.refresh(index)
        return dict(self._scroll(index))

    def _scroll(self, index: str) -> Iterator[tuple[str, Document]]:
        first = {"query": {"match_all": {}}, "size": 5000, "version": True, "sort": ["_doc"]}
        reply = self.request("POST", f"/{quote(index)}/_search?scroll=1m", first)
        while True:
            if reply.status != 200:
                raise ElasticError(f"scroll {index}", reply)
            text = reply.body.decode()
            answer = members(text)
            hits = list(elements(text, members(text, answer["hits"][0])["hits"][0]))
            yield from (_document(text, start) for start, _ in hits)
            scroll_id = json.loads(text[slice(*answer["_scroll_id"])])
            if not hits:
                break
            reply = self.request("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": scroll_id})
        self.call("DELETE", "/_search/scroll", {"scroll_id": scroll_id})

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """This thread's connection, and whether it was used before."""
        connection = getattr(self._thread, "connection", None)
        if connection is None:
            assert self._address.hostname
            address = self._address.hostname, self._address.port
            if self._address.scheme == "https":
                connection = http.client.HTTPSConnection(*address, timeout=self.timeout, context=self._context)
            else:
                connection = http.client.HTTPConnection(*address, timeout=self.timeout)
            self._thread.connection = connection
        return connection, connection.sock is not None


def _encode(path: str, body: Body) -> tuple[bytes | None, dict[str, str]]:
    if body is None:
        return None, {}
    ndjson = path.partition("?")[0].endswith("_bulk")
    kind = {"content-type": "application/x-ndjson" if ndjson else "application/json"}
    if isinstance(body, bytes):
        return body, kind
    return (body if isinstance(body, str) else json.dumps(body)).encode(), kind


def _exchange(connection: http.client.HTTPConnection, method: str, path: str, payload: bytes | None,
              headers: Mapping[str, str]) -> Reply:
    connection.request(method, path, payload, dict(headers))
    response = connection.getresponse()
    body = response.read()
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def _document(text: str, start: int) -> tuple[str, Document]:
    """(id, document) of a hit or of the answer to a get."""
    hit = members(text, start)
    name = json.loads(text[slice(*hit["_id"])])
    version = int(text[slice(*hit["_version"])])
    return name, Document(version, text[slice(*hit["_source"])])
