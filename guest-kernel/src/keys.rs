//! The privilege subsystem: a kernel process that grants keys by message. (In the story: the Keymaster.)
//!
//! Asked on [`PORT_KEYS`] with the keys that are wanted, it grants those that the sender's uid entitles it to. It is
//! correct in itself.

#[cfg(feature = "kernel")]
use abi::syscall::{FIRST_PERSON, Keys, PORT_KEYS};

#[cfg(feature = "kernel")]
use crate::user::System;

/// The process. Its one argument is its own pid.
#[cfg(feature = "kernel")]
pub(crate) extern "C" fn run(_me: u64) -> ! {
    let system = System(crate::arch::user::kernel_call);
    system.bind(PORT_KEYS).expect("nobody binds ports before the kernel's own processes");
    let mut message = system.receive(PORT_KEYS).expect("the port is bound");
    loop {
        let wanted = message.words[0] as u32;
        let entitled = match message.uid {
            0 => Keys::WATCHDOG | Keys::PHONE,
            1..FIRST_PERSON => Keys::PHONE,
            _ => 0,
        };
        let granted = wanted & entitled;
        if granted != 0 {
            // The sender waits for this reply: it can only be missing if it was killed meanwhile.
            let _ = system.grant(message.sender, granted);
        }
        message = system
            .reply_receive(message.sender, [u64::from(granted), 0], PORT_KEYS)
            .expect("the port stays bound");
    }
}
