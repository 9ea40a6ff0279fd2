"""What scripts/sweep tells: python3 scripts/rates/sweep.py DIR BEAT NAME...

Reads DIR/NAME.csv of each level of load, from light to heavy; writes sweep.md, sweep.svg and sweep-beats.svg into DIR.
"""

import pathlib
import sys

import pictures
import tables
from campaigns import Campaign, exactness


def main(folder, beat, *names):
    folder = pathlib.Path(folder)
    levels = [Campaign.read(name, folder / name) for name in names]
    (folder / "sweep.svg").write_text(pictures.rates(beat, levels))
    (folder / "sweep-beats.svg").write_text(pictures.numbers(levels))
    tables.write(
        folder / "sweep.md",
        [f"![Runs with the beat {beat}, by load](sweep.svg)"],
        tables.rates(beat, levels),
        ["![How many beats a run reaches, by load](sweep-beats.svg)"],
        tables.numbers(levels),
        exactness(levels),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
