"""The independent walker: Volatility 3's Intel32e layer over its own reading of the ELF core.

Volatility decides what is mapped. What is added here: a fifth level for processors that have it, and a record of the
entries that a translation goes through, since the layer does not tell what they allow.
"""

import functools
import struct
from pathlib import Path
from typing import Iterator, NamedTuple

from volatility3.framework import contexts, exceptions
from volatility3.framework.layers import elf, intel, physical

WRITE, USER, NO_EXECUTE = 1 << 1, 1 << 2, 1 << 63
ACCESSED_OR_DIRTY = 1 << 5 | 1 << 6


class Leaf(NamedTuple):
    """One leaf as both sides report it: first address and frame, bytes, and rights as `r`, `w`, `x`, `u` or `-`."""

    virt: int
    frame: int
    size: int
    rights: str

    def __str__(self):
        return f"{self.virt:#x} -> frame {self.frame:#x}, {self.size >> 10} KiB, {self.rights}"


class FourLevels(intel.Intel32e):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.entries = []

    def _page_is_valid(self, entry: int) -> bool:
        self.entries.append(entry)
        return super()._page_is_valid(entry)

    @functools.lru_cache(maxsize=1024)
    def _get_valid_table(self, base_address: int):
        # Volatility leaves out tables whose entries are all the same, to save time. They are mappings all the same.
        try:
            return self._context.layers.read(self._base_layer, base_address, self.page_size)
        except exceptions.InvalidAddressException:
            return None

    def leaf(self, address: int) -> Leaf:
        """The leaf that maps a canonical address. Raises PagedInvalidAddressException."""
        self.entries.clear()
        plain = address & self.address_mask
        phys, size, _ = self._translate(plain)
        allowed, forbidden = WRITE | USER, 0
        for entry in self.entries[1:]:  # the first is the root's own address
            allowed &= entry
            forbidden |= entry
        letters = [("w", allowed & WRITE), ("x", not forbidden & NO_EXECUTE), ("u", allowed & USER)]
        rights = "r" + "".join(letter if given else "-" for letter, given in letters)
        start = plain & (size - 1)
        return Leaf(address - start, (phys - start) >> 12, size, rights)


class FiveLevels(FourLevels):
    _maxvirtaddr = 57
    _structure = [("page map layer 5", 9, False)] + intel.Intel32e._structure


class Dump:
    """An ELF core that Volatility has opened."""

    def __init__(self, path: Path):
        self.context = contexts.Context()
        self.path = path
        self.context.config["file.location"] = path.absolute().as_uri()
        self.context.add_layer(physical.FileLayer(self.context, "file", "file"))
        self.context.config["memory.base_layer"] = "file"
        self.memory = elf.Elf64Layer(self.context, "memory", "memory")
        self.context.add_layer(self.memory)

    def segments(self) -> list[tuple[int, int]]:
        """The ranges of physical addresses that the core holds."""
        return [(start, length) for start, length, *_ in self.memory.mapping(0, 1 << 52, ignore_errors=True)]

    def table(self, phys: int) -> tuple[int, ...]:
        """512 entries, without the bits that the processor sets by itself."""
        entries = struct.unpack("<512Q", self.memory.read(phys, 4096))
        return tuple(entry & ~ACCESSED_OR_DIRTY for entry in entries)

    def roots_like(self, root: int) -> list[int]:
        """All frames whose upper half is that of this root."""
        kernel = self.table(root)[256:]
        place = next(256 + index for index, entry in enumerate(kernel) if entry)
        wanted = kernel[place - 256]
        found = []
        for start, length in self.segments():
            content = self.memory.read(start, length)
            for at in range(0, length - 4095, 4096):
                (entry,) = struct.unpack_from("<Q", content, at + place * 8)
                if entry & ~ACCESSED_OR_DIRTY == wanted and self.table(start + at)[256:] == kernel:
                    found.append(start + at)
        return found

    def layer(self, root: int, levels: int) -> FourLevels:
        name = f"space {root:#x}"
        self.context.config[f"{name}.memory_layer"] = "memory"
        self.context.config[f"{name}.page_map_offset"] = root
        kind = FiveLevels if levels == 5 else FourLevels
        return kind(self.context, name, name)

    def leaves(self, root: int, levels: int, upper: bool) -> Iterator[Leaf]:
        """Every leaf in one half of an address space, by rising address; those outside of memory too."""
        layer = self.layer(root, levels)
        bits = layer._maxvirtaddr - 1
        address, end = (2**64 - 2**bits, 2**64) if upper else (0, 2**bits)
        while address < end:
            try:
                leaf = layer.leaf(address)
                yield leaf
                address += leaf.size
            except exceptions.PagedInvalidAddressException as nothing:
                address = (address | (1 << nothing.invalid_bits) - 1) + 1

    def holds(self, leaf: Leaf) -> bool:
        """Whether the first frame of the leaf is memory."""
        return self.memory.is_valid(leaf.frame << 12, 4096)
