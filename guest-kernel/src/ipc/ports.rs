//! The port table.

use core::ops::{Index, IndexMut};

use abi::Pid;

use super::mail::Mail;
use crate::base::index::PortIndex;
use crate::base::queue::Queue;

/// Ports that can be bound at once.
pub(crate) const PORTS: usize = 64;

/// A bound port.
#[derive(Clone, Copy)]
pub(crate) struct Port {
    /// Its number; 0 for a closed port.
    pub number: u64,
    /// Its owner.
    pub owner: Pid,
    pub(crate) senders: Queue,
    /// Its datagrams.
    pub mail: Mail,
}

/// No port.
pub(crate) const CLOSED: Port =
    Port { number: 0, owner: Pid::NONE, senders: Queue::EMPTY, mail: Mail::EMPTY };

/// All ports.
pub(crate) struct Ports {
    /// Bound and closed ports.
    bound: [Port; PORTS],
    /// One past the last place that was ever used.
    count: usize,
}

impl Ports {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { bound: [CLOSED; PORTS], count: 0 }
    }

    /// Binds a number to a process, in a place that is closed or was never used; `None` if the table is full.
    pub(crate) fn bind(&mut self, number: u64, owner: Pid) -> Option<PortIndex> {
        let closed = self.bound[..self.count].iter().position(|port| port.number == 0);
        let place = closed.unwrap_or(self.count);
        *self.bound.get_mut(place)? = Port { number, owner, ..CLOSED };
        self.count = self.count.max(place + 1);
        Some(PortIndex::new(place))
    }

    /// The places that were ever used.
    pub(crate) fn places(&self) -> impl Iterator<Item = PortIndex> + use<> {
        (0..self.count).map(PortIndex::new)
    }

    /// The place of the port with this number.
    pub(crate) fn find(&self, number: u64) -> Option<PortIndex> {
        // A closed place has number 0.
        self.bound[..self.count]
            .iter()
            .position(|port| port.number == number && number != 0)
            .map(PortIndex::new)
    }

    /// The same, for a caller that has most likely named the port at place `last` before.
    #[inline(always)]
    pub(crate) fn find_again(&self, number: u64, last: PortIndex) -> Option<PortIndex> {
        let last = PortIndex::new(last.index() % PORTS);
        if self[last].number == number && number != 0 { Some(last) } else { self.find(number) }
    }
}

impl Index<PortIndex> for Ports {
    type Output = Port;

    #[inline(always)]
    fn index(&self, place: PortIndex) -> &Port {
        &self.bound[place.index()]
    }
}

impl IndexMut<PortIndex> for Ports {
    #[inline(always)]
    fn index_mut(&mut self, place: PortIndex) -> &mut Port {
        &mut self.bound[place.index()]
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
impl Ports {
    /// The ports that are bound: place in the table, number, owner, waiting senders.
    pub(crate) fn list(&self) -> impl Iterator<Item = (PortIndex, u64, Pid, Queue)> {
        let open = self.bound[..self.count].iter().enumerate().filter(|(_, port)| port.number != 0);
        open.map(|(place, port)| (PortIndex::new(place), port.number, port.owner, port.senders))
    }

    /// All places, open and closed.
    pub(crate) fn all(&self) -> &[Port] {
        &self.bound
    }
}
