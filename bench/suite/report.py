"""What was measured, as pages: README.md (how), summary.md (how much)."""
import os
import platform
import re
import subprocess
from pathlib import Path

PHASES = {"cold": "cold", "no-op": "nothing changed", "one": "1 document", "percent": "1 % of them", "code": "code of module 2"}


VERDICT = {True: "met", False: "**not met**", None: "not judged"}
BUSY = 0.1                  # wall time is not judged when others took more of the machine than this


def best(records: list, **wanted):
    """The quickest of those that match and came to their end; None if there is none."""
    found = [record for record in records if all(record.get(key) == value for key, value in wanted.items())]
    done = [record for record in found if record.get("exit", 0) == 0]
    return min(done, key=lambda record: record["wall"], default=None)


def cpu(record: dict) -> float:
    return record["user"] + record["system"]


def busy(*records: dict) -> bool:
    """Whether something else took so much of the machine that wall time says little."""
    return any(record.get("others", 0) > BUSY * record["wall"] * (os.cpu_count() or 1) for record in records)


def engine(record: dict) -> float:
    """CPU seconds of `pipe` itself: its process and its host process, no module."""
    return record["own"] + record["helper"]


def actions(record: dict) -> int:
    """How many actions ran, by `pipe`'s own summary."""
    found = re.search(r"([\d,]+) built", record["says"])
    return int(found[1].replace(",", "")) if found else 0


def about(everyone: list, work: Path, command: str) -> str:
    with open("/proc/cpuinfo") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 1024**2
    kind = subprocess.run(["findmnt", "-n", "-o", "FSTYPE,OPTIONS", "-T", work], capture_output=True, text=True,
                          check=True).stdout.strip()
    commit = subprocess.run(["git", "log", "-1", "--format=%h of %cs"], cwd=work.parent, capture_output=True, text=True,
                            check=False).stdout.strip()
    lines = ["# How this was measured", "", "```", command, "```", "",
             f"* machine: {os.cpu_count()} cores ({model}), {memory:.0f} GB, {platform.system()} {platform.release()}, {kind}",
             f"* `pipe`: a release build; the repository stood at commit {commit}"]
    lines += [f"* {peer.name}: {peer.version()} ({peer.what})" for peer in everyone]
    lines += ["* caches of the file system warm; every tool has a copy of the documents of its own",
              f"* load when it began: {os.getloadavg()[0]:.1f}. `others` in raw.jsonl is the CPU time that the rest of the "
              "machine used during a measurement: where it is large, CPU seconds hold and wall time does not", "",
              "[summary.md](summary.md) has the figures, [raw.jsonl](raw.jsonl) every measurement, "
              "[bench/README.md](../../README.md) the method.", "", "![wall time by phase](picture.svg)", ""]
    return "\n".join(lines)


def summary(records: list, everyone: list) -> str:
    names = [peer.name for peer in everyone]
    return "\n".join([*_table(records, names), *_others(records), *_agreement(records), ""])


def _table(records: list, names: list) -> list:
    if not any(record["work"] == "docs3" for record in records):
        return []
    lines = ["# docs3: three Python modules a document, then one over all", "",
             "Wall seconds, in brackets CPU seconds of the whole process tree, peak MB of the tree. Better one of the rounds.", ""]
    for size in sorted({record["size"] for record in records if record["work"] == "docs3"}):
        here = [name for name in names if any(r["who"] == name and r["size"] == size for r in records)]
        lines += [f"## {size:,} documents", "", "| | " + " | ".join(here) + " |", "|---|" + "---|" * len(here)]
        for phase, title in PHASES.items():
            cells = []
            for name in here:
                wanted = {"work": "docs3", "size": size, "who": name, "phase": phase}
                found = best(records, **wanted)
                tried = next((r for r in records if all(r.get(k) == v for k, v in wanted.items())), None)
                if found:
                    cells.append(f"{found['wall']:.2f} ({cpu(found):.2f}) {found['peak_mb']:.0f}")
                else:
                    cells.append(f"{tried['exit']} at {tried['wall']:.0f} s" if tried else "–")
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
        lines.append("")
    return lines


def _others(records: list) -> list:
    """How busy the machine was with something else, so that a reader can weigh the wall times."""
    timed = [record for record in records if record.get("others") is not None]
    if not timed:
        return []
    share = sum(record["others"] for record in timed) / sum(record["wall"] for record in timed) / (os.cpu_count() or 1)
    return [f"While this was measured, others used {100 * share:.0f} % of the machine's CPU time. Wall times are "
            f"judged only where that was under {100 * BUSY:.0f} %; at 1k starting Python is all there is to see.", ""]


def _agreement(records: list) -> list:
    """All that really compute must come to the same sums in the same phase of the same round."""
    by_step, wrong = {}, []
    for record in records:
        if record.get("result") and record.get("exit") == 0:
            by_step.setdefault((record["size"], record["round"], record["phase"]), []).append(record)
    for step, found in by_step.items():
        if any(record["result"] != found[0]["result"] for record in found):
            wrong.append(f"{step}: " + ", ".join(f"{record['who']} {record['result']}" for record in found))
    together = sum(len(found) > 1 for found in by_step.values())
    if not together:
        return ["No step was done by more than one tool, so no results could be compared."]
    if wrong:
        return ["**Results differ**", "", *(f"* {line}" for line in wrong)]
    return [f"Results were compared in {together} steps that more than one tool did: the same in all."]
