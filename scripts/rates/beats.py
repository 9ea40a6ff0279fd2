"""What scripts/beats tells: python3 scripts/rates/beats.py DIR SCENARIO [CHANGE]...

Reads DIR/SCENARIO.csv and, of the same seeds with other labels, DIR/CHANGE.csv; writes beats.md, beats.svg and
beats-histogram.svg into DIR, and changes.md where there are changes.
"""

import pathlib
import sys

import pictures
import tables
from campaigns import Campaign, exactness


def changes(own, others):
    """What the changes do to each beat: a table, and for each change a line."""
    said = []
    for other in others:
        same = sum(a["trace_hash"] == b["trace_hash"] for a, b in zip(own.rows, other.rows))
        apart = []
        for beat in own.beats():
            change, low, high = other.reached(beat).minus(own.reached(beat))
            if low > 0 or high < 0:
                apart.append(f"`{beat}` {change * 100:+.1f} % ({low * 100:+.1f} to {high * 100:+.1f})")
        said.append(
            f"- {other.name}: the same run, event by event, in {same} of {len(other.rows)}. Of {len(own.beats())} beats "
            + (f"these have another rate by 95 % intervals of the difference: {', '.join(apart)}." if apart else "none has another rate: each difference's 95 % interval has 0 in it.")
        )
    return tables.beats([own, *others]), said


def main(folder, scenario, *names):
    folder = pathlib.Path(folder)
    all_runs = Campaign.read(scenario, folder / scenario)
    (folder / "beats-histogram.svg").write_text(pictures.histogram(all_runs))
    (folder / "beats.svg").write_text(pictures.beats(all_runs))
    tables.write(
        folder / "beats.md",
        ["![How many beats a run reaches](beats-histogram.svg)"],
        tables.numbers([all_runs]),
        ["![How often each beat is reached](beats.svg)"],
        tables.beats([all_runs]),
        exactness([all_runs]),
    )
    others = [Campaign.read(name, folder / name) for name in names]
    if others:
        own = all_runs.first(min(len(other.rows) for other in others))
        compared, said = changes(own, others)
        tables.write(folder / "changes.md", compared, said, tables.numbers([own, *others]), exactness(others))


if __name__ == "__main__":
    main(*sys.argv[1:])
