"""Who does docs3, and how: what each needs in its folder, the command, and up to which size it is asked."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SNAKEMAKE = "snakemake==9.27.1"
PHASES = ["cold", "no-op", "one", "percent", "code"]


def set_aside(work: Path, path: Path) -> None:
    """Out of the way, but not deleted before the whole run is over: after many deletions ext4 without a journal searches
    long for inodes that were not deleted recently, and whoever creates many files next pays (measured: 15 CPU seconds
    for the script at 10k, instead of 3)."""
    if path.exists():
        aside = work / "aside"
        aside.mkdir(exist_ok=True)
        path.rename(aside / f"{len(os.listdir(aside)):04d}")


class Peer:
    """One tool. `once`: too slow for a second round. `state`: what a cold build begins without."""

    name, what = "", ""
    phases, up_to, once = PHASES, 10**9, False
    state = ["out"]
    code = "units/tokens.py"        # the code of module 2
    checked = True                  # it really computes, so its result is compared with the others'

    def __init__(self, work: Path):
        self.work = work

    def prepare(self, folder: Path, docs: Path) -> None:
        """The folder, with documents of its own."""
        set_aside(self.work, folder)
        folder.mkdir(parents=True)
        subprocess.run(["cp", "-a", docs, folder / "docs"], check=True)
        self.fill(folder)

    def fill(self, folder: Path) -> None:
        shutil.copytree(HERE / "docs3/units", folder / "units")

    def reset(self, folder: Path) -> None:
        for name in self.state:
            set_aside(self.work, folder / name)
        (folder / "out").mkdir(exist_ok=True)

    def edit_code(self, folder: Path, value: int) -> None:
        path = folder / self.code
        path.write_text(re.sub(r"MINLEN = \d+", f"MINLEN = {value}", path.read_text()))

    def command(self) -> list:
        raise NotImplementedError

    def version(self) -> str:
        return first_line([self.command()[0], "--version"])


class Pipe(Peer):
    name, what = "pipe", "release build, worker modules in Python"
    state = ["out", ".pipe"]
    code = "modules/tokens.py"
    binary = HERE.parent / "target/release/pipe"

    def __init__(self, work: Path, workload: str = "docs3/pipe"):
        super().__init__(work)
        self.workload = workload

    def fill(self, folder: Path) -> None:
        shutil.copytree(HERE / self.workload, folder, dirs_exist_ok=True)
        shutil.copy(self.work / "unit", folder)

    def command(self) -> list:
        return [str(self.binary), "build", "--progress", "none", "--color", "never"]


class Tree(Pipe):
    name, what = "pipe-tree", "the same with its sum as a tree (`reduce`)"

    def fill(self, folder: Path) -> None:
        super().fill(folder)
        shutil.copytree(HERE / "docs3/tree", folder, dirs_exist_ok=True)


class Script(Peer):
    name, what = "script", "by hand: two Python processes, remembers nothing"
    phases = ["cold"]

    def fill(self, folder: Path) -> None:
        super().fill(folder)
        shutil.copy(HERE / "docs3/script.py", folder)

    def command(self) -> list:
        return [sys.executable, "script.py", "docs", "out"]

    def version(self) -> str:
        return f"Python {sys.version.split()[0]}"


class Ninja(Peer):
    name, what = "ninja", "a Python process a unit"
    up_to, once = 1_000, True
    state = ["out", ".ninja_log", ".ninja_deps"]
    unit = "python3 -S -I units/{module}.py"

    def fill(self, folder: Path) -> None:
        super().fill(folder)
        shutil.copy(self.work / "unit", folder)
        with open(folder / "build.ninja", "w") as file:
            self.write(folder, file)

    def write(self, folder: Path, file) -> None:
        for module in ("normalize", "tokens", "keywords"):
            file.write(f"rule {module}\n  command = {self.unit.format(module=module)} $from $out\n")
        file.write(f"rule collect\n  command = {self.unit.format(module='collect')} out/collect.list $out\n"
                   "  rspfile = out/collect.list\n  rspfile_content = $in_newline\n")
        counted = []
        for at, folders, names in os.walk(folder / "docs"):
            folders.sort()
            for name in sorted(names):
                path = os.path.relpath(os.path.join(at, name), folder / "docs")
                steps = [f"docs/{path}", f"out/normalize/{path}", f"out/tokens/{path}.json", f"out/keywords/{path}.json"]
                for before, after, module in zip(steps, steps[1:], ("normalize", "tokens", "keywords")):
                    file.write(f"build {after}: {module} {before} | units/{module}.py\n  from = {before}\n")
                counted.append(steps[2])
        file.write("build out/collect.json: collect " + " $\n  ".join(counted) + " | units/collect.py\n")

    def command(self) -> list:
        return ["ninja", "-j2", "--quiet"]


class NinjaNothing(Ninja):
    name, what = "ninja-c", "a C process a unit that only copies: ninja alone"
    up_to, once, checked = 10_000, True, False
    unit = "./unit"


class Snakemake(Peer):
    name, what = "snakemake", "a shell command a unit"
    up_to, once = 1_000, True
    state = ["out", ".snakemake"]

    def fill(self, folder: Path) -> None:
        super().fill(folder)
        shutil.copy(HERE / "docs3/Snakefile", folder)

    def command(self) -> list:
        home = self.work / "venv-snakemake"
        if not (home / "bin/snakemake").exists():
            subprocess.run([sys.executable, "-m", "venv", home], check=True)
            subprocess.run([home / "bin/pip", "install", "-q", SNAKEMAKE], check=True)
        return [str(home / "bin/snakemake"), "-j2", "-q", "all"]


ALL = [Pipe, Tree, Script, Ninja, NinjaNothing, Snakemake]
CHOICES = {"script": [Script], "ninja": [Ninja, NinjaNothing], "snakemake": [Snakemake]}


def first_line(command: list) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "not here"
    return (done.stdout or done.stderr).strip().partition("\n")[0]
