//! The system calls that kernel processes make. They pass through the kernel's gate and are otherwise those
//! of ring 3.

use abi::Pid;
use abi::syscall::{Call, Error};

use crate::arch::gate::kernel_call;

/// A message that a kernel process received.
pub(crate) struct Received {
    /// The sender, which waits for the reply.
    pub(crate) sender: Pid,
    /// The message's words.
    pub(crate) words: [u64; 2],
    /// The sender's uid.
    pub(crate) uid: u32,
}

fn make(call: Call, arguments: [u64; 6]) -> Result<[u64; 6], Error> {
    match kernel_call(call as u64, arguments) {
        (0, results) => Ok(results),
        (status, _) => Err(Error::from_raw(status).unwrap_or(Error::Invalid)),
    }
}

fn received(results: [u64; 6]) -> Received {
    Received { sender: Pid(results[0] as u32), words: [results[1], results[2]], uid: results[5] as u32 }
}

/// Acknowledges the timer's interrupt and waits for the next.
pub(crate) fn acknowledge() -> Result<(), Error> {
    make(Call::Acknowledge, [0; 6]).map(drop)
}

/// Grants `keys` to a process that wanted `wanted`, and logs both.
pub(crate) fn grant(to: Pid, wanted: u32, keys: u32) -> Result<(), Error> {
    make(Call::Grant, [u64::from(to.0), u64::from(wanted), u64::from(keys), 0, 0, 0]).map(drop)
}

/// Binds a port.
pub(crate) fn bind(port: u64) -> Result<(), Error> {
    make(Call::Bind, [port, 0, 0, 0, 0, 0]).map(drop)
}

/// Waits for a message.
pub(crate) fn receive(port: u64) -> Result<Received, Error> {
    make(Call::Receive, [port, 0, 0, 0, 0, 0]).map(received)
}

/// Replies with a word, then waits for the next message.
pub(crate) fn reply_receive(to: Pid, word: u64, port: u64) -> Result<Received, Error> {
    make(Call::Reply, [u64::from(to.0), word, 0, port, 0, 0]).map(received)
}
