//! Guest-physical memory as the rest of this crate sees it: readable by address, and nothing else.
//!
//! A running guest, a core file and a raw dump all fit behind [`PhysicalMemory`]. Reading never changes the
//! guest and never panics: an address that holds no memory is an [`OutOfRange`].

use address::{Frame, GuestPhys};
use zerocopy::{FromBytes, IntoBytes};

use crate::x86::paging::{UsedEntry, used_of_table};

/// A page table of any level as it lies in memory: 512 entries of 8 bytes.
pub type Table = [u64; 512];

/// Part of a read is not guest memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no guest memory for {len} bytes at {at}")]
pub struct OutOfRange {
    /// The first address of the read.
    pub at: GuestPhys,
    /// The number of bytes to read.
    pub len: u64,
}

/// Guest-physical memory, readable by address.
pub trait PhysicalMemory {
    /// Reads the bytes from `at` on into `into`.
    ///
    /// # Errors
    /// [`OutOfRange`] if any byte of the range is not memory; the contents of `into` are then unspecified.
    fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRange>;

    /// Returns whether the whole frame is memory. Walks call this once for each mapped page: implement it if
    /// there is a cheaper answer than two probing reads.
    fn has_frame(&self, frame: Frame) -> bool {
        let mut byte = [0];
        frame.0 < 1 << 52
            && self.read(frame.base(), &mut byte).is_ok()
            && self.read(frame.base().add(address::PAGE_SIZE - 1), &mut byte).is_ok()
    }

