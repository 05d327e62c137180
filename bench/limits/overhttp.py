"""The bare loop over HTTP: a server that gives back the lines of a request, and clients that send as many as `pipe` does.

    python3 overhttp.py COUNT THREADS LINES TEXT

Prints seconds and CPU seconds of both sides together, once the first answer has come.
"""
import http.client
import http.server
import json
import os
import sys
import threading
import time


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        lines = self.rfile.read(int(self.headers["content-length"])).splitlines()
        requests = map(json.loads, lines)
        data = "".join(json.dumps({"id": one["id"], "output": {"text": one["text"]}}) + "\n" for one in requests).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def send(port: int, share: range, lines: int, text: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for first in range(share.start, share.stop, lines):
        ids = range(first, min(first + lines, share.stop))
        body = "".join(json.dumps({"id": number, "text": text, "ext": "txt"}) + "\n" for number in ids)
        connection.request("POST", "/", body.encode())
        answers = connection.getresponse().read().splitlines()
        assert [json.loads(answer)["id"] for answer in answers] == list(ids)


def main() -> None:
    count, threads, lines, text = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    ready, port = os.pipe()
    server = os.fork()
    if not server:
        served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        os.write(port, str(served.server_address[1]).encode())
        os.close(port)
        served.serve_forever()
    address = int(os.read(ready, 16))
    send(address, range(1), lines, text)
    began, each = time.perf_counter(), -(-count // threads)
    shares = [range(first, min(first + each, count)) for first in range(0, count, each)]
    clients = [threading.Thread(target=send, args=(address, share, lines, text)) for share in shares]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    wall = time.perf_counter() - began
    os.kill(server, 15)
    os.wait()
    used = os.times()
    print(wall, used.user + used.system + used.children_user + used.children_system)


if __name__ == "__main__":
    main()
