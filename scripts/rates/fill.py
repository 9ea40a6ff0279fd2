"""Puts what the scripts have told into documents: python3 scripts/rates/fill.py DOCUMENT...

What stands between <!-- from out/sweep/sweep.md --> and <!-- end --> becomes that file, and the pictures that it shows
go to docs/pictures. What has not been made is left as it is.
"""

import os
import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"


def told(source, document):
    """The file, with its pictures where the document finds them."""

    def moved(match):
        PICTURES.mkdir(exist_ok=True)
        shutil.copy(source.parent / match[2], PICTURES)
        return f"![{match[1]}]({os.path.relpath(PICTURES / match[2], document.parent)})"

    return re.sub(r"!\[(.*?)\]\((.*?)\)", moved, source.read_text())


def main(*documents):
    for document in map(pathlib.Path.resolve, map(pathlib.Path, documents)):

        def filled(match):
            source = ROOT / match[2]
            if not source.exists():
                print(f"{document.name}: there is no {match[2]} yet", file=sys.stderr)
                return match[0]
            return f"{match[1]}\n\n{told(source, document)}\n<!-- end -->"

        document.write_text(re.sub(r"(<!-- from (\S+) -->)\n.*?<!-- end -->", filled, document.read_text(), flags=re.S))


if __name__ == "__main__":
    main(*sys.argv[1:])
