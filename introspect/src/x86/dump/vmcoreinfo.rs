//! The note `VMCOREINFO`: lines of `KEY=VALUE` in which a kernel, or the program that dumps it, describes the
//! dump to readers.
//!
//! Linux's keys are documented in its `Documentation/admin-guide/kdump/vmcoreinfo.rst`. The cores that this
//! crate writes have the keys that readers need (drgn does not open a dump of a machine without the first
//! four), with the same meaning, and a few more:
//!
//! | Key | Value |
//! |---|---|
//! | `OSRELEASE` | names the kernel; `unknown` if it publishes no name |
//! | `PAGESIZE` | 4096 |
//! | `SYMBOL(swapper_pg_dir)`, `SYMBOL(init_top_pgt)` | virtual address of the kernel's root, hexadecimal |
//! | `NUMBER(phys_base)`, `KERNELOFFSET`, `NUMBER(pgtable_l5_enabled)` | as in Linux |
//! | `CR3` | the root in use, guest-physical |

use std::fmt::Display;

use address::GuestPhys;
use address::PAGE_SIZE;

/// The address of the image of x86-64 kernels: 2 GiB below the end of the address space (System V psABI,
/// kernel code model).
const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// The name of the note's owner. Its type is 0.
pub(super) const OWNER: &str = "VMCOREINFO";

/// The lines of the note.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VmCoreInfo(Vec<(String, String)>);

impl VmCoreInfo {
    /// Largest number of lines that are kept; Linux has about a hundred.
    const MOST_LINES: usize = 4096;

    /// Returns the lines that readers need to open a core. `release` names the kernel, `root` is the root of
    /// its page tables, `cr3` the root in use.
    pub fn describe(release: &str, root: GuestPhys, cr3: GuestPhys, five_levels: bool) -> Self {
        let virt = format!("{:x}", KERNEL_BASE.wrapping_add(root.0));
        let mut lines = Self::default();
        lines.push("OSRELEASE", release);
        lines.push("PAGESIZE", PAGE_SIZE);
        lines.push("SYMBOL(swapper_pg_dir)", &virt);
        lines.push("SYMBOL(init_top_pgt)", &virt);
        lines.push("NUMBER(phys_base)", 0);
        lines.push("KERNELOFFSET", 0);
        lines.push("NUMBER(pgtable_l5_enabled)", u8::from(five_levels));
        lines.push("CR3", cr3);
        lines
    }

    /// Adds a line.
    pub fn push(&mut self, key: &str, value: impl Display) {
        self.0.push((key.to_owned(), format!("{value}")));
    }

    /// Parses the text of the note. Lines without `=` and lines that are not text are left out.
    pub fn parse(note: &[u8]) -> Self {
        let lines = note.split(|byte| *byte == b'\n' || *byte == 0);
        let pairs = lines.filter_map(|line| std::str::from_utf8(line).ok()?.split_once('='));
        let pairs = pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
        Self(pairs.take(Self::MOST_LINES).collect())
    }

    /// Returns the text of the note.
    pub fn to_text(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    /// Returns whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(of, _)| of == key).map(|(_, value)| value.as_str())
    }

    /// Returns the address of a symbol, which Linux writes in hexadecimal without a prefix.
    pub fn symbol(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(self.get(&format!("SYMBOL({name})"))?, 16).ok()
    }

    /// Returns a number: hexadecimal with `0x`, otherwise decimal. A negative number becomes its two's
    /// complement.
    pub fn number(&self, key: &str) -> Option<u64> {
        let text = self.get(key)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok().or_else(|| Some(text.parse::<i64>().ok()? as u64)),
        }
    }

    /// Returns the guest-physical address of the kernel's root: its symbol, translated from Linux's image
    /// mapping by `phys_base`. `None` if the processor had no page tables, which
    /// [`CoreWriter`](super::CoreWriter) writes as a root at 0.
    pub fn root(&self) -> Option<GuestPhys> {
        let virt = self.symbol("init_top_pgt").or_else(|| self.symbol("swapper_pg_dir"))?;
        let base = self.number("NUMBER(phys_base)").unwrap_or(0);
        let root = virt.wrapping_sub(KERNEL_BASE).wrapping_add(base);
        (root != 0 && root < 1 << 52).then_some(GuestPhys(root))
    }

    /// Returns whether the kernel's page tables have five levels; `None` if the note does not say.
    pub fn five_levels(&self) -> Option<bool> {
        self.number("NUMBER(pgtable_l5_enabled)").map(|number| number != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_say_is_what_we_read() {
        let (root, cr3) = (GuestPhys(0x10_1000), GuestPhys(0x1f_c000));
        let mut written = VmCoreInfo::describe("mine", root, cr3, false);
        written.push("IMAGE_SHA256", "00ff");
        let read = VmCoreInfo::parse(written.to_text().as_bytes());
        assert_eq!(read, written);
        assert_eq!((read.root(), read.get("OSRELEASE")), (Some(root), Some("mine")));
        assert_eq!((read.number("CR3"), read.five_levels()), (Some(cr3.0), Some(false)));
        assert_eq!((read.get("IMAGE_SHA256"), read.get("PAGESIZE")), (Some("00ff"), Some("4096")));
    }

    #[test]
    fn the_root_of_a_kernel_that_was_moved_is_found() {
        let text = "OSRELEASE=6.1.0\nSYMBOL(init_top_pgt)=ffffffffa2810000\nNUMBER(phys_base)=-553648128\n\
                    KERNELOFFSET=21000000\nNUMBER(pgtable_l5_enabled)=1\n";
        let info = VmCoreInfo::parse(text.as_bytes());
        assert_eq!(info.root(), Some(GuestPhys(0x2281_0000 - 0x2100_0000)));
        assert_eq!(info.five_levels(), Some(true));
    }

    #[test]
    fn nonsense_is_left_out() {
        let info = VmCoreInfo::parse(b"\xff\xfe=1\nno value\n=\nCR3=much\nSYMBOL(init_top_pgt)=xyz\n\0\0\0");
        assert_eq!(info.get(""), Some(""));
        assert_eq!((info.number("CR3"), info.root(), info.get("no value")), (None, None, None));
        assert!(VmCoreInfo::parse(b"").is_empty());
    }
}
