//! The watchdog daemon: asks for the key to the watchdog, then pets it as long as the system is sound. When
//! processes keep crashing it stops and leaves the decision to the hardware: a machine that cannot be trusted
//! is reset.
#![no_std]
#![no_main]

use abi::syscall::{Keys, Load, PORT_KEYS, Query};
use guest_user::system::{NOTHING, SYSTEM};

guest_user::program!(run);

/// `argument` is the timeout code for the device: it fires after 30 - 2 * code seconds of real time.
fn run(argument: u64, _seed: u64, _me: u64) -> ! {
    let period = (SYSTEM.load(Load::Watchdog) / 4).max(1);
    let wanted = u64::from(Keys::WATCHDOG);
    match SYSTEM.call(PORT_KEYS, [wanted, 0], NOTHING, 0) {
        Ok([granted, _]) if granted == wanted => {}
        _ => {
            SYSTEM.print("no key to the watchdog");
            SYSTEM.exit(1);
        }
    }
    let unsound = SYSTEM.load(Load::Unsound);
    while SYSTEM.query(Query::Crashes) < unsound {
        if SYSTEM.pet(argument).is_err() {
            SYSTEM.print("the watchdog cannot be petted");
            SYSTEM.exit(1);
        }
        SYSTEM.sleep(period);
    }
    SYSTEM.print("the system is unsound, petting no more");
    loop {
        SYSTEM.sleep(1_000_000);
    }
}
