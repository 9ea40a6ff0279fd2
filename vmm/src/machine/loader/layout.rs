//! Where in guest memory a kernel finds what it is started with.
//!
//! ```text
//! 0x0000_0000  first page: kept empty, so that a kernel's null pointers hit nothing
//! 0x0000_6000  start info, and the list of modules behind it    (EBX points here)
//! 0x0000_7000  memory map
//! 0x0000_8000  command line
//! 0x0000_c000  end of what the loader writes
//! 0x0009_fc00  end of low memory; up to 1 MiB no memory is promised, as on a PC
//! 0x0010_0000  the rest of memory: the kernel, and the module in the highest pages below 3 GiB
//! ```

use abi::layout::PAGE_SIZE;

use crate::host::memory::{HOLE_END, HOLE_START, MAX_MIB};

pub(super) const START_INFO: u64 = 0x6000;
pub(super) const MODULE_LIST: u64 = 0x6040;
pub(super) const MEMORY_MAP: u64 = 0x7000;
pub(super) const COMMAND_LINE: u64 = 0x8000;
pub(super) const OURS_END: u64 = 0xc000;
pub(super) const LOW_END: u64 = 0x9_fc00;
pub(super) const HIGH_START: u64 = 0x10_0000;

/// Returns why a kernel cannot have a segment at these addresses, whatever the memory size.
pub(super) fn forbidden(start: u64, end: u64) -> Option<&'static str> {
    let meets = |from: u64, to: u64| start < to && from < end;
    let top = HOLE_END + (u64::from(MAX_MIB) << 20) - HOLE_START;
    if meets(0, PAGE_SIZE) {
        Some("but the first page of memory is kept empty")
    } else if meets(START_INFO, OURS_END) {
        Some("but the start info, memory map and command line stand at 0x6000 to 0xc000")
    } else if meets(LOW_END, HIGH_START) {
        Some("but there is no memory from 0x9fc00 to 0x100000")
    } else if meets(HOLE_START, HOLE_END) {
        Some("but there is no memory from 3 GiB to 4 GiB")
    } else if end > top {
        Some("but no guest has memory there")
    } else {
        None
    }
}
