//! An Agent: inspects one class of events and tags violators. It is a daemon like others, with a page that
//! the kernel writes into.
#![no_std]
#![no_main]

use abi::agents::Class;
use guest_user::agency::Agent;
use guest_user::system::SYSTEM;

guest_user::program!(run);

/// Ticks between two inspections: by then a ring is about half full if every kernel entry is tapped.
const REST: u64 = 4;

/// `argument` is the class.
fn run(argument: u64, _seed: u64, _me: u64) -> ! {
    let Some(class) = Class::from_raw(argument) else {
        SYSTEM.print("there is no such class");
        SYSTEM.exit(1);
    };
    let mut agent = Agent::enlist(class);
    loop {
        agent.inspect();
        SYSTEM.sleep(REST);
    }
}
