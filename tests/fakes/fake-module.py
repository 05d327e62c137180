#!/usr/bin/env python3
"""A worker that does what it is told: options say how it starts, each document's text says how it ends.

Speaks protocol 1 by hand, with no package, so that tests of `pipe` need none and can break every rule.
"""
import argparse
import faulthandler
import json
import os
import signal
import subprocess
import sys
import time

options = argparse.ArgumentParser()
options.add_argument("--window", type=int)
options.add_argument("--concurrent", type=int)
options.add_argument("--start", default="well", help="well, fatal, exit, hang, stray, broken, deaf, no-describe")
options = options.parse_args()

out = os.fdopen(os.dup(1), "wb", buffering=0)
log = sys.stderr.fileno()
leaked = []


def tell(**frame):
    data = json.dumps(frame, ensure_ascii=False).encode() + b"\n"
    while data:
        data = data[out.write(data):]


def position():
    return os.fstat(log).st_size


def say(text):
    os.write(log, text.encode())


def signalled(name):
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(60)


def linger(*, leave):
    """A grandchild that outlives its parent; with `leave` it is in nobody's group or session."""
    code = "import os,time\n" + ("os.setsid()\n" if leave else "") + "print(os.getpid(), flush=True)\ntime.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    return int(child.stdout.readline())


def answer(req, start):
    """The fields of an answer; nothing: there is none."""
    verb, _, rest = req.get("text", "show").partition(" ")
    if verb == "echo":
        return {"output": {"text": rest}}
    if verb == "show":
        return {"output": {"json": {k: v for k, v in req.items() if k not in ("id", "tmp")}}}
    if verb == "size":
        return {"output": {"json": len(req["text"])}}
    if verb == "print":
        say(rest + "\n")
        return {"output": {"text": rest}}
    if verb == "skip":
        return {"skip": rest}
    if verb == "raise":
        return {"error": {"type": "ValueError", "message": rest, "where": {"file": "modules/x.py", "line": 3}}}
    if verb == "retry":
        return {"error": {"type": "Retry", "message": rest, "retry": True, "after": 1.5}}
    if verb == "memory":
        return {"error": {"type": "MemoryError", "message": "", "retry": True}}
    if verb == "file":
        os.makedirs(req["tmp"], exist_ok=True)
        path = os.path.join(req["tmp"], "result.bin")
        with open(path, "wb") as f:
            f.write(b"x" * int(rest))
        return {"output": {"path": path, "meta": {"b": 1, "a": 2}}}
    if verb == "same":
        return {"output": {"same": True, "meta": {"lang": "en"}}}
    if verb == "notes":
        tell(id=req["id"], progress={"done": 1, "total": 2})
        tell(id=req["id"], warn={"message": "careful"})
        tell(id=req["id"], count={"usd": 0.5})
        return {"output": {"text": "noted"}}
    if verb == "grow":
        return {"output": {"text": ""}, "files": ["a.py", "b.py"], "packages": ["numpy==2.4.6"]}
    if verb == "pid":
        return {"output": {"json": os.getpid()}}
    if verb == "linger":
        return {"output": {"json": [linger(leave=False), linger(leave=True)]}}
    if verb == "slow":
        time.sleep(float(rest))
        return {"output": {"text": "slow"}}
    if verb == "hang":
        say("hanging\n")
        time.sleep(600)
    if verb == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if verb == "exit":
        say("last words\n")
        os._exit(int(rest))
    if verb == "die":
        signalled(rest)
    if verb == "close":
        os.close(out.fileno())
        os.close(1)
        time.sleep(600)
    if verb == "stray":
        out.write(b"plain text\n{\"a\": 1}\n")
        return {"output": {"text": "after"}}
    if verb == "flood":
        for _ in range(int(rest)):
            out.write(b"y" * 65535 + b"\n")
        return {"output": {"text": "flooded"}}
    if verb == "endless":
        while True:
            out.write(b"y" * 65535 + b"\n")
    if verb == "take":
        kept = []
        for _ in range(200):
            kept.append(b"x" * (8 << 20))
        return {"output": {"text": "there was no limit"}}
    if verb == "leak":
        leaked.append(b"x" * (int(rest) << 20))
        return {"output": {"text": "leaked"}}
    if verb == "spin":
        # In C, holding the interpreter: no handler of Python runs any more.
        import ctypes
        while True:
            ctypes.PyDLL(None).sleep(600)
    if verb == "leave":
        linger(leave=True)
        os._exit(0)
    if verb == "bomb":
        for _ in range(int(rest)):
            if os.fork() == 0:
                os.setsid()
                time.sleep(600)
        return {"output": {"text": "many"}}
    if verb == "orphans":
        for _ in range(int(rest)):
            if os.fork() == 0:
                if os.fork() == 0:
                    os.setsid()
                os._exit(0)
            os.wait()
        return {"output": {"text": "orphans"}}
    if verb == "twice":
        tell(id=req["id"], output={"text": "first"})
        return {"output": {"text": "second"}}
    if verb == "other":
        tell(id=req["id"] + 1, output={"text": "stolen"})
        return {"output": {"text": "own"}}
    if verb == "pipes":
        for fd in (0, 1, 2, out.fileno()):
            os.close(fd)
        time.sleep(600)
    if verb == "raw":
        out.write(rest.replace("ID", str(req["id"])).encode() + b"\n")
        return None
    raise SystemExit(f"no such verb: {verb}")


def main():
    faulthandler.register(signal.SIGUSR1)
    if options.start == "exit":
        say("ImportError: no module named nosuch\n")
        os._exit(1)
    if options.start == "hang":
        time.sleep(600)
    if options.start == "deaf":
        tell(describe={"name": "fake"})
        tell(ready=1)
        time.sleep(600)
    for line in sys.stdin.buffer:
        req = json.loads(line)
        if "describe" in req and options.start != "no-describe":
            about = {"name": "fake", "params": {"n": {"type": "int", "default": 1}}, "with": ["fix"], "takes": "doc"}
            if options.start == "stray":
                out.write(b"loading the model\n")
            if options.window:
                about["window"] = options.window
            if options.concurrent:
                about["concurrent"] = options.concurrent
            tell(describe=about)
        elif "setup" in req:
            if options.start == "fatal":
                tell(fatal={"type": "ImportError", "message": "no numpy", "where": {"file": "modules/x.py", "line": 1}})
                sys.exit(1)
            if options.start == "broken":
                out.write(b"{\"ready\":\n")
                time.sleep(600)
            tell(ready=1, files=["modules/x.py"], packages=[])
        elif "id" in req:
            start = position()
            found = answer(req, start)
            if found is not None:
                where = {"log": [start, position()]} if options.window else {}
                tell(id=req["id"], **found, **where)


main()
