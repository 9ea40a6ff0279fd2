"""A stock Linux guest under QEMU's software emulation, stopped and dumped while its processes stand still."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
echo 8 >/proc/sys/vm/nr_hugepages
cd /sys/kernel/mm/transparent_hugepage
echo madvise >enabled
echo 100000000 >khugepaged/scan_sleep_millisecs
/bin/busybox sleep 100000 &
/bin/busybox cat /dev/ttyS0 &
/bin/busybox sh -c '/bin/busybox sleep 100000; true' &
/bin/busybox stty -F /dev/ttyS1 raw
exec /teller >/dev/ttyS1
"""

# Seconds until the guest has reported everything: a few on an idle machine.
LIMIT = 300


class GuestError(Exception):
    pass


def initrd(folder: Path, teller: Path, busybox: Path) -> Path:
    """The initial RAM disk: busybox, the teller, and the script that starts them."""
    tree = folder / "initrd.d"
    for name in ["bin", "proc", "sys", "dev"]:
        (tree / name).mkdir(parents=True)
    (tree / "init").write_text(INIT)
    (tree / "teller").write_bytes(teller.read_bytes())
    (tree / "bin/busybox").write_bytes(busybox.read_bytes())
    for name in ["init", "teller", "bin/busybox"]:
        (tree / name).chmod(0o755)
    names = "".join(f"{path.relative_to(tree)}\n" for path in sorted(tree.rglob("*")))
    packed = folder / "initrd"
    with packed.open("wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names.encode(), stdout=out, check=True)
    return packed


class Monitor:
    """QEMU's own monitor, spoken to in QMP."""

    def __init__(self, path: Path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("r")
        self.lines.readline()  # the greeting
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        for line in self.lines:
            answer = json.loads(line)
            if "error" in answer:
                raise GuestError(f"QEMU refuses {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise GuestError(f"QEMU ended during {command}")


def dump(folder: Path, kernel: Path, packed: Path, cpu: str) -> tuple[Path, str]:
    """Boots the guest with this processor; returns the dump and the teller's report."""
    told, console, control, core = (folder / name for name in ["told", "console", "control", "core"])
    told.touch()
    emulator = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", cpu, "-m", "256", "-nodefaults", "-no-reboot"]
        + ["-display", "none", "-kernel", kernel, "-initrd", packed]
        + ["-append", "console=ttyS0 quiet panic=-1", "-serial", f"file:{console}", "-serial", f"file:{told}"]
        + ["-qmp", f"unix:{control},server=on,wait=off"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "emulator.log").open("w"),
    )
    try:
        end = time.monotonic() + LIMIT
        while not told.read_text().endswith("told\n"):
            if emulator.poll() is not None or time.monotonic() > end:
                words = console.read_text(errors="replace") if console.exists() else ""
                words += (folder / "emulator.log").read_text()
                raise GuestError(f"the Linux guest did not come to its end; its last words:\n{words[-2000:]}")
            time.sleep(0.1)
        monitor = Monitor(control)
        monitor.ask("stop")
        monitor.ask("dump-guest-memory", paging=False, protocol=f"file:{core}")
        return core, told.read_text()
    finally:
        emulator.kill()
        emulator.wait()
