//! The guest's console: a serial line, which a fault can damage, to a file or to nowhere.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};

use crate::faults::deed::Noise;

/// Most bytes that go into the file, so that a guest cannot fill the disk.
const MOST: u64 = 16 << 20;
/// The end of the file if there were more.
const CUT: &[u8] = b"\n[architect: the guest wrote more than 16 MiB; the rest is not here]\n";

/// The line's far end.
pub(in crate::experiment) struct Console {
    file: Option<File>,
    /// Bytes that have arrived.
    arrived: u64,
    hash: blake3::Hasher,
    /// The damage to come, in order.
    noise: VecDeque<Noise>,
}

impl Console {
    pub(in crate::experiment) fn new(file: Option<File>) -> Self {
        Self { file, arrived: 0, hash: blake3::Hasher::new(), noise: VecDeque::new() }
    }

    /// Damages the next bytes on the line. Flush the bytes before them first.
    pub(in crate::experiment) fn damage(&mut self, noise: Noise) {
        self.noise.push_back(noise);
    }

    /// The hash of all bytes that have arrived.
    pub(in crate::experiment) fn hash(&self) -> [u8; 32] {
        *self.hash.finalize().as_bytes()
    }

    fn arrive(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        let before = self.arrived;
        self.arrived = before.saturating_add(bytes.len() as u64);
        let Some(file) = &mut self.file else { return Ok(()) };
        let room = usize::try_from(MOST.saturating_sub(before)).unwrap_or(usize::MAX);
        file.write_all(&bytes[..bytes.len().min(room)])?;
        if before <= MOST && self.arrived > MOST { file.write_all(CUT) } else { Ok(()) }
    }

    /// The bytes that arrive when this byte is sent.
    fn pass(&mut self, byte: u8) -> ([u8; 2], usize) {
        let (bytes, over) = match self.noise.front_mut() {
            None => (([byte; 2], 1), false),
            Some(Noise::Flip(bits)) => (([byte ^ *bits; 2], 1), true),
            Some(Noise::Drop(left)) => {
                *left = left.saturating_sub(1);
                (([byte; 2], 0), *left == 0)
            }
            Some(Noise::Duplicate(left)) => {
                *left = left.saturating_sub(1);
                (([byte; 2], 2), *left == 0)
            }
        };
        if over {
            self.noise.pop_front();
        }
        bytes
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.noise.is_empty() {
            return self.arrive(bytes).map(|()| bytes.len());
        }
        let mut damaged = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            let (arrived, count) = self.pass(*byte);
            damaged.extend_from_slice(&arrived[..count]);
        }
        self.arrive(&damaged).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), File::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn damage_hits_the_next_bytes_in_order() {
        let mut file = tempfile::tempfile().unwrap();
        let mut console = Console::new(Some(file.try_clone().unwrap()));
        let clean = Console::new(None).hash();
        for noise in [Noise::Drop(2), Noise::Flip(0x20), Noise::Duplicate(1)] {
            console.damage(noise);
        }
        console.write_all(b"xy").unwrap();
        console.write_all(b"Abc\n").unwrap();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abbc\n");
        assert_ne!(console.hash(), clean);
        let mut same = Console::new(None);
        same.write_all(b"abbc\n").unwrap();
        assert_eq!(console.hash(), same.hash(), "what counts is what arrives");
    }

    #[test]
    fn a_guest_that_never_stops_writing_does_not_fill_the_disk() {
        let mut file = tempfile::tempfile().unwrap();
        let mut console = Console::new(Some(file.try_clone().unwrap()));
        let storm = vec![b'x'; MOST as usize - 1];
        for bytes in [&storm[..], b"yz", b"", &storm, b"never"] {
            console.write_all(bytes).unwrap();
        }
        let mut text = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut text).unwrap();
        let kept = text.strip_suffix(CUT).expect("it says where it ends");
        assert_eq!((kept.len() as u64, kept.last()), (MOST, Some(&b'y')));
        // Exactly as much as there is room for is no storm.
        let mut file = tempfile::tempfile().unwrap();
        let mut console = Console::new(Some(file.try_clone().unwrap()));
        console.write_all(&storm).unwrap();
        console.write_all(b"y").unwrap();
        assert_eq!(file.seek(io::SeekFrom::End(0)).unwrap(), MOST);
    }
}
