"""Receives what shrike posts, opens it with Python's own gzip and the zstd tool, and judges it.

Usage: receive.py ZSTD SECRET EVENTS, where EVENTS is the file that was read. Prints its port, and at
the end of its standard input what it thinks of all that came: every event once at every place, every
body whole, every signature right.
"""

import collections
import gzip
import hashlib
import hmac
import http.server
import json
import re
import subprocess
import sys
import threading
import time

import otlp
from verdict import strict

ZSTD, SECRET, EVENTS = sys.argv[1:]
PROTOBUF = "application/x-protobuf"
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-b10c-[0-9a-f]{12}")
PROBLEMS = collections.Counter()
ENCODINGS = collections.Counter()
# By place, how often each event came.
CAME = collections.defaultdict(collections.Counter)
LOCK = threading.Lock()


def opened(body, encoding):
    ENCODINGS[encoding] += 1
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "zstd":
        zstd = subprocess.run([ZSTD, "-dc"], input=body, capture_output=True, check=True)
        return zstd.stdout
    if encoding is None:
        return body
    raise ValueError(f"an encoding that nobody asked for: {encoding}")


def lines(text):
    if not text.endswith("\n"):
        raise ValueError("the last line does not end")
    # Only line feeds count: Python's own splitting takes other characters of Unicode for ends too.
    return [strict(line) for line in text[:-1].split("\n")]


def concatenated(text):
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def bulk(text):
    rows = lines(text)
    if any(list(action) != ["create"] for action in rows[::2]) or len(rows) % 2:
        raise ValueError("actions and documents do not alternate")
    for action, document in zip(rows[::2], rows[1::2]):
        if action["create"]["_id"] != document["event"]["id"]:
            raise ValueError(f"_id {action['create']['_id']} of {document['event']['id']}")
    return rows[1::2]


def records(text):
    if strict(text) == {"resourceLogs": []}:
        return []  # How a collector is asked whether it is well.
    problems = list(otlp.rule(text))
    if problems:
        raise ValueError("; ".join(problems))
    return [record for resource in strict(text)["resourceLogs"]
            for scope in resource["scopeLogs"] for record in scope["logRecords"]]


def signed(headers, body):
    """As docs/vendors/webhook.md tells a receiver to check it."""
    parts = dict(part.split("=", 1) for part in headers["X-Shrike-Signature"].split(","))
    expected = hmac.new(SECRET.encode(), f"{parts['t']}.".encode() + body, hashlib.sha256)
    if not hmac.compare_digest(expected.hexdigest(), parts["v1"]):
        raise ValueError("the signature is of something else")
    if abs(time.time() - int(parts["t"])) > 300:
        raise ValueError(f"signed at {parts['t']}")


def keyed(headers, documents):
    """Modes that send several events are known by the digest of their ids."""
    ids = "".join(f"{ID.search(json.dumps(document))[0]}\n" for document in documents)
    if headers["Idempotency-Key"] != hashlib.sha256(ids.encode()).hexdigest():
        raise ValueError(f"Idempotency-Key {headers['Idempotency-Key']}")


def created(documents):
    items = [{"create": {"_index": "i", "_id": "x", "status": 201}} for _ in documents]
    return {"errors": False, "items": items}


# By path: how a body is read, and what is answered.
PLACES = {
    "/lines": (lines, lambda _: {}),
    "/array": (strict, lambda _: {}),
    "/v1/logs": (records, lambda _: {}),
    "/binary/v1/logs": (records, lambda _: {}),
    "/services/collector/event": (concatenated, lambda _: {"text": "Success", "code": 0}),
    "/api/v2/logs": (strict, lambda _: {}),
    "/sumo": (lines, lambda _: {}),
    "/_bulk": (bulk, created),
}
# Bodies that hold counts of events instead of events.
COUNTS = {"/api/v2/series": "series"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        path = self.path.split("?")[0]
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        answer, status = {}, 200
        try:
            if path in COUNTS:
                text = opened(raw, self.headers["Content-Encoding"]).decode("utf-8")
                if not strict(text)[COUNTS[path]]:
                    raise ValueError("nothing is counted")
                return self.answer(202, {"errors": []})
            read, answers = PLACES[path]
            plain = opened(raw, self.headers["Content-Encoding"])
            is_binary = path.startswith("/binary/")
            if self.headers["Content-Type"] == PROTOBUF and is_binary:
                documents = read(otlp.text_of(plain))
            elif is_binary or self.headers["Content-Type"] == PROTOBUF:
                raise ValueError(f"the type is {self.headers['Content-Type']}")
            else:
                documents = read(plain.decode("utf-8"))
            if path in ("/lines", "/array"):
                signed(self.headers, raw)
                keyed(self.headers, documents)
            answer = answers(documents)
            with LOCK:
                for document in documents:
                    ids = set(ID.findall(json.dumps(document)))
                    if len(ids) != 1:
                        raise ValueError(f"a document of {len(ids)} events")
                    CAME[path].update(ids)
        except Exception as error:  # Whatever is wrong is said at the end.
            PROBLEMS[f"{path}: {type(error).__name__}: {error}"[:500]] += 1
            status = 400
        self.answer(status, answer)

    do_PUT = do_POST

    def do_GET(self):
        """Calls that ask whether a destination is well."""
        self.answer(200, {"valid": True})

    def answer(self, status, value):
        # An answer without anything to tell has no bytes in Protocol Buffers.
        is_binary = self.headers["Content-Type"] == PROTOBUF
        body = b"" if is_binary else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", PROTOBUF if is_binary else "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    with open(EVENTS, encoding="utf-8") as file:
        expected = {strict(line)["event_id"] for line in file}
    http.server.ThreadingHTTPServer.request_queue_size = 128
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    server.shutdown()
    for path in PLACES:
        came = CAME[path]
        if set(came) != expected or set(came.values()) != {1}:
            PROBLEMS[f"{path}: {len(came)} of {len(expected)} events, "
                     f"{sum(came.values())} documents"] += 1
    if not {"gzip", "zstd", None} <= set(ENCODINGS):
        PROBLEMS[f"only these encodings came: {ENCODINGS}"] += 1
    for problem, count in PROBLEMS.items():
        print(f"{count} times: {problem}")
    print(f"{sum(map(len, CAME.values()))} events judged")
    sys.exit(1 if PROBLEMS else 0)


main()
