//! Messages, datagrams, and what is told of them: ports, buffers, the gateway, the flow table, the taps. It
//! owns these tables and touches the registers of processes that send and wait. The layers above call it. (In
//! the story: the Merovingian, and the Trainman.)
//!
//! | file | subject |
//! |---|---|
//! | `state` | the structure and its fields |
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
mod state;
mod taps;

pub use state::{FLOW_SLOTS, GATE_SLOTS, Ipc};

#[cfg(test)]
pub(crate) use mail::PORT_DATAGRAMS;
