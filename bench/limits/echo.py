"""The bare loop that a Python worker cannot beat: JSON lines in, JSON lines out, one write for each read."""
import json
import os

rest = b""
while chunk := os.read(0, 1 << 16):
    *lines, rest = (rest + chunk).split(b"\n")
    replies = []
    for line in lines:
        request = json.loads(line)
        replies.append(json.dumps({"id": request["id"], "output": {"text": request["text"], "ext": "txt"}, "log": [0, 0]}))
    replies.append("")
    data = "\n".join(replies).encode()
    while data:
        data = data[os.write(1, data):]
