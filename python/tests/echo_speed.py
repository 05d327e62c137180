"""How many documents a second an echo worker answers with a full window. Run: python3 python/tests/echo_speed.py [N]"""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

N, WINDOW = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000, 64
SDK = str(Path(__file__).resolve().parents[1])

with tempfile.TemporaryDirectory() as project:
    Path(project, "modules").mkdir()
    Path(project, "modules/echo.py").write_text(
        "from pipelinefile import module\n@module\ndef echo(doc):\n    return doc.text()\n")
    with open(Path(project, "log"), "ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-c", "import pipelinefile; pipelinefile.worker()", "modules/echo.py", "echo"],
            cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0,
            env={**os.environ, "PYTHONPATH": SDK})
    tx, rx = worker.stdin.fileno(), worker.stdout.fileno()
    os.write(tx, b'{"setup":{}}\n')
    assert os.read(rx, 1 << 16).startswith(b'{"ready":1')
    requests = [b'{"id":%d,"text":"a line of text, as documents go: forty characters or so","ext":"txt"}\n' % i for i in range(N)]
    sent = answered = 0
    began = time.perf_counter()
    while answered < N:
        if sent - answered <= WINDOW // 2 and sent < N:             # refilled at half, as pipe does
            upto = min(N, answered + WINDOW)
            os.write(tx, b"".join(requests[sent:upto]))
            sent = upto
        answered += os.read(rx, 1 << 18).count(b"\n")
    took = time.perf_counter() - began
    worker.stdin.close()
    worker.wait()
    cpu = os.times()
    print(f"{N / took:,.0f} documents/s, worker CPU {1e6 * (cpu.children_user + cpu.children_system) / N:.1f} µs each")
