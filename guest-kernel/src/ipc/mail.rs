//! The datagrams that wait at a port.

use super::buffers::Buffers;

/// Datagrams that wait at one port at most.
pub(crate) const PORT_DATAGRAMS: u8 = 8;

/// The datagrams that wait at a port, first in, first out, linked by their [`Letter`]s.
#[derive(Clone, Copy)]
pub(crate) struct Mail {
    first: u8,
    last: u8,
    count: u8,
}

impl Mail {
    /// None.
    pub(crate) const EMPTY: Self = Self { first: 0, last: 0, count: 0 };

    /// How many wait.
    pub(crate) const fn count(self) -> u8 {
        self.count
    }

    /// Whether no more may wait.
    pub(crate) const fn is_full(self) -> bool {
        self.count >= PORT_DATAGRAMS
    }

    pub(crate) fn push(&mut self, buffers: &mut Buffers, buffer: u8) {
        if self.count == 0 {
            self.first = buffer;
        } else {
            buffers.letters[usize::from(self.last)].next = buffer;
        }
        self.last = buffer;
        self.count += 1;
    }

    /// Takes the first.
    pub(crate) fn pop(&mut self, buffers: &Buffers) -> Option<u8> {
        if self.count == 0 {
            return None;
        }
        let buffer = self.first;
        self.first = buffers.letters[usize::from(buffer)].next;
        self.count -= 1;
        Some(buffer)
    }
}

#[cfg(test)]
impl Mail {
    /// The buffers that wait, the first first.
    pub(crate) fn members(self, buffers: &Buffers) -> impl Iterator<Item = u8> {
        let next = |buffer: &u8| Some(buffers.letters[usize::from(*buffer)].next);
        core::iter::successors(Some(self.first), next).take(usize::from(self.count))
    }
}
