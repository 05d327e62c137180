"""The table of goals: each against a limit or a peer of the same run. What was not measured has a dash."""
import os

from suite.report import BUSY, VERDICT, actions, best, busy, cpu, engine

ACTIONS = 5                 # of docs5, a document
SMALL = 10_000              # what the cost of a document at the largest size is compared with
STATE_ACTION, STATE_DOCUMENT = 115, 200


def sizes(records: list) -> list:
    return sorted({record["size"] for record in records if record["work"] == "docs5" and record["size"] > 1})


def summary(records: list) -> str:
    rows = [found for size in sizes(records) for found in at_size(records, size)] + others(records)
    # By number, sizes as they come: `4b` behind `4`.
    rows.sort(key=lambda found: (int(found[0].rstrip("b")), found[0]))
    lines = ["", "# The goals", "", "docs5 is five trivial targets in a row, docs3 three Python modules and one over all. Wall time is "
             f"not judged where others took over {100 * BUSY:.0f} % of the machine, and little is below {SMALL:,} documents: starting "
             "Python is all there is to see.", "",
             "| # | what | documents | limit or peer | goal | measured | ratio | |", "|---|---|---|---|---|---|---|---|",
             *(f"| {' | '.join(found)} |" for found in rows), ""]
    if sizes(records):
        lines += [*costs(records), "", "![cost of a document by number of documents](scale.svg)", ""]
    return "\n".join(lines)


def row(number, what, size, limit, goal, measured, ratio, met) -> tuple:
    return (number, what, f"{size:,}" if size else "", limit, goal, measured, ratio, VERDICT[met])


def seconds(value: float) -> str:
    return f"{1e3 * value:.1f} ms" if value < 1 else f"{value:.2f} s"


def judged(met: bool, *found) -> bool | None:
    return None if busy(*found) else met


def at_size(records: list, size: int) -> list:
    def one(phase, who="pipe", work="docs5", at=size):
        return best(records, work=work, size=at, who=who, phase=phase)

    rows = []
    walk, nothing, cold = one("statx", "walk"), one("no-op"), one("cold")
    again = one("no-op after") or nothing
    alone, alone_nothing = one("one", at=1), one("no-op", at=1)
    if walk and nothing:
        ratio = nothing["wall"] / walk["wall"]
        memory = f", {nothing['peak_mb']:.0f} MB"
        met = judged(ratio <= 1.1 and nothing["peak_mb"] <= 120, nothing)
        rows.append(row("1", "no-op", size, f"walk {seconds(walk['wall'])}", "≤ 1.1×, ≤ 120 MB",
                        seconds(nothing["wall"]) + memory, f"{ratio:.2f}×", met))
    changed = one("one")
    if changed and again and alone and alone_nothing:
        modules = alone["wall"] - alone_nothing["wall"]
        limit = again["wall"] + modules
        rows.append(row("2", "one changed document", size, f"no-op {seconds(again['wall'])} + its modules {seconds(modules)}",
                        "≤ the sum + 0.1 s", seconds(changed["wall"]), f"{changed['wall'] / limit:.2f}×",
                        judged(changed["wall"] <= limit + 0.1, changed, again)))
    if watched := one("watch"):
        more = watched["wall"] - watched["modules"]
        rows.append(row("3", "the same under `pipe watch`", size, f"its modules {seconds(watched['modules'])}", "≤ + 50 ms",
                        seconds(watched["wall"]), f"+ {seconds(more)}", more <= 0.05))
    hashed, scan = one("read and hash", "hash"), one("first scan")
    if hashed and scan:
        ratio = scan["wall"] / hashed["wall"]
        rows.append(row("4", "first scan: hash and records", size, f"read + BLAKE3 {seconds(hashed['wall'])}", "≤ 1.2×",
                        seconds(scan["wall"]), f"{ratio:.2f}×", judged(ratio <= 1.2, scan)))
    if cold and actions(cold):
        each = 1e6 * engine(cold) / actions(cold)
        rows.append(row("5", "engine CPU an action, docs5", size, "–", "≤ 10 µs", f"{each:.1f} µs", "–",
                        each <= 10 if size >= SMALL else None))
    if cold:
        hundred = one("cold", at=100_000)
        grown = cold["peak_mb"] / hundred["peak_mb"] if hundred and size > 100_000 else None
        own = f", `pipe` alone {cold['own_peak_mb']:.0f} MB" if cold["own_peak_mb"] else ""
        rows.append(row("9", "peak memory, cold", size, f"100k: {hundred['peak_mb']:.0f} MB" if grown else "–",
                        "≤ 250 MB, ≤ 1.3× of 100k", f"{cold['peak_mb']:.0f} MB{own}", f"{grown:.2f}×" if grown else "–",
                        cold["peak_mb"] <= 250 and (not grown or grown <= 1.3)))
    if cold and "state_bytes" in cold:
        beyond = cold["state_bytes"] - cold["outputs"]
        goal = size * (STATE_ACTION * ACTIONS + STATE_DOCUMENT)
        rows.append(row("10", "on disk beyond outputs", size, f"outputs {cold['outputs'] / size:.0f} B a document",
                        f"≤ {STATE_ACTION} B an action + {STATE_DOCUMENT} B a document = {goal / size:.0f} B",
                        f"{beyond / size:.0f} B a document", f"{beyond / goal:.2f}×",
                        beyond <= goal if size >= SMALL else None))
    resume = one("resume")
    if resume and nothing:
        limit = nothing["wall"] + 0.5
        rows.append(row("11", "after `kill -9` half-way: until the rest starts", size, f"no-op {seconds(nothing['wall'])}",
                        "≤ no-op + 0.5 s", f"{seconds(resume['wall'])}, first result {seconds(resume['first_done'])}",
                        f"{resume['wall'] / limit:.2f}×", resume["wall"] <= limit))
    rebuilt, frames = one("index gone"), one("frames", "log")
    if rebuilt and again:
        spent = max(rebuilt["wall"] - again["wall"], 1e-3)
        limit = f"reading the log {seconds(frames['wall'])}" if frames else "–"
        rows.append(row("12", "index deleted: made again", size, limit, "≥ 1M documents/s",
                        f"{size / spent:,.0f}/s ({seconds(spent)})", f"{spent / frames['wall']:.1f}×" if frames else "–",
                        judged(size / spent >= 1e6, rebuilt) if size >= 100_000 else None))
    for phase, goal in (("log, warm", 0.05), ("log, cold", 0.5)):
        if found := one(phase):
            rows.append(row("14", f"`pipe {phase.partition(',')[0]} DOC`,{phase.partition(',')[2]} cache", size, "–",
                            f"≤ {seconds(goal)}", seconds(found["wall"]), f"{found['wall'] / goal:.2f}×",
                            judged(found["wall"] <= goal, found)))
    small = one("cold", at=SMALL)
    if cold and small and size > SMALL:
        ratio = (cold["wall"] / size) / (small["wall"] / SMALL)
        rows.append(row("15", "cold: cost of a document", size, f"10k: {1e6 * small['wall'] / SMALL:.0f} µs", "≤ 1.2×",
                        f"{1e6 * cold['wall'] / size:.0f} µs", f"{ratio:.2f}×", judged(ratio <= 1.2, cold, small)))
    return rows


