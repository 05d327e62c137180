"""docs5 at any size, up to a million documents: what a build costs when little or nothing is to be done, after a kill, with
the index gone; what it takes in memory and on disk. Only `pipe`, beside what the machine can do at all.

The documents are hard links to one tree that is made once: a change is a new file and a rename, so the tree stays as it
was, and a million documents take their inodes once.
"""
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

from suite import documents, limits, measure, peers

HERE = Path(__file__).resolve().parent.parent
WORK = "docs5"
#: A first scan alone: every document is read and hashed and gets its record, and none comes to the module.
ONLY_SCAN = '[source.docs]\npath = "docs"\n\n[target.none]\neach = "docs"\nmodule = "one"\nwhere = { mime = "image/none" }\n'
STORED = 200_000            # blobs of 4 KiB of the store's own limit
NOT_STATE = ("RESERVE", "tmp", "lock", "socket")


class Scale:
    """One size: the project's folder, and everything that is asked of it."""

    def __init__(self, work: Path, size: int, run, record, watch: bool):
        self.work, self.size, self.run, self.record, self.watch = work, size, run, record, watch
        self.pipe = peers.Pipe(work, "docs5")
        self.docs, self.folder = work / f"docs-{size}", work / f"docs5-{size}"
        self.changes = 0

    def say(self, phase: str, who: str = "pipe", **found) -> dict:
        self.record(work=WORK, size=self.size, who=who, phase=phase, round=0, **found)
        return found

    def measure(self, phase: str, *words, before=None, times: int = 1) -> dict:
        """The quickest of so many; `before` is done before each."""
        command, best = [*self.pipe.command(), *words], None
        for _ in range(times):
            if before:
                before()
            time.sleep(0.2)                         # so that no time stamp is too fresh to be trusted
            found = self.run(command, self.folder)
            best = found if best is None or found["wall"] < best["wall"] else best
        return self.say(phase, **best)

    def all(self) -> None:
        peers.set_aside(self.work, self.folder)
        self.folder.mkdir(parents=True)
        subprocess.run(["cp", "-al", self.docs, self.folder / "docs"], check=True)
        self.pipe.fill(self.folder)
        self.reads()
        self.first_scan()
        cold = self.cold()
        self.measure("again")
        self.nothing("no-op")
        for name, count in (("one", 1), ("percent", max(1, self.size // 100))):
            self.measure(name, before=lambda count=count: self.change(count), times=3 if count == 1 else 1)
        # What was built a moment ago may be looked at once more.
        self.nothing("no-op after")
        self.asks()
        if self.watch:
            self.unless_it_ends("watch", self.watched)
        self.index_gone()
        self.unless_it_ends("resume", lambda: self.killed(cold))

    def change(self, count: int) -> None:
        self.changes += 1
        documents.change(self.folder / "docs", self.size, count, 1000 + self.changes)

    def reads(self) -> None:
        """The limits over the same tree: with its names and stamps alone, and with every byte."""
        for _ in range(3):
            self.say("statx", who="walk", **limits.native(self.work, "walk", self.folder / "docs"))
        for _ in range(2):
            self.say("read and hash", who="hash", **limits.rust("hash", self.folder / "docs"))

    def first_scan(self) -> None:
        (self.folder / "only-scan").write_text(ONLY_SCAN)
        self.pipe.reset(self.folder)
        self.measure("first scan", "-f", "only-scan")

    def cold(self) -> dict:
        self.pipe.reset(self.folder)
        found = self.run([*self.pipe.command()], self.folder)
        return self.say("cold", **found, **usage(self.folder / ".pipe"), outputs=outputs(self.size))

    def nothing(self, phase: str) -> None:
        self.run(self.pipe.command(), self.folder)  # not measured: stamps that were too fresh are looked at once more
        for _ in range(2):
            self.say("statx", who="walk", **limits.native(self.work, "walk", self.folder / "docs"))
        self.measure(phase, times=3)

    def asks(self) -> None:
        """`pipe log` of a document in the middle, with the store in memory and with it on disk alone."""
        doc = f"docs/{documents.path_of(self.size // 2)}"
        binary, store = self.pipe.command()[0], self.folder / ".pipe"
        for phase, before in (("log, warm", None), ("log, cold", lambda: forget([*files(store), Path(binary)]))):
            quickest = None
            for _ in range(5):
                if before:
                    before()
                found = self.run([binary, "log", doc], self.folder)
                quickest = found if quickest is None or found["wall"] < quickest["wall"] else quickest
            self.say(phase, **quickest)

    def index_gone(self) -> None:
        self.say("frames", who="log", **limits.rust("frames", self.folder / ".pipe"))
        self.measure("index gone", before=lambda: peers.set_aside(self.work, self.folder / ".pipe/index"))

    def killed(self, cold: dict) -> None:
        """`kill -9` of a cold build after half of its time; then how long it takes until the rest starts."""
        self.pipe.reset(self.folder)
        with open(os.devnull, "w") as nowhere:
            first = subprocess.Popen(self.pipe.command(), cwd=self.folder, stdout=nowhere, stderr=nowhere)
            try:
                first.wait(cold["wall"] / 2)
            except subprocess.TimeoutExpired:
                first.kill()
                first.wait()
        time.sleep(1)                               # its modules end, too
        busy, began = measure.machine(), time.time()
        second = subprocess.Popen([*self.pipe.command(), "--json"], cwd=self.folder, stdout=subprocess.PIPE)
        lines = Lines(second.stdout)
        lines.until(b'"event":"starting"')
        starting = time.time() - began
        lines.until(b'"event":"done"')
        done, spent = time.time() - began, measure.machine() - busy
        last = lines.rest()
        status = second.wait()
        finished = json.loads(last) if last.startswith(b"{") else {}
        targets = finished.get("targets", [])
        count = {name: sum(target[name] for target in targets) for name in ("built", "reused")} if targets else {}
        self.say("resume", wall=round(starting, 4), first_done=round(done, 4), exit=status, spent=round(spent, 2),
                 up_to_date=finished.get("up_to_date"), **count)

    def watched(self) -> None:
        """A document is changed while `pipe watch` waits for that: until the build of it is over."""
        binary = self.pipe.command()[0]
        watcher = subprocess.Popen([binary, "watch", "--json", "--progress", "none"], cwd=self.folder,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        lines, found = Lines(watcher.stdout), []
        try:
            lines.until(b'"event":"watching"')
            for _ in range(3):
                time.sleep(1)
                began = time.time()
                self.change(1)
                seen = lines.until(b'"event":"finished"')
                wall = time.time() - began
                modules = sum(json.loads(line)["duration"] for line in seen if b'"event":"done"' in line) / 1e6
                found.append({"wall": round(wall, 4), "modules": round(modules, 4)})
        finally:
            watcher.terminate()
            watcher.wait()
        self.say("watch", **min(found, key=lambda one: one["wall"] - one["modules"]), exit=0)

    def unless_it_ends(self, phase: str, ask) -> None:
        """What cannot be measured because the program ended before says so, and the run goes on."""
        try:
            ask()
        except EOFError as problem:
            self.say(phase, wall=0.0, exit=str(problem))


class Lines:
    """The lines of a program, read by a thread so that it never waits for whoever reads."""

    def __init__(self, file):
        self.file, self.lines, self.ready, self.over = file, [], threading.Condition(), False
        self.keep = True
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        last = b""
        while self.keep:
            line = self.file.readline()
            if not line:
                break
            with self.ready:
                self.lines.append(line)
                self.ready.notify()
        # Nobody looks at the others but for the last one: read in pieces.
        while piece := self.file.read1(1 << 20):
            last = (last + piece)[-(1 << 20):]
        with self.ready:
            self.lines.append(last.rstrip(b"\n").rpartition(b"\n")[2] if last else b"")
            self.over = True
            self.ready.notify()

    def until(self, wanted: bytes) -> list:
        seen = []
        while True:
            with self.ready:
                self.ready.wait_for(lambda: self.lines or self.over)
                if not self.lines:
                    raise EOFError(f"it ended without {wanted.decode()}")
                line = self.lines.pop(0)
            seen.append(line)
            if wanted in line:
                return seen

    def rest(self) -> bytes:
        """The last line, when it is over."""
        self.keep = False
        with self.ready:
            self.ready.wait_for(lambda: self.over)
            found = [line for line in self.lines if line.strip()]
            return found[-1] if found else b""


def files(folder: Path) -> list:
    return [Path(at) / name for at, _, names in os.walk(folder) for name in names]


def forget(paths: list) -> None:
    """Asks the kernel to hold their bytes no more."""
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def log_bytes(store: Path) -> int:
    """What is written of the log; room that was only reserved is none."""
    try:
        return sum(os.stat(entry.path).st_size for entry in os.scandir(store / "segments"))
    except OSError:
        return 0


def usage(store: Path) -> dict:
    """Bytes of the store on disk by its parts, without what no result needs."""
    parts: dict = {}
    for path in files(store):
        part = path.relative_to(store).parts[0]
        parts[part] = parts.get(part, 0) + path.stat().st_blocks * 512
    state = sum(size for part, size in parts.items() if part not in NOT_STATE)
    return {"state_bytes": state, "parts": parts, "log_bytes": log_bytes(store)}


def outputs(size: int) -> int:
    """Bytes of the outputs of docs5: forty letters, and two more after each of four steps."""
    return size * (40 + 42 + 44 + 46 + 48)


def store_writes(work: Path, record) -> None:
    """Blobs of 4 KiB: appended and synced by the thousand, and as results in a store."""
    for who, name in (("append", "append"), ("pipe", "store")):
        for turn in range(2):
            folder = work / f"limit-{name}"
            shutil.rmtree(folder, ignore_errors=True)
            found = limits.rust(name, folder, STORED)
            record(work="store", size=STORED, who=who, phase="write", round=turn, **found)
            shutil.rmtree(folder, ignore_errors=True)


def alone(work: Path, run, record) -> None:
    """One document: what its modules and everything else take that does not depend on how many there are."""
    one = Scale(work, 1, run, record, watch=False)
    documents.make(one.docs, 1)
    peers.set_aside(work, one.folder)
    one.folder.mkdir(parents=True)
    subprocess.run(["cp", "-al", one.docs, one.folder / "docs"], check=True)
    one.pipe.fill(one.folder)
    one.run(one.pipe.command(), one.folder)
    one.nothing("no-op")
    one.measure("one", before=lambda: one.change(1), times=3)


def has_watch(binary: Path) -> bool:
    return subprocess.run([binary, "watch", "--help"], capture_output=True, check=False).returncode == 0


def all_sizes(work: Path, sizes: list, run, record) -> None:
    watch = has_watch(peers.Pipe.binary)
    alone(work, run, record)
    for size in sizes:
        documents.make(work / f"docs-{size}", size)
        Scale(work, size, run, record, watch).all()
    store_writes(work, record)


def room(work: Path, sizes: list) -> str:
    """What is missing for these sizes: bytes or inodes; empty if nothing is."""
    disk = os.statvfs(work)
    missing = [size for size in sizes if not (work / f"docs-{size}").exists()]
    inodes = sum(missing) + max(sizes, default=0) // 50
    size = sum(missing) * 4096 + max(sizes, default=0) * 4000
    if disk.f_favail and inodes > disk.f_favail:
        return f"{inodes:,} inodes are needed in {work}, {disk.f_favail:,} are left"
    if size > disk.f_bavail * disk.f_frsize:
        return f"{size >> 30} GiB are needed in {work}, {disk.f_bavail * disk.f_frsize >> 30} are left"
    return ""
