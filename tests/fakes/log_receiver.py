"""Receives what `pipe` sends to log systems, decodes it as the specifications say, and prints it as JSON lines.

    log_receiver.py udp|tcp|http|otlp|hook [STATUS]

Prints its port first. Ends with the message that a build has finished. Written from the GELF 1.1 specification and from
opentelemetry-proto 1.3; knows nothing of how `pipe` makes its messages. Standard library only.
"""

import gzip
import http.server
import json
import re
import socket
import sys
import zlib


def unpacked(data):
    if data[:1] == b"\x78":
        return zlib.decompress(data)
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    return data


def gelf(data):
    """A message, checked; whether it is the last."""
    message = json.loads(data.decode("utf-8"))
    assert message["version"] == "1.1", message
    assert isinstance(message["host"], str) and message["host"], message
    assert isinstance(message["short_message"], str) and message["short_message"], message
    assert isinstance(message["timestamp"], (int, float)), message
    assert isinstance(message["level"], int) and 0 <= message["level"] <= 7, message
    known = {"version", "host", "short_message", "full_message", "timestamp", "level"}
    for name, value in message.items():
        if name not in known:
            assert re.fullmatch(r"_[\w.\-]+", name) and name != "_id", name
            assert isinstance(value, (str, int, float)) and not isinstance(value, bool), (name, value)
    print(json.dumps(message), flush=True)
    return message.get("_event") == "finished"


def udp():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    server.bind(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    open_messages = {}
    while True:
        data = server.recv(65536)
        if data[:2] == b"\x1e\x0f":
            id, number, count = data[2:10], data[10], data[11]
            assert number < count <= 128
            chunks = open_messages.setdefault(id, {})
            chunks[number] = data[12:]
            if len(chunks) < count:
                continue
            data = b"".join(chunks[n] for n in range(count))
            print(json.dumps({"chunks": count}), flush=True)
        if gelf(unpacked(data)):
            return


def tcp():
    server = socket.create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    connection, _ = server.accept()
    rest = b""
    while True:
        data = connection.recv(65536)
        assert data, "closed before the end"
        *messages, rest = (rest + data).split(b"\0")
        if any([gelf(message) for message in messages]):
            return


class Stop(Exception):
    pass


def plain(attributes):
    names = [entry["key"] for entry in attributes]
    assert len(names) == len(set(names)), names
    out = {}
    for entry in attributes:
        ((kind, value),) = entry["value"].items()
        out[entry["key"]] = {"stringValue": str, "intValue": int}[kind](value)
    return out


def otlp(path, body):
    message = json.loads(body)
    if path == "/v1/logs":
        for resource in message["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    assert 1 <= record["severityNumber"] <= 24 and record["severityText"]
                    assert re.fullmatch("[0-9a-f]{32}", record["traceId"]), record
                    assert re.fullmatch("[0-9]+", record["timeUnixNano"])
                    out = {"log": record["body"]["stringValue"], **plain(record["attributes"])}
                    print(json.dumps(out), flush=True)
        return False
    assert path == "/v1/traces", path
    last = False
    for resource in message["resourceSpans"]:
        about = plain(resource["resource"]["attributes"])
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                assert re.fullmatch("[0-9a-f]{32}", span["traceId"]) and re.fullmatch("[0-9a-f]{16}", span["spanId"])
                assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
                parent = span.get("parentSpanId")
                last |= parent is None
                out = {"span": span["name"], "trace": span["traceId"], "id": span["spanId"], "parent": parent}
                status = span["status"]["code"]
                print(json.dumps({**out, "status": status, **about, **plain(span["attributes"])}), flush=True)
    return last


def over_http(take):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            assert self.headers["Content-Type"] == "application/json"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.is_over = take(self.path, body)
            self.send_response(int((sys.argv[2:] or ["202"])[0]))
            self.send_header("Content-Length", "0")
            self.end_headers()
            if self.server.is_over:
                self.close_connection = True

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.is_over = False
    server.timeout = 0.05
    print(server.server_address[1], flush=True)
    while not server.is_over:
        server.handle_request()


def hook(path, body):
    """A chat or a pager: one message, and it is over."""
    message = json.loads(body.decode("utf-8"))
    assert path == "/hooks/build?token=a", path
    assert isinstance(message["text"], str) and message["text"], message
    print(json.dumps(message), flush=True)
    return True


def of_gelf(path, body):
    assert path == "/gelf", path
    return gelf(body)


KINDS = {
    "udp": udp,
    "tcp": tcp,
    "http": lambda: over_http(of_gelf),
    "otlp": lambda: over_http(otlp),
    "hook": lambda: over_http(hook),
}
KINDS[sys.argv[1]]()
