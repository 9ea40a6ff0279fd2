"""What scripts/fixes tells of single fixes: python3 scripts/rates/fixes.py DIR BEAT NAME...

Reads DIR/NAME.csv of each fix; writes fixes.md into DIR.
"""

import pathlib
import sys

import tables
from campaigns import Campaign, exactness


def main(folder, beat, *names):
    folder = pathlib.Path(folder)
    fixes = [Campaign.read(name, folder / name) for name in names]
    tables.write(folder / "fixes.md", tables.rates(beat, fixes), tables.beats(fixes), tables.numbers(fixes), exactness(fixes))


if __name__ == "__main__":
    main(*sys.argv[1:])
