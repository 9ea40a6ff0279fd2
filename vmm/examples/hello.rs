//! Boots a kernel of a few instructions and prints the first byte that it writes to its serial port.
//!
//! Run with `cargo run -p vmm --example hello`; it needs a usable `/dev/kvm`.

use vmm::host::kvm::Kvm;
use vmm::machine::{Event, Machine, Model, tiny};

/// The kernel, 32-bit code: the PVH entry is in protected mode, without paging.
#[rustfmt::skip]
const KERNEL: [u8; 14] = [
    0x66, 0xba, 0xf8, 0x03,     //       mov dx, 0x3f8   the serial port's data register
    0xb0, b'H',                 //       mov al, 'H'
    0xee,                       //       out dx, al
    0xb0, 0x00,                 //       mov al, 0
    0xe6, 0xf4,                 //       out 0xf4, al    the exit port: ends the guest with status 0
    0xf4,                       // halt: hlt
    0xeb, 0xfd,                 //       jmp halt
];

fn main() -> Result<(), vmm::Error> {
    let kvm = Kvm::open()?;
    let config = tiny::config("hello", &KERNEL, 2)?;
    let mut machine = Machine::new(&kvm, &Model::of(&kvm)?, &config, Vec::new())?;
    loop {
        match machine.step()? {
            Event::OutputWaits => {
                machine.flush_console()?;
                let said = String::from_utf8_lossy(machine.bus().serial.output()).into_owned();
                println!("first output: {said:?}");
            }
            Event::Exit(status) => break println!("the guest ended with status {status}"),
            event => break eprintln!("the guest stopped: {event:?}"),
        }
    }
    Ok(())
}