    /// Reads the eight bytes at `at` as a little-endian number.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn read_u64(&self, at: GuestPhys) -> Result<u64, OutOfRange> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads the page table at `at`, 4096 bytes, in one read.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn read_table(&self, at: GuestPhys, into: &mut Table) -> Result<(), OutOfRange> {
        self.read(at, into.as_mut_bytes())
    }

    /// Returns the page table at `at`: borrowed if this memory is directly accessible, otherwise read into
    /// `scratch`.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn table<'a>(&'a self, at: GuestPhys, scratch: &'a mut Table) -> Result<&'a Table, OutOfRange> {
        self.read_table(at, scratch)?;
        Ok(scratch)
    }

    /// Appends those entries of the page table at `at` that have all of the bits `wanted`, which include the
    /// present bit, by rising index. Implement it for memory that is neither directly accessible nor cheap to
    /// copy.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn entries(
        &self,
        at: GuestPhys,
        bits: u64,
        scratch: &mut Table,
        into: &mut Vec<UsedEntry>,
    ) -> Result<(), OutOfRange> {
        used_of_table(self.table(at, scratch)?, bits, into);
        Ok(())
    }

    /// Reads one value.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn read_value<T: FromBytes + IntoBytes>(&self, at: GuestPhys) -> Result<T, OutOfRange>
    where
        Self: Sized,
    {
        let mut value = T::new_zeroed();
        self.read(at, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Fills `into` with consecutive values from `at` on, in one read.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn read_values<T: FromBytes + IntoBytes>(&self, at: GuestPhys, into: &mut [T]) -> Result<(), OutOfRange>
    where
        Self: Sized,
    {
        self.read(at, into.as_mut_bytes())
    }
}

impl<M: PhysicalMemory + ?Sized> PhysicalMemory for &M {
    fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRange> {
        (**self).read(at, into)
    }

    fn has_frame(&self, frame: Frame) -> bool {
        (**self).has_frame(frame)
    }

    fn table<'a>(&'a self, at: GuestPhys, scratch: &'a mut Table) -> Result<&'a Table, OutOfRange> {
        (**self).table(at, scratch)
    }

    fn entries(
        &self,
        at: GuestPhys,
        bits: u64,
        scratch: &mut Table,
        into: &mut Vec<UsedEntry>,
    ) -> Result<(), OutOfRange> {
        (**self).entries(at, bits, scratch, into)
    }
}

/// Memory that starts at guest-physical address 0: a raw dump, or the memory of a test.
impl PhysicalMemory for [u8] {
    fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRange> {
        let range = usize::try_from(at.0).ok().and_then(|start| Some(start..start.checked_add(into.len())?));
        match range.and_then(|range| self.get(range)) {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(OutOfRange { at, len: into.len() as u64 }),
        }
    }

    fn has_frame(&self, frame: Frame) -> bool {
        frame.0 < self.len() as u64 / address::PAGE_SIZE
    }

    fn table<'a>(&'a self, at: GuestPhys, scratch: &'a mut Table) -> Result<&'a Table, OutOfRange> {
        let start = usize::try_from(at.0).ok();
        let here = start.and_then(|start| self.get(start..start.checked_add(size_of::<Table>())?));
        // Unaligned bytes cannot be borrowed as words: copy them.
        match here.and_then(|bytes| Table::ref_from_bytes(bytes).ok()) {
            Some(table) => Ok(table),
            None => {
                self.read_table(at, scratch)?;
                Ok(scratch)
            }
        }
    }
}

impl PhysicalMemory for Vec<u8> {
    fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRange> {
        self.as_slice().read(at, into)
    }

    fn has_frame(&self, frame: Frame) -> bool {
        self.as_slice().has_frame(frame)
    }

    fn table<'a>(&'a self, at: GuestPhys, scratch: &'a mut Table) -> Result<&'a Table, OutOfRange> {
        self.as_slice().table(at, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A memory that keeps the provided methods.
    struct Plain(Vec<u8>);

    impl PhysicalMemory for Plain {
        fn read(&self, at: GuestPhys, into: &mut [u8]) -> Result<(), OutOfRange> {
            self.0.read(at, into)
        }
    }

    #[test]
    fn reads_stop_at_the_end_of_memory() {
        let memory: Vec<u8> = (0..64).collect();
        assert_eq!(memory.read_u64(GuestPhys(56)), Ok(0x3f3e_3d3c_3b3a_3938));
        assert_eq!(memory.read_u64(GuestPhys(57)), Err(OutOfRange { at: GuestPhys(57), len: 8 }));
        assert_eq!(memory.read(GuestPhys(64), &mut []), Ok(()));
        assert!(memory.read(GuestPhys(u64::MAX), &mut [0; 2]).is_err());
    }

    #[test]
    fn values_come_from_plain_bytes() {
        let memory: Vec<u8> = vec![1, 0, 0, 0, 2, 0, 0, 0];
        assert_eq!(memory.read_value::<[u32; 2]>(GuestPhys(0)), Ok([1, 2]));
        let mut words = [0u32; 1];
        memory.read_values(GuestPhys(4), &mut words).unwrap();
        assert_eq!(words, [2]);
        assert!(memory.read_value::<[u64; 600]>(GuestPhys(0)).is_err());
    }

    #[test]
    fn a_table_is_the_same_in_place_and_copied() {
        let bytes: Vec<u8> = (0..3 * 4096).map(|at| (at % 251) as u8).collect();
        let plain = Plain(bytes.clone());
        for at in [0, 4096, 8, 12, 1, 8192] {
            let (mut here, mut there) = ([0; 512], [0; 512]);
            let table = *bytes.table(GuestPhys(at), &mut here).unwrap();
            assert_eq!(&table, plain.table(GuestPhys(at), &mut there).unwrap());
        }
        assert!(bytes.table(GuestPhys(8193), &mut [0; 512]).is_err());
        assert!(bytes.table(GuestPhys(u64::MAX), &mut [0; 512]).is_err());
    }

    #[test]
    fn a_frame_counts_only_when_it_is_whole() {
        let plain = Plain(vec![0; 3 * 4096 - 1]);
        let reference: &dyn PhysicalMemory = &plain;
        for frame in [0, 1, 2, 3, 1 << 52, u64::MAX] {
            let expected = frame < 2;
            assert_eq!(plain.has_frame(Frame(frame)), expected);
            assert_eq!(plain.0.has_frame(Frame(frame)), expected);
            assert_eq!((&reference).has_frame(Frame(frame)), expected);
        }
    }
}
