"""Compares the page walk of the crate introspect with others, mapping by mapping, in both directions.

Called by cargo xtask differential, which makes what it needs. Arguments: the programs `mappings` and `architect`, an empty
folder, the Linux kernel, the program `teller`, busybox, and then cores of our own guests.

Three parties tell what each address is mapped to:

- ours: introspect, by its example `mappings`, and `architect inspect`, which must tell the same;
- Volatility 3, with its own reader of cores and its own walk (walker.py): all leaves, with size and rights;
- the Linux guest's kernel itself, by /proc/PID/pagemap (teller.c): the user pages of its processes.

The Linux guest is booted twice, with page tables of four and of five levels. The last line counts as that of `cargo
test` does.
"""

import json
import struct
import subprocess
import sys
import traceback
from itertools import zip_longest
from pathlib import Path

import guest
from walker import Dump, Leaf

PAGE = 4096


class Difference(Exception):
    pass


class Ours:
    """What introspect reports: the roots that it found, and leaves and counts for each requested root."""

    def __init__(self, program: Path, core: Path, roots: list[int]):
        self.roots, self.leaves, self.counts = [], {}, {}
        command = [program, core, *(f"{root:x}" for root in roots)]
        leaves: list[Leaf] = []
        for line in subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
            kind, *words = line.split()
            if kind == "root":
                self.roots.append(int(words[0], 16))
            elif kind == "leaf":
                leaves.append(Leaf(*(int(word, 16) for word in words[:3]), words[3]))
            else:
                root = int(words[0], 16)
                self.leaves[root], self.counts[root] = leaves, [int(word) for word in words[1:]]
                leaves = []


