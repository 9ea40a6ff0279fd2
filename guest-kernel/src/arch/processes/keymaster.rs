//! The privilege subsystem's process: grants keys by message. (In the story: the Keymaster.)

use abi::syscall::PORT_KEYS;

use super::calls::{bind, grant, receive, reply_receive};
use crate::security::keys::entitled;

/// Runs the process.
pub(crate) extern "C" fn run(_me: u64) -> ! {
    bind(PORT_KEYS).expect("no process binds ports before the kernel's own");
    let mut message = receive(PORT_KEYS).expect("the port is bound");
    loop {
        let wanted = message.words[0] as u32;
        let granted = wanted & entitled(message.uid);
        // The reply fails only if the sender was killed meanwhile. Without memory for the log nothing is
        // granted.
        let granted = grant(message.sender, wanted, granted).map_or(0, |()| granted);
        message = reply_receive(message.sender, u64::from(granted), PORT_KEYS).expect("the port stays bound");
    }
}
