"""The same scenario with other labels: python3 scripts/rates/labels.py CHANGE SCENARIO ARCHITECT OUT.toml

  names   all programs have other names and other numbers: OUT.architect is the command with the table of programs of its
          image's boot module (abi/src/module.rs) shuffled and renamed, and OUT.toml names them so
  order   the last [[program]] is started first
  pids    before all others a program is started that goes home at once, so that everybody has another process id, and
          the first who comes later gets a place that was somebody's before. One, since several delay everybody's first turn
          beyond what the monitor has patience for, and that is more than a label
"""

import codecs
import pathlib
import re
import struct
import sys

# A boot module: a header, then a table of programs whose names come first; all of it in the first page.
MAGIC, COUNT_AT, HEADER, ENTRY, NAME, MOST = b"MATRIXMD", 12, 32, 64, 16, 60
# A hog that has enough when it has nothing.
FORERUNNER = '[[program]] # goes home at once\nprogram = "hog"\nargument = 0\npriority = 1\n\n'


def other(name):
    """Another name of the same length."""
    return codecs.encode(name, "rot13")


def table(image):
    """The table of programs in a kernel image, a program each."""
    for found in re.finditer(MAGIC, image):
        (count,) = struct.unpack_from("<I", image, found.start() + COUNT_AT)
        programs = [image[found.start() + HEADER + n * ENTRY :][:ENTRY] for n in range(min(count, MOST))]
        if programs and all(re.match(rb"[a-z0-9-]+\0", program) for program in programs):
            return programs
    raise SystemExit("labels: matrix.elf beside the command has no boot module")


def relabelled(command):
    """The command with other labels in its image, and the programs' own names."""
    programs = table(command.with_name("matrix.elf").read_bytes())
    names = [program[:NAME].rstrip(b"\0").decode() for program in programs]
    shuffled = list(zip(names, programs))
    shuffled = shuffled[1::2] + shuffled[::2][::-1]
    renamed = [other(name).encode().ljust(NAME, b"\0") + program[NAME:] for name, program in shuffled]
    everything = command.read_bytes()
    # In the image, and in the command's own list, by which it refuses a scenario with a name that is in no image.
    listed = ",".join(names)
    for old, new in ((b"".join(programs), b"".join(renamed)), (listed.encode(), other(listed).encode())):
        if old not in everything or len(old) != len(new):
            raise SystemExit(f"labels: {command} was not built with the matrix.elf beside it")
        everything = everything.replace(old, new)
    return everything, names


def renamed(text, names):
    """Where programs are started, and where one is told of another."""
    new = lambda match: f'{match[1]}"{other(match[2])}"' if match[2] in names else match[0]
    return re.sub(r'^((?:program|argument) = )"([^"]*)"', new, text, flags=re.M)


def blocks(text):
    """What stands before the programs; each program, with what follows up to the next; the rest of the file."""
    start = text.index("[[program]]")
    programs, rest = re.match(r"((?:\[\[program\]\].*?(?=\n\[|\Z)\n*)+)(.*)", text[start:], re.S).groups()
    return text[:start], [block.rstrip() + "\n\n" for block in re.split(r"(?=^\[\[program\]\])", programs, flags=re.M) if block], rest


def main(change, scenario, command, out):
    out = pathlib.Path(out)
    text = pathlib.Path(scenario).read_text()
    before, programs, rest = blocks(text)
    if change == "names":
        everything, names = relabelled(pathlib.Path(command))
        text = renamed(text, names)
        out.with_suffix(".architect").write_bytes(everything)
        out.with_suffix(".architect").chmod(0o755)
    elif change == "order":
        text = before + "".join(reversed(programs)) + rest
    elif change == "pids":
        text = before + FORERUNNER + "".join(programs) + rest
    else:
        raise SystemExit(f"labels: names, order or pids, not {change}")
    out.write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
