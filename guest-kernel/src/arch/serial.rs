//! The console: COM1, a 16550 (National Semiconductor PC16550D). Bytes go out in batches of its FIFO's 16.

use core::fmt;

use abi::layout::PORT_SERIAL;

use super::port::{in8, out_string, out8};

/// Line status register, and its "transmitter holding register empty" bit.
const LINE_STATUS: u16 = PORT_SERIAL + 5;
const THR_EMPTY: u8 = 0x20;

/// Sets 115200 baud, 8N1, FIFOs on, interrupts off.
pub(super) fn init() {
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 3)] {
        out8(PORT_SERIAL + register, value);
    }
}

/// Writes bytes; a line feed is all that ends a line.
#[inline(never)] // a landmark for cargo xtask count-instructions
pub(super) fn write(bytes: &[u8]) {
    for batch in bytes.chunks(16) {
        while in8(LINE_STATUS) & THR_EMPTY == 0 {}
        out_string(PORT_SERIAL, batch);
    }
}

/// The console as a target of `write!`, which gathers a line before it goes out.
pub(super) struct Line {
    text: [u8; 128],
    len: usize,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self { text: [0; 128], len: 0 }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.text[self.len] = byte;
            self.len += 1;
            if byte == b'\n' || self.len == self.text.len() {
                write(&self.text[..self.len]);
                self.len = 0;
            }
        }
        Ok(())
    }
}
