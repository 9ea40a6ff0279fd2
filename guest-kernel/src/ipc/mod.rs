//! Messages, datagrams, and what is told of them: ports, buffers, the gateway, the flow table, the taps. It
//! owns these tables and touches the registers of processes that send and wait. The layers above call it. (In
//! the story: the Merovingian, and the Trainman.)
//!
//! | file | subject |
//! |---|---|
//! | `ports` | the port table |
//! | `messages` | calls, replies, waiting for them |
//! | `network`, `mail`, `buffers` | datagrams, the queue at a port, the pool |
//! | `gateway` | processes that wait for room |
//! | `flows` | which process sends to which port |
//! | `posts`, `taps` | the Agents, and what they are told |
//! | `impairment`, `delivery` | a network that does wrong by order |

mod buffers;
mod delivery;
mod flows;
mod gateway;
mod impairment;
mod mail;
mod messages;
mod network;
mod ports;
mod posts;
mod taps;

use abi::flow::{Flow, Gate};

use crate::base::hardware::Hardware;
use crate::base::layer::layer;
use crate::sched::Scheduler;
use buffers::Buffers;
use impairment::Impairment;
use ports::Ports;
use posts::Posts;

/// Entries in the flow table.
pub const FLOW_SLOTS: usize = 256;
/// Places at the gateway.
pub const GATE_SLOTS: usize = 32;

/// IPC, on the scheduler.
pub struct Ipc<H> {
    scheduler: Scheduler<H>,
    ports: Ports,
    buffers: Buffers,
    flows: &'static mut [Flow; FLOW_SLOTS],
    gates: &'static mut [Gate; GATE_SLOTS],
    /// Transfers ever asked for.
    transfer_serial: u64,
    posts: Posts,
    impairment: Impairment,
}

layer!(Ipc over Scheduler in scheduler);

impl<H: Hardware> Ipc<H> {
    /// Creates the layer.
    #[inline(always)]
    pub(crate) fn new(
        scheduler: Scheduler<H>,
        flows: &'static mut [Flow; FLOW_SLOTS],
        gates: &'static mut [Gate; GATE_SLOTS],
    ) -> Self {
        let buffers = Buffers::new(scheduler.params().buffers);
        Self {
            scheduler,
            ports: Ports::new(),
            buffers,
            flows,
            gates,
            transfer_serial: 0,
            posts: Posts::default(),
            impairment: Impairment::default(),
        }
    }

    /// What the network does wrong.
    pub(crate) fn impairment(&mut self) -> &mut Impairment {
        &mut self.impairment
    }
}

#[cfg(test)]
pub(crate) use mail::PORT_DATAGRAMS;

#[cfg(test)]
impl<H> Ipc<H> {
    /// The port table.
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The pool of buffers.
    pub(crate) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// The flow table.
    pub(crate) fn flows(&self) -> &[Flow; FLOW_SLOTS] {
        self.flows
    }

    /// The gateway's queue.
    pub(crate) fn gates(&self) -> &[Gate; GATE_SLOTS] {
        self.gates
    }
}
