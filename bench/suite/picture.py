"""The figures as a picture: a panel a size, a row a phase, a bar a tool, wall seconds on a logarithmic axis."""
import math

from suite.report import PHASES, best

COLOURS = {"pipe": "#0b6e99", "pipe-tree": "#5aa9c4", "script": "#8a8a8a", "ninja": "#d98032", "ninja-c": "#e9b98a", "snakemake": "#7a9e59"}
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


LINES = ("#0b6e99", "#d98032", "#7a9e59", "#8a5fa8", "#333", "#b03030")


def against_size(curves: dict) -> str:
    """Microseconds a document against the number of documents, both logarithmic: a flat line costs the same for each."""
    left, top, width, height = 70, 30, 520, 360
    points = [point for line in curves.values() for point in line]
    sizes = [size for size, _ in points]
    low, high = math.log10(min(sizes)), max(math.log10(max(sizes)), math.log10(min(sizes)) + 1)
    bottom = math.floor(math.log10(min(cost for _, cost in points)))
    ceiling = max(math.ceil(math.log10(max(cost for _, cost in points))), bottom + 1)

    def x(size):
        return left + width * (math.log10(size) - low) / (high - low)

    def y(cost):
        return top + height * (ceiling - math.log10(cost)) / (ceiling - bottom)

    parts = []
    for power in range(bottom, ceiling + 1):
        at, value = y(10**power), 10**power
        name = f"{value / 1e3:g} ms" if value >= 1000 else f"{value:g} µs"
        parts.append(f'<path d="M{left} {at:.1f}H{left + width}" class="t"/>'
                     f'<text x="{left - 8}" y="{at + 4:.1f}" class="p">{name}</text>')
    for size in sorted(set(sizes)):
        parts.append(f'<text x="{x(size):.1f}" y="{top + height + 18}" class="c">{size:,}</text>')
    labels: list = []
    for (title, line), colour in zip(curves.items(), LINES):
        path = "L".join(f"{x(size):.1f} {y(cost):.1f}" for size, cost in line)
        dashed = ' stroke-dasharray="3 3"' if title.startswith("walk") else ""
        dots = "".join(f'<circle cx="{x(size):.1f}" cy="{y(cost):.1f}" r="2.5" fill="{colour}"/>' for size, cost in line)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dashed}/>{dots}')
        labels.append([y(line[-1][1]) + 4, f'{title} {line[-1][1]:.3g} µs', colour])
    labels.sort()
    for before, label in zip(labels, labels[1:]):
        label[0] = max(label[0], before[0] + 13)        # one below the other
    parts += [f'<text x="{left + width + 8}" y="{at:.1f}" style="fill:{colour}">{text}</text>' for at, text, colour in labels]
    style = "text{font:11px sans-serif;fill:#333}.p{text-anchor:end}.c{text-anchor:middle}.t{stroke:#e4e4e4}"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 190} {top + height + 30}" '
            f'width="{left + width + 190}" role="img"><title>Wall time of a document by number of documents, docs5</title>'
            f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n')
