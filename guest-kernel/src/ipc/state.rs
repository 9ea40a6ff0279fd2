//! The state of IPC: what its files share.

use abi::flow::{Flow, Gate};

use super::buffers::Buffers;
use super::impairment::Impairment;
use super::ports::Ports;
use super::posts::Posts;
use crate::base::hardware::Hardware;
use crate::base::layer::layer;
use crate::sched::Scheduler;

/// Entries in the flow table.
pub const FLOW_SLOTS: usize = 256;
/// Places at the gateway.
pub const GATE_SLOTS: usize = 32;

/// IPC, on the scheduler.
pub struct Ipc<H> {
    pub(super) scheduler: Scheduler<H>,
    pub(super) ports: Ports,
    pub(super) buffers: Buffers,
    pub(super) flows: &'static mut [Flow; FLOW_SLOTS],
    pub(super) gates: &'static mut [Gate; GATE_SLOTS],
    /// Transfers ever asked for.
    pub(super) transfer_serial: u64,
    pub(super) posts: Posts,
    pub(super) impairment: Impairment,
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
