//! The dump: 512 MiB with eight address spaces, the same every time. Each space has a program that all share,
//! scattered libraries, a large heap in scattered frames, and the kernel's half, which ring 3 cannot use.

const MIB: u64 = 1 << 20;
/// Size of the dump in bytes.
pub const BYTES: u64 = 512 * MIB;
/// Number of address spaces.
pub const SPACES: usize = 8;

const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const TABLE: u64 = PRESENT | WRITE | USER;

/// A raw memory dump and the roots of its address spaces.
pub struct Dump {
    /// The bytes, from physical address 0.
    pub bytes: &'static [u8],
    /// Physical addresses of the roots.
    pub roots: [u64; SPACES],
}

struct Builder {
    bytes: Vec<u8>,
    /// Frames in the order of allocation.
    frames: Vec<u64>,
}

impl Builder {
    fn frame(&mut self) -> u64 {
        self.frames.pop().expect("the dump has frames to spare") << 12
    }

    fn word(&mut self, at: u64) -> &mut [u8; 8] {
        self.bytes[at as usize..].first_chunk_mut().expect("an address in the dump")
    }

    /// Returns the address of the entry of level `level` for a virtual address; creates the tables above it.
    fn entry(&mut self, root: u64, virt: u64, level: u32) -> u64 {
        let mut table = root;
        for above in (level + 1..=4).rev() {
            let at = table + (virt >> (12 + 9 * (above - 1)) & 511) * 8;
            if u64::from_le_bytes(*self.word(at)) == 0 {
                let new = self.frame() | TABLE;
                *self.word(at) = new.to_le_bytes();
            }
            table = u64::from_le_bytes(*self.word(at)) & 0xf_ffff_ffff_f000;
        }
        table + (virt >> (12 + 9 * (level - 1)) & 511) * 8
    }

    fn set(&mut self, root: u64, virt: u64, level: u32, value: u64) {
        let at = self.entry(root, virt, level);
        *self.word(at) = value.to_le_bytes();
    }
}

impl Dump {
    /// Creates the dump.
    pub fn make() -> Self {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random >> 8
        };
        // Allocated in random order, as on a machine that has been up for a while.
        let mut frames: Vec<u64> = (1..BYTES >> 12).collect();
        for at in (1..frames.len()).rev() {
            frames.swap(at, (next() % (at as u64 + 1)) as usize);
        }
        let mut dump = Builder { bytes: vec![0; BYTES as usize], frames };
        let program: Vec<u64> = (0..600).map(|_| dump.frame()).collect();
        let roots = [(); SPACES].map(|()| {
            let root = dump.frame();
            for (page, frame) in (0..).zip(&program) {
                let flags = if page < 400 { PRESENT | USER } else { PRESENT | USER | NO_EXECUTE };
                dump.set(root, 0x5555_5540_0000 + page * 4096, 1, frame | flags);
            }
            // Libraries: text, then data.
            for library in 0..60 {
                let base = 0x7f00_0000_0000 + library * 64 * MIB + next() % 512 * 4096;
                for page in 0..30 {
                    let flags = if page < 20 { PRESENT | USER } else { TABLE | NO_EXECUTE };
                    let frame = dump.frame();
                    dump.set(root, base + page * 4096, 1, frame | flags);
                }
            }
            // The heap, with holes.
            for page in (0..9000).filter(|page| page % 9 != 8) {
                let frame = dump.frame();
                dump.set(root, 0x5555_6000_0000 + page * 4096, 1, frame | TABLE | NO_EXECUTE);
            }
            for page in 0..BYTES / (2 * MIB) {
                let at = page * 2 * MIB;
                dump.set(root, 0xffff_8880_0000_0000 + at, 2, at | PRESENT | WRITE | LARGE | NO_EXECUTE);
            }
            root
        });
        // The tables that lead to the kernel's half are not for ring 3.
        let mut this = dump;
        for root in roots {
            let at = root + (0xffff_8880_0000_0000_u64 >> 39 & 511) * 8;
            let word = this.word(at);
            *word = (u64::from_le_bytes(*word) & !USER).to_le_bytes();
        }
        Self { bytes: Box::leak(this.bytes.into_boxed_slice()), roots }
    }
}
