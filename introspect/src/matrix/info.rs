//! Finds the Matrix's info block, and describes the Matrix in cores.

use abi::GuestPhys;
use abi::info::{INFO_MAGIC, VERSION};
use abi::layout::KERNEL_BASE;

use super::guest::Guest;
use crate::x86::dump::{Dump, VmCoreInfo};

/// The key of the info block's address in VMCOREINFO.
const INFO: &str = "MATRIX_INFO";

/// Finds the info block ([`abi::info::Info`]) in a dump: at the address in VMCOREINFO, otherwise in the first
/// page of the file that begins with its magic number and from which the guest's tables can be read. Only the
/// latter scans all pages.
pub fn find_info<B: AsRef<[u8]>>(dump: &Dump<B>) -> Option<GuestPhys> {
    const MAGIC: [u8; 8] = INFO_MAGIC.to_le_bytes();
    let scan = || {
        let pages = dump.frames().map(|frame| frame.base());
        let mut likely = pages.filter(|at| dump.slice(*at, 8) == Some(&MAGIC));
        likely.find(|at| Guest::read(dump, *at).is_ok())
    };
    noted_info(dump.vmcoreinfo()).or_else(scan)
}

/// Returns the address of the info block in VMCOREINFO.
pub fn noted_info(note: &VmCoreInfo) -> Option<GuestPhys> {
    note.number(INFO).map(GuestPhys)
}

/// Returns the VMCOREINFO of a core of the Matrix: `root` is the root of the kernel's page tables, `cr3` the
/// root in use.
pub fn describe(
    root: GuestPhys,
    cr3: GuestPhys,
    five_levels: bool,
    info: GuestPhys,
    image_sha256: Option<&str>,
) -> VmCoreInfo {
    let mut note = VmCoreInfo::describe(&format!("matrix-{VERSION}"), root, cr3, five_levels);
    note.push("KERNEL_BASE", format!("{KERNEL_BASE:#x}"));
    note.push(INFO, info);
    if let Some(sha256) = image_sha256 {
        note.push("IMAGE_SHA256", sha256);
    }
    note
}
