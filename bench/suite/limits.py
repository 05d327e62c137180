"""What the machine can do at all, measured in the same run as everything else."""
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
WINDOW = 64
TINY = "a line of text, as documents go: forty characters or so"


def compile_all(work: Path) -> None:
    compiler = shutil.which("cc") or sys.exit("bench needs a C compiler (`cc`) for the limits and for ninja's units")
    for name, flags in (("limits", ["-pthread"]), ("unit", ["-static"])):
        subprocess.run([compiler, "-O2", *flags, "-o", work / name, HERE / f"limits/{name}.c"], check=True)


def build() -> None:
    """The limits in Rust, with the library that `pipe` is made of."""
    subprocess.run(["cargo", "build", "--release", "--quiet", "--example", "limits"], cwd=HERE.parent, check=True)


def rust(*words) -> dict:
    """A limit in Rust: `hash DIR`, `append DIR N`, `store DIR N`, `frames STORE`."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    done = subprocess.run([target / "release/examples/limits", *map(str, words)], capture_output=True, text=True, check=True)
    seconds, count = done.stdout.split()
    return {"wall": float(seconds), "count": int(count)}


def native(work: Path, *words) -> dict:
    """A limit in C: `walk DIR`, `read DIR`, `spawn N PROGRAM`, `filter N PROGRAM IN`."""
    done = subprocess.run([work / "limits", *map(str, words)], cwd=work, capture_output=True, text=True, check=True)
    seconds, count = done.stdout.split()
    return {"wall": float(seconds), "count": int(count)}


def echo(count: int) -> dict:
    """The bare JSON loop in Python, fed as `pipe` feeds a worker."""
    return fed([sys.executable, HERE / "limits/echo.py"], b"", count)


def worker(count: int) -> dict:
    """The worker that a build starts, with the module of the echo workload, fed in the same way."""
    with tempfile.TemporaryDirectory() as log:
        command = [sys.executable, "-c", "import pipelinefile; pipelinefile.worker()", "modules/echo.py", "echo"]
        home = {**os.environ, "PYTHONPATH": str(HERE.parent / "python")}
        with open(Path(log, "log"), "ab") as file:
            return fed(command, b'{"setup":{}}\n', count, cwd=HERE / "echo", env=home, stderr=file)


def fed(command: list, setup: bytes, count: int, **words) -> dict:
    """A worker that gets a window of requests, refilled at half; the clock starts with its first answer."""
    requests = [b'{"id":%d,"text":"%s","ext":"txt"}\n' % (number, TINY.encode()) for number in range(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, **words)
    to, back = process.stdin.fileno(), process.stdout.fileno()
    if setup:
        os.write(to, setup)
        if not os.read(back, 1 << 16).startswith(b'{"ready"'):
            sys.exit(f"{command} does not start")
    os.write(to, requests[0])
    os.read(back, 1 << 16)
    sent = answered = 1
    before, began = cpu_of(process.pid), time.perf_counter()
    while answered < count:
        if sent - answered <= WINDOW // 2 and sent < count:
            until = min(count, answered + WINDOW)
            os.write(to, b"".join(requests[sent:until]))
            sent = until
        answered += os.read(back, 1 << 18).count(b"\n")
    wall, cpu = time.perf_counter() - began, cpu_of(process.pid) - before
    process.stdin.close()
    process.wait()
    return {"wall": round(wall, 4), "count": count, "cpu": round(cpu, 2)}


def http(count: int) -> dict:
    """The bare loop over HTTP: the threads, connections and lines a request that `pipe` has."""
    done = subprocess.run([sys.executable, HERE / "limits/overhttp.py", str(count), "4", "16", TINY], stdout=subprocess.PIPE,
                          text=True, check=True)
    wall, cpu = map(float, done.stdout.split())
    return {"wall": round(wall, 4), "count": count, "cpu": round(cpu, 2)}


def cpu_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
