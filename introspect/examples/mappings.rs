//! Lists every mapping in a dump, one per line, for programs: `tests/differential` compares it with other
//! page walkers.
//!
//! Usage: `mappings DUMP ROOT...`, with hexadecimal roots. For each root it prints
//!
//! ```text
//! leaf VIRT FRAME BYTES RIGHTS      each leaf by rising address, in hexadecimal; rights as in `rw-u`
//! end ROOT LEAVES HOLES RESERVED    the walk's counts of leaves, of entries outside memory, of bad entries
//! ```
//!
//! It first prints a line `root ADDRESS` for each root found in the dump: those that share the kernel's half
//! with the root in the dump's notes.

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use introspect::x86::{Budget, Dump, Half, roots};
use introspect::{Frame, GuestPhys};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, roots @ ..] = &arguments[..] else { return Err("usage: mappings DUMP ROOT...".into()) };
    let dump = Dump::open(Path::new(path))?;
    let paging = dump.paging();
    let mut out = BufWriter::new(io::stdout().lock());
    let known = dump.root().ok_or("the dump does not say where a root of page tables is")?;
    let frames = dump.pieces().iter().flat_map(|piece| piece.start.div_ceil(4096)..piece.end / 4096);
    for root in roots::sharing(&dump, paging, frames.map(Frame), known).roots {
        writeln!(out, "root {:x}", root.at.0)?;
    }
    for root in roots {
        let root = GuestPhys(u64::from_str_radix(root, 16)?);
        let mut lines = Ok(());
        let summary = paging.walk(&dump, root, Half::Both, Budget::default(), &mut |leaf| {
            if lines.is_ok() {
                let (virt, frame, bytes) = (leaf.virt.0, leaf.frame.0, leaf.size.bytes());
                lines = writeln!(out, "leaf {virt:x} {frame:x} {bytes:x} {}", leaf.rights);
            }
        });
        lines?;
        if let Some(cut) = summary.truncated {
            return Err(format!("the walk of {root} was cut at {}", cut.at).into());
        }
        writeln!(out, "end {:x} {} {} {}", root.0, summary.leaves, summary.holes, summary.reserved)?;
    }
    Ok(out.flush()?)
}