def others(records: list) -> list:
    """What other workloads of the run say."""
    rows = []
    for size in sorted({record["size"] for record in records if record["work"] == "docs3"}):
        nothing = best(records, work="docs3", size=size, who="pipe", phase="no-op")
        walk = best(records, work="limit", who="walk", size=size)
        if nothing and walk:
            few, ratio = size <= SMALL, nothing["wall"] / walk["wall"]
            rows.append(row("4b" if few else "1", "no-op, docs3", size, f"walk {seconds(walk['wall'])}",
                            "≤ 50 ms" if few else "≤ 1.1×", seconds(nothing["wall"]), f"{ratio:.2f}×",
                            judged(nothing["wall"] <= 0.05 if few else ratio <= 1.1, nothing)))
        cold = best(records, work="docs3", size=size, who="pipe", phase="cold")
        script = best(records, work="docs3", size=size, who="script", phase="cold")
        if cold and actions(cold) and size >= SMALL:
            each = 1e6 * engine(cold) / actions(cold)
            rows.append(row("5", "engine CPU an action, docs3", size, "–", "≤ 20 µs", f"{each:.1f} µs", "–", each <= 20))
        if cold and script and size >= SMALL:
            ratio, goal = cold["wall"] / script["wall"], 1.5 if size <= SMALL else 1.0
            rows.append(row("6", "cold docs3", size, f"script {seconds(script['wall'])}", f"≤ {goal}×", seconds(cold["wall"]),
                            f"{ratio:.2f}×, CPU {cpu(cold) / cpu(script):.2f}×", judged(ratio <= goal, cold, script)))
    ours, bare = best(records, work="echo"), best(records, work="limit", who="echo")
    if ours and bare:
        mine, its = ours["size"] / ours["wall"], bare["count"] / bare["wall"]
        if fed := best(records, work="worker"):
            alone = fed["count"] / fed["wall"]
            rows.append(row("7", "documents/s of one worker, fed as the bare loop is", fed["count"], f"bare echo {its:,.0f}/s",
                            "≥ 0.8×", f"{alone:,.0f}/s", f"{alone / its:.2f}×", judged(alone >= 0.8 * its, ours)))
        rows.append(row("7", "documents/s of a build with one worker, start included", ours["size"],
                        f"bare echo {its:,.0f}/s", "≥ 0.8×",
                        f"{mine:,.0f}/s", f"{mine / its:.2f}×", judged(mine >= 0.8 * its, ours)))
        worker = (cpu(ours) - engine(ours)) / ours["size"]
        rows.append(row("7", "CPU of that worker a document", ours["size"], f"{1e6 * bare['cpu'] / bare['count']:.1f} µs", "–",
                        f"{1e6 * worker:.1f} µs", f"{worker * bare['count'] / bare['cpu']:.2f}×", None))
    for work, what in (("batch", "documents/s in batches of 64, start included"), ("http", "documents/s over HTTP, start included")):
        ours, bare = best(records, work=work), best(records, work="limit", who=work)
        if ours and bare:
            mine, its = ours["size"] / ours["wall"], bare["count"] / bare["wall"]
            rows.append(row("7", what, ours["size"], f"bare {'echo' if work == 'batch' else 'HTTP loop'} {its:,.0f}/s", "–",
                            f"{mine:,.0f}/s", f"{mine / its:.2f}×", None))
    ours, bare = best(records, work="filter"), best(records, work="limit", who="spawn")
    if ours and bare:
        mine, its = ours["size"] / ours["wall"], bare["count"] / bare["wall"]
        rows.append(row("8", "filters/s", ours["size"], f"posix_spawn {its:,.0f}/s", "≥ 0.85×", f"{mine:,.0f}/s",
                        f"{mine / its:.2f}×", judged(mine >= 0.85 * its, ours)))
    same = best(records, work="limit", who="filter")
    if ours and same:
        mine, its = ours["size"] / ours["wall"], same["count"] / same["wall"]
        rows.append(row("8", "filters/s", ours["size"], f"posix_spawn, its file read and removed {its:,.0f}/s", "–",
                        f"{mine:,.0f}/s", f"{mine / its:.2f}×", None))
    plain, store = best(records, work="store", who="append"), best(records, work="store", who="pipe")
    if plain and store:
        mine, its = store["count"] / store["wall"], plain["count"] / plain["wall"]
        rows.append(row("13", "store writes, blobs of 4 KiB", store["count"], f"append + fdatasync {its:,.0f}/s", "≥ 0.7×",
                        f"{mine:,.0f}/s", f"{mine / its:.2f}×", mine >= 0.7 * its))
    return rows


