"""Pictures of campaigns. Plain SVG from here, so that nothing need be installed; it has its own colours for light and
dark pages."""

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


def text(x, y, words, anchor="start", kind=""):
    return f'<text {kind}x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(str(words))}</text>'


def line(kind, x1, y1, x2, y2):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def columns(count):
    """The middle of each campaign's column, and its width."""
    step = (WIDTH - LEFT - RIGHT) / max(count, 1)
    return [LEFT + step * (n + 0.5) for n in range(count)], step


def rates(beat, campaigns):
    """The rate of a beat in each campaign, with its interval."""
    floor = HEIGHT - BOTTOM
    y = lambda rate: floor - rate * (floor - TOP)
    parts = []
    for tenth in range(0, 11, 2):
        at = y(tenth / 10)
        parts += [line("grid", LEFT, at, WIDTH - RIGHT, at), text(LEFT - 8, at + 4, f"{tenth * 10} %", "end")]
    parts.append(line("axis", LEFT, floor, WIDTH - RIGHT, floor))
    for x, campaign in zip(columns(len(campaigns))[0], campaigns):
        rate = campaign.reached(beat)
        parts.append(line("mark", x, y(rate.low), x, y(rate.high)))
        parts += [line("mark", x - 6, y(end), x + 6, y(end)) for end in (rate.low, rate.high)]
        parts.append(f'<circle class="mark" cx="{x:.1f}" cy="{y(rate.rate):.1f}" r="4"/>')
        parts.append(text(x, floor + 20, campaign.name, "middle"))
    parts.append(text(LEFT, HEIGHT - 12, "from light to heavy load; bars: 95 % intervals"))
    return picture(HEIGHT, f"Runs that reach the beat {beat}", parts)


def numbers(campaigns):
    """How many runs of each campaign reach how many beats: a row for each number, the darker the more."""
    reached = [campaign.beats_reached() for campaign in campaigns]
    most = max((number for counts in reached for number in counts), default=0)
    row, top = 22, TOP + 4
    height = top + row * (most + 1) + BOTTOM
    middles, step = columns(len(campaigns))
    place = lambda number: top + row * (most - number)
    parts = [text(LEFT - 8, place(number) + 15, number, "end") for number in range(most + 1)]
    for x, campaign, counts in zip(middles, campaigns, reached):
        parts.append(text(x, height - BOTTOM + 18, campaign.name, "middle"))
        for number, runs in counts.items():
            share = 0.12 + 0.88 * runs / len(campaign.rows)
            parts.append(
                f'<rect class="heat" fill-opacity="{share:.2f}" x="{x - step * 0.45:.1f}" y="{place(number)}" width="{step * 0.9:.1f}" height="{row - 2}"/>'
            )
            parts.append(text(x, place(number) + 14, runs, "middle", 'class="count" '))
    parts.append(text(LEFT, height - 12, "runs that reach so many of the 16 beats, from light to heavy load"))
    return picture(height, "How many beats a run reaches", parts)


def histogram(campaign):
    """How many runs reach how many beats: a bar for each number."""
    counts = campaign.beats_reached()
    tallest = max(counts.values(), default=1)
    floor = HEIGHT - BOTTOM
    middles, step = columns(len(campaign.beats()) + 1)
    parts = []
    for number, x in enumerate(middles):
        high = (floor - TOP - 20) * counts[number] / tallest
        parts.append(text(x, floor + 18, number, "middle"))
        if counts[number]:
            parts.append(f'<rect class="heat" x="{x - step * 0.4:.1f}" y="{floor - high:.1f}" width="{step * 0.8:.1f}" height="{high:.1f}"/>')
            parts.append(text(x, floor - high - 5, counts[number], "middle", 'class="count" '))
    parts.append(line("axis", LEFT, floor, WIDTH - RIGHT, floor))
    parts.append(text(LEFT, HEIGHT - 12, f"beats reached, of {len(campaign.beats())}; above each bar the number of runs"))
    return picture(HEIGHT, f"How many beats a run reaches: {len(campaign.rows)} seeds of {campaign.name}", parts)


def beats(campaign):
    """How often each beat is reached, with its interval."""
    row, left, names = 22, 180, campaign.beats()
    height = TOP + row * len(names) + BOTTOM
    x = lambda rate: left + rate * (WIDTH - RIGHT - left)
    floor = height - BOTTOM
    parts = []
    for tenth in range(0, 11, 2):
        at = x(tenth / 10)
        parts += [line("grid", at, TOP, at, floor), text(at, floor + 18, f"{tenth * 10} %", "middle")]
    for nth, beat in enumerate(names):
        at, rate = TOP + row * nth + row / 2, campaign.reached(beat)
        parts += [text(left - 12, at + 4, beat, "end"), line("mark", x(rate.low), at, x(rate.high), at)]
        parts += [line("mark", x(end), at - 5, x(end), at + 5) for end in (rate.low, rate.high)]
        parts.append(f'<circle class="mark" cx="{x(rate.rate):.1f}" cy="{at:.1f}" r="3.5"/>')
    parts.append(text(left, height - 12, "rate, with 95 % intervals"))
    return picture(height, f"How often each beat is reached: {len(campaign.rows)} seeds of {campaign.name}", parts)
