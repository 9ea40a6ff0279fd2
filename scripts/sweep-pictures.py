"""Table and pictures of scripts/sweep: python3 scripts/sweep-pictures.py DIR BEAT NAME=STATS.json...

Reads what `architect stats --json` says of each level, and writes sweep.md, sweep.svg and beats.svg into DIR. Plain
SVG from here, so that nothing need be installed; it has its own colours for light and dark pages.
"""

import json
import pathlib
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 40, 60
STYLE = """<style>
text { font: 13px sans-serif; fill: #222 } .title { font-weight: bold; font-size: 14px }
.axis { stroke: #888 } .grid { stroke: #8883 } .mark { stroke: #b3261e; fill: #b3261e }
.heat { fill: #b3261e } .count { font-size: 11px } .paper { fill: #fff }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .paper { fill: #1c1c1c } .mark { stroke: #ff8a80; fill: #ff8a80 }
.heat { fill: #ff8a80 } }
</style>"""


def picture(height, title, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    paper = f'<rect class="paper" width="{WIDTH}" height="{height}"/><text class="title" x="{LEFT}" y="24">{escape(title)}</text>'
    return "\n".join([head, STYLE, paper, *parts, "</svg>\n"])


def columns(count):
    """The middle of each level's column."""
    step = (WIDTH - LEFT - RIGHT) / count
    return [LEFT + step * (n + 0.5) for n in range(count)], step


def rates(beat, levels):
    """The rate at each level, with its interval."""
    floor = HEIGHT - BOTTOM
    y = lambda rate: floor - rate * (floor - TOP)
    parts = []
    for percent in range(0, 101, 20):
        at = y(percent / 100)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{percent} %</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>')
    middles, _ = columns(len(levels))
    for x, (name, _, rate) in zip(middles, levels):
        low, high = y(rate["low"]), y(rate["high"])
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>')
        for end in (low, high):
            parts.append(f'<line class="mark" x1="{x - 6:.1f}" x2="{x + 6:.1f}" y1="{end:.1f}" y2="{end:.1f}"/>')
        parts.append(f'<circle class="mark" cx="{x:.1f}" cy="{y(rate["rate"]):.1f}" r="4"/>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 20}" text-anchor="middle">{escape(name)}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 12}">level of load, from light to heavy; bars: 95 % intervals</text>')
    return picture(HEIGHT, f"Runs that reach the beat {beat}", parts)


def beats(levels):
    """How many runs of each level reach how many beats: a row for each number, the darker the more."""
    most = max((n for _, stats, _ in levels for n, runs in enumerate(stats["beats_reached"]) if runs), default=0)
    row, top = 22, TOP + 4
    height = top + row * (most + 1) + BOTTOM
    parts = []
    middles, step = columns(len(levels))
    for number in range(most + 1):
        at = top + row * (most - number)
        parts.append(f'<text x="{LEFT - 8}" y="{at + 15}" text-anchor="end">{number}</text>')
        for x, (_, stats, _) in zip(middles, levels):
            runs, of = stats["beats_reached"][number], max(stats["runs"], 1)
            if runs:
                share = 0.12 + 0.88 * runs / of
                parts.append(
                    f'<rect class="heat" fill-opacity="{share:.2f}" x="{x - step * 0.45:.1f}" y="{at}" width="{step * 0.9:.1f}" height="{row - 2}"/>'
                    f'<text class="count" x="{x:.1f}" y="{at + 14}" text-anchor="middle">{runs}</text>'
                )
    for x, (name, _, _) in zip(middles, levels):
        parts.append(f'<text x="{x:.1f}" y="{height - BOTTOM + 18}" text-anchor="middle">{escape(name)}</text>')
    parts.append(f'<text x="{LEFT}" y="{height - 12}">runs that reach so many of the 16 beats, at each level of load</text>')
    return picture(height, "How many beats a run reaches", parts)


def table(beat, levels):
    percent = lambda rate: f"{rate * 100:.1f} %"
    part = lambda value: "none there" if value is None else f"{value:.3f}"
    lines = [
        f"| level | runs | with `{beat}` | rate | 95 % interval | wrong sharings | precision | recall | restarts | kills |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, stats, rate in levels:
        leaks = stats["leaks"]
        lines.append(
            f"| {name} | {stats['runs']} | {rate['count']} | {percent(rate['rate'])} | {percent(rate['low'])} to {percent(rate['high'])} "
            f"| {leaks['actual']} | {part(leaks['precision'])} | {part(leaks['recall'])} | {stats['restarts']} | {stats['kills']} |"
        )
    lines += ["", "Runs by the number of beats that they reach:", ""]
    most = max((n for _, stats, _ in levels for n, runs in enumerate(stats["beats_reached"]) if runs), default=0)
    lines.append("| level | " + " | ".join(str(n) for n in range(most + 1)) + " |")
    lines.append("|---" * (most + 2) + "|")
    for name, stats, _ in levels:
        lines.append(f"| {name} | " + " | ".join(str(runs or "") for runs in stats["beats_reached"][: most + 1]) + " |")
    return "\n".join(lines) + "\n"


def wilson(count, of):
    """For a beat that no run reaches, which the stats leave out."""
    z = 1.959963984540054
    return {"count": count, "rate": 0.0, "low": 0.0, "high": z * z / (of + z * z) if of else 1.0}


def main(folder, beat, *named):
    levels = []
    for entry in named:
        name, path = entry.split("=", 1)
        stats = json.loads(pathlib.Path(path).read_text())["all"]
        levels.append((name, stats, stats["beats"].get(beat) or wilson(0, stats["runs"])))
    folder = pathlib.Path(folder)
    (folder / "sweep.md").write_text(table(beat, levels))
    (folder / "sweep.svg").write_text(rates(beat, levels))
    (folder / "beats.svg").write_text(beats(levels))


if __name__ == "__main__":
    main(*sys.argv[1:])