PHASES = {"cold": "cold", "again": "right after the cold one", "no-op": "nothing changed", "one": "1 document", "percent": "1 % of them",
          "index gone": "index deleted", "first scan": "first scan alone"}


def costs(records: list) -> list:
    """Every phase at every size, as wall time and as the cost of a document."""
    here = sizes(records)
    lines = ["## docs5 by number of documents", "", "Wall time, cost of a document, peak MB of all processes.", "",
             "| | " + " | ".join(f"{size:,}" for size in here) + " |", "|---|" + "---|" * len(here)]
    for phase, title in PHASES.items():
        cells = []
        for size in here:
            found = best(records, work="docs5", size=size, who="pipe", phase=phase)
            cells.append(f"{seconds(found['wall'])}, {1e6 * found['wall'] / size:.2f} µs, {found['peak_mb']:.0f}" if found else "–")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    cells = []
    for size in here:
        found = best(records, work="docs5", size=size, who="walk", phase="statx")
        cells.append(f"{seconds(found['wall'])}, {1e6 * found['wall'] / size:.2f} µs" if found else "–")
    lines.append("| walk and statx | " + " | ".join(cells) + " |")
    redone = [(size, best(records, work="docs5", size=size, who="pipe", phase="resume")) for size in here]
    said = [f"{size:,}: {found['built']:,} ran after the kill, {found['reused']:,} were found again, {found['up_to_date']:,} "
            "documents were untouched" for size, found in redone if found and found.get("built") is not None]
    return [*lines, "", *(["After `kill -9` half-way through a cold build: " + "; ".join(said) + "."] if said else []),
            f"The machine has {os.cpu_count()} cores."]


def curves(records: list) -> dict:
    """Microseconds a document by size, for each line of the picture."""
    lines = {}
    for phase, title in (("cold", "cold, five modules"), ("first scan", "first scan"), ("index gone", "index deleted"),
                         ("one", "1 document changed"), ("no-op", "nothing changed")):
        lines[title] = [(size, 1e6 * found["wall"] / size) for size in sizes(records)
                        if (found := best(records, work="docs5", size=size, who="pipe", phase=phase))]
    lines["walk and statx"] = [(size, 1e6 * found["wall"] / size) for size in sizes(records)
                               if (found := best(records, work="docs5", size=size, who="walk", phase="statx"))]
    return {title: points for title, points in lines.items() if points}
