"""The figures as a picture: a panel a size, a row a phase, a bar a tool, wall seconds on a logarithmic axis."""
import math

from suite.report import PHASES, best

COLOURS = {"pipe": "#0b6e99", "script": "#8a8a8a", "ninja": "#d98032", "ninja-c": "#e9b98a", "snakemake": "#7a9e59"}
LEFT, WIDTH, BAR, GAP = 130, 620, 13, 12
LOW, HIGH = 0.005, 1000


def _x(seconds: float) -> float:
    span = math.log10(HIGH / LOW)
    return LEFT + WIDTH * max(0.0, math.log10(max(seconds, LOW) / LOW)) / span


def _seconds(value: float) -> str:
    if value < 1:
        return f"{1e3 * value:.0f} ms"
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def draw(records: list) -> str:
    parts, y = [], 30
    for size in sorted({record["size"] for record in records if record["work"] == "docs3"}):
        parts.append(f'<text x="10" y="{y}" class="h">{size:,} documents</text>')
        y += 14
        top = y
        for phase, title in PHASES.items():
            bars = [(name, found) for name in COLOURS
                    if (found := best(records, work="docs3", size=size, who=name, phase=phase))]
            if not bars:
                continue
            parts.append(f'<text x="{LEFT - 8}" y="{y + BAR * len(bars) / 2 + 4}" class="p">{title}</text>')
            for name, found in bars:
                end = _x(found["wall"])
                parts.append(f'<rect x="{LEFT}" y="{y}" width="{max(1.0, end - LEFT):.1f}" height="{BAR - 2}" '
                             f'fill="{COLOURS[name]}"/>'
                             f'<text x="{end + 5:.1f}" y="{y + BAR - 4}">{name} {_seconds(found["wall"])}</text>')
                y += BAR
            y += GAP
        walk = best(records, work="limit", who="walk", size=size)
        if walk:
            at = _x(walk["wall"])
            parts.append(f'<path d="M{at:.1f} {top}V{y - GAP}" class="w"/>'
                         f'<text x="{at + 3:.1f}" y="{y}" class="l">walk and stat, the least there is: {_seconds(walk["wall"])}</text>')
        y += 34
    ticks = []
    for power in range(-2, 4):
        at = _x(10**power)
        ticks.append(f'<path d="M{at:.1f} 36V{y - 18}" class="t"/>'
                     f'<text x="{at - 10:.1f}" y="{y - 4}">{_seconds(10**power)}</text>')
    style = ("text{font:11px sans-serif;fill:#333}.h{font-size:14px;font-weight:bold}.p{text-anchor:end}.l{fill:#b03030}"
             ".w{stroke:#b03030;stroke-dasharray:3 3}.t{stroke:#e4e4e4}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 130} {y + 10}" '
            f'width="{LEFT + WIDTH + 130}" role="img"><title>Wall time of docs3 by tool and phase</title>'
            f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>{"".join(ticks)}{"".join(parts)}</svg>\n')