def inspected(architect: Path, core: Path, root: int) -> list[Leaf]:
    """The leaves that `architect inspect maps` reports; it joins adjacent ones into ranges."""
    command = [architect, "inspect", core, "maps", f"{root:#x}", "--json"]
    answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    leaves = []
    for entry in answer["mappings"]:
        letters = [("w", "write"), ("x", "execute"), ("u", "user")]
        rights = "r" + "".join(letter if entry["rights"][name] else "-" for letter, name in letters)
        virt, frame, size = int(entry["virtual"], 16), int(entry["frame"], 16), entry["page_bytes"]
        for at in range(0, entry["bytes"], size):
            leaves.append(Leaf(virt + at, frame + at // PAGE, size, rights))
    return leaves


def registers(core: Path) -> tuple[int, int]:
    """Root and number of levels from CR3 and CR4 in the core's note QEMU (struct QEMUCPUState of its arch_dump.c)."""
    with core.open("rb") as file:
        head = file.read(1 << 16)
    name = head.find(b"QEMU\0")
    if name < 0:
        raise Difference("the core has no note by the name of QEMU")
    cr3, cr4 = struct.unpack_from("<2Q", head, name + 8 + 392 + 3 * 8)
    return cr3 & ~0xFFF, 5 if cr4 >> 12 & 1 else 4


def first_difference(ours: list[Leaf], theirs: list[Leaf]) -> None:
    for mine, other in zip_longest(ours, theirs):
        if mine != other:
            raise Difference(f"ours: {mine or 'nothing more'}\n  other: {other or 'nothing more'}")


def is_upper(leaf: Leaf) -> bool:
    return leaf.virt >> 63 == 1


class Told:
    """What the guest's kernel reports of one process: each page's frame, with the permissions of its mapping."""

    def __init__(self):
        self.pages: dict[int, tuple[int, str]] = {}

    @staticmethod
    def read(text: str) -> dict[int, "Told"]:
        processes: dict[int, Told] = {}
        for line in text.splitlines():
            if line.startswith("page "):
                _, pid, virt, frame, count, permissions = line.split()
                pages = processes.setdefault(int(pid), Told()).pages
                for nth in range(int(count, 16)):
                    pages[int(virt, 16) + nth * PAGE] = (int(frame, 16) + nth, permissions)
        return processes

    def agreement(self, leaves: list[Leaf]) -> int:
        """How many pages these leaves have in common with the process: its own root is the one that has most."""
        pages = ((leaf.virt + nth * PAGE, leaf.frame + nth) for leaf in leaves for nth in range(leaf.size // PAGE))
        return sum(self.pages.get(virt, (None, ""))[0] == frame for virt, frame in pages)

    def compare(self, leaves: list[Leaf]) -> None:
        # Pages without any permission keep their frames, but their entries are not present.
        expected = {virt: page for virt, page in self.pages.items() if page[1][:3] != "---"}
        for leaf in leaves:
            for nth in range(leaf.size // PAGE):
                virt, frame = leaf.virt + nth * PAGE, leaf.frame + nth
                told, permissions = expected.pop(virt, (None, ""))
                if told is None:
                    raise Difference(f"ours: {leaf}\n  other: the guest's kernel maps nothing at {virt:#x}")
                if told != frame:
                    raise Difference(f"ours: {leaf}\n  other: at {virt:#x} the guest's kernel has frame {told:#x}")
                # A writable page can be read-only until the first write.
                write, execute = "w" in permissions, "x" in permissions
                if "u" not in leaf.rights or "w" in leaf.rights and not write or ("x" in leaf.rights) != execute:
                    raise Difference(f"ours: {leaf}\n  other: the guest's kernel allows {permissions}")
        for virt, (frame, permissions) in sorted(expected.items()):
            raise Difference(f"ours: nothing at {virt:#x}\n  other: the guest's kernel has {frame:#x} {permissions}")


class Checks:
    def __init__(self, mappings: Path, architect: Path, memflow: Path):
        self.mappings, self.architect, self.memflow = mappings, architect, memflow
        self.passed = self.failed = 0

    def check(self, name: str, run, *arguments):
        """Runs one check, which returns a description of what was compared."""
        try:
            said = run(*arguments)
            self.passed += 1
            print(f"test {name} ... ok ({said})", flush=True)
        except (Difference, guest.GuestError, subprocess.CalledProcessError) as error:
            self.failed += 1
            print(f"test {name} ... FAILED\n  {error}", flush=True)
        except Exception:
            self.failed += 1
            print(f"test {name} ... FAILED\n{traceback.format_exc()}", flush=True)

    def core(self, name: str, core: Path, levels: int, told: dict[int, Told]):
        """All checks of one core, each counted by itself. `told` is empty for a guest that does not tell."""
        dump = Dump(core)
        root, found_levels = registers(core)
        roots = dump.roots_like(root)
        ours = Ours(self.mappings, core, roots)

        def levels_are_right():
            if found_levels != levels:
                raise Difference(f"the guest has page tables of {found_levels} levels, wanted are {levels}")
            return f"{levels} levels"

        def same_roots():
            if ours.roots != roots:
                odd = sorted(set(ours.roots) ^ set(roots))
                raise Difference(f"found by one side only: {', '.join(hex(root) for root in odd)}")
            return f"{len(roots)} roots"

        def same_leaves(upper: bool):
            # All roots share one kernel half; another check verifies that.
            count = 0
            for at in roots[:1] if upper else roots:
                theirs = list(dump.leaves(at, levels, upper))
                present = [leaf for leaf in theirs if dump.holds(leaf)]
                holes[upper, at] = len(theirs) - len(present)
                mine = [leaf for leaf in ours.leaves[at] if is_upper(leaf) == upper]
                try:
                    first_difference(mine, present)
                except Difference as difference:
                    raise Difference(f"root {at:#x}\n  {difference}") from None
                count += len(present)
            return f"{count} leaves"

        def same_kernel_half():
            first = [leaf for leaf in ours.leaves[roots[0]] if is_upper(leaf)]
            for at in roots:
                first_difference([leaf for leaf in ours.leaves[at] if is_upper(leaf)], first)
                expected = holes[False, at] + holes[True, roots[0]]
                if ours.counts[at][1:] != [expected, 0]:
                    raise Difference(f"root {at:#x}: {ours.counts[at][1:]} holes and bad entries, not {expected} and 0")
            return f"{len(first)} leaves, {len(roots)} roots"

        def same_as_inspect():
            for at in roots:
                first_difference(inspected(self.architect, core, at), ours.leaves[at])
            return f"{len(roots)} roots"

        def same_as_memflow():
            run = subprocess.run([self.memflow, core], capture_output=True, text=True)
            if run.returncode != 0:
                raise Difference(run.stderr.strip())
            return run.stdout.strip()

        def of_every_kind():
            user = [leaf for at in roots for leaf in ours.leaves[at] if not is_upper(leaf)]
            kinds = {(leaf.size, leaf.rights) for leaf in user}
            wanted = {(PAGE, rights) for rights in ["r--u", "r-xu", "rw-u"]} | {(2 << 20, "r--u"), (2 << 20, "rw-u")}
            if not wanted <= kinds:
                raise Difference(f"there are no leaves of the kind {sorted(wanted - kinds)}")
            if levels == 5 and max(user).virt < 1 << 47:
                raise Difference("no address needs a fifth level")
            hidden = sum(page[1][:3] == "---" for process in told.values() for page in process.pages.values())
            if hidden == 0:
                raise Difference("no page has a frame and no permission")
            return f"{len(kinds)} kinds of leaves, {hidden} pages without permission"

        def process(pid: int):
            mine = {at: [leaf for leaf in ours.leaves[at] if not is_upper(leaf)] for at in roots}
            own = max(roots, key=lambda at: told[pid].agreement(mine[at]))
            if own in claimed:
                raise Difference(f"root {own:#x} is the nearest to this process, and that of process {claimed[own]}")
            claimed[own] = pid
            try:
                told[pid].compare(mine[own])
            except Difference as difference:
                raise Difference(f"root {own:#x}\n  {difference}") from None
            return f"root {own:#x}, {len(told[pid].pages)} pages"

        claimed: dict[int, int] = {}
        holes: dict[tuple[bool, int], int] = {}
        self.check(f"{name}: levels", levels_are_right)
        self.check(f"{name}: roots found in memory", same_roots)
        self.check(f"{name}: user halves", same_leaves, False)
        self.check(f"{name}: kernel half", same_leaves, True)
        self.check(f"{name}: the kernel half of all roots", same_kernel_half)
        self.check(f"{name}: architect inspect maps", same_as_inspect)
        if levels == 4:
            self.check(f"{name}: as memflow has it", same_as_memflow)
        if told:
            self.check(f"{name}: leaves of every kind", of_every_kind)
        for pid in sorted(told):
            self.check(f"{name}: process {pid} as its kernel tells", process, pid)
        return f"{core.stat().st_size >> 20} MiB"


def linux(checks: Checks, work: Path, kernel: Path, packed: Path, cpu: str, levels: int):
    folder = work / f"linux-{levels}"
    folder.mkdir()
    core, text = guest.dump(folder, kernel, packed, cpu)
    told = Told.read(text)
    if len(told) < 6:
        raise guest.GuestError(f"the Linux guest told of {len(told)} processes only")
    checks.core(f"linux, {levels} levels", core, levels, told)
    core.unlink()
    return f"{len(told)} processes told"


def main() -> int:
    mappings, architect, memflow, work, kernel, teller, busybox, *cores = map(Path, sys.argv[1:])
    checks = Checks(mappings, architect, memflow)
    for core in cores:
        checks.check(f"{core.stem}: opened", checks.core, core.stem, core, 4, {})
    packed = guest.initrd(work, teller, busybox)
    for cpu, levels in [("qemu64", 4), ("max", 5)]:
        checks.check(f"linux, {levels} levels: dumped", linux, checks, work, kernel, packed, cpu, levels)
    outcome = "ok" if checks.failed == 0 else "FAILED"
    print(f"\ntest result: {outcome}. {checks.passed} passed; {checks.failed} failed")
    return 1 if checks.failed else 0


sys.exit(main())
