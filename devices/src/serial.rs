//! The console: a 16550 serial port (COM1). Its register model is `vm_superio::Serial`.
//!
//! | offset from 0x3f8 | read | write |
//! |---|---|---|
//! | 0 | received byte (DLAB set: divisor, low byte) | byte to send (DLAB set: divisor, low byte) |
//! | 1 | interrupt enable (DLAB set: divisor, high byte) | the same |
//! | 2 | interrupt identification; the read acknowledges | FIFO control, ignored: the FIFOs are always on |
//! | 3 | line control, bit 7 is DLAB | the same |
//! | 4 | modem control, bit 4 is loopback | the same |
//! | 5 | line status: bit 0 a byte waits, bits 5 and 6 (transmitter empty) always set | ignored |
//! | 6 | modem status | ignored |
//! | 7 | scratch | the same |
//!
//! Source: National Semiconductor PC16550D data sheet, as far as Linux `drivers/tty/serial/8250` needs it;
//! the behaviour is that of `vm-superio`. The input FIFO holds 64 bytes instead of 16.
//!
//! Output is buffered, and passed to the VMM's `Write` at the end of a line or after 4 KiB, so that the VMM
//! sees whole lines where the guest writes them. An unfinished line waits for [`Serial::flush`]. The guest
//! never waits for output and never sees its errors.
//!
//! Interrupts are pulses, as on an edge-triggered ISA line. They are returned as [`Action::Serial`]; a VMM
//! without an interrupt controller drops them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;

use serde::{Deserialize, Serialize};
use vm_superio::serial::SerialEvents;
use vm_superio::{SerialState, Trigger};

use abi::layout::PORT_SERIAL;

use crate::{Action, PortDevice};

/// Offset of the data register.
const DATA: u8 = 0;
/// Offset of the line control register; its bit 7 is DLAB.
const LINE_CONTROL: u8 = 3;
/// Offset of the modem control register; its bit 4 is loopback.
const MODEM_CONTROL: u8 = 4;

const DLAB: u8 = 0x80;
const LOOPBACK: u8 = 0x10;

/// Output without an end of line is passed on at this many bytes.
const GATHERED_MAX: usize = 4096;

/// The interrupt line: stores a pulse until it is taken.
#[derive(Debug, Default)]
struct Line {
    pulsed: Cell<bool>,
}

impl Trigger for Line {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        self.pulsed.set(true);
        Ok(())
    }
}

/// Events of the register model. Only one is used: the guest has read all input.
#[derive(Debug)]
struct Events {
    input_empty: Cell<bool>,
}

impl SerialEvents for Events {
    fn buffer_read(&self) {}

    fn out_byte(&self) {}

    fn tx_lost_byte(&self) {}

    fn in_buffer_empty(&self) {
        self.input_empty.set(true);
    }
}

/// The register model. Its `Write` is the output buffer, which never fails.
type Uart = vm_superio::Serial<Line, Events, Vec<u8>>;

fn uart(state: &SerialState, gathered: Vec<u8>) -> Option<Uart> {
    let events = Events { input_empty: Cell::new(state.in_buffer.is_empty()) };
    Uart::from_state(state, Line::default(), events, gathered).ok()
}

/// Everything that a guest can have changed in the port, and the input that still waits.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct State {
    #[serde(with = "Registers")]
    registers: SerialState,
    waiting: Vec<u8>,
}

/// The same fields, for serialisation.
#[derive(Serialize, Deserialize)]
#[serde(remote = "SerialState")]
struct Registers {
    baud_divisor_low: u8,
    baud_divisor_high: u8,
    interrupt_enable: u8,
    interrupt_identification: u8,
    line_control: u8,
    line_status: u8,
    modem_control: u8,
    modem_status: u8,
    scratch: u8,
    in_buffer: Vec<u8>,
}

/// Output could not be written. The guest continued.
#[derive(Debug, thiserror::Error)]
#[error("console output could not be written, up to {lost} bytes are lost: {first}")]
pub struct OutputError {
    /// The first error.
    pub first: io::Error,
    /// Bytes in failed writes.
    pub lost: u64,
}

/// The port, with its output.
#[derive(Debug)]
pub struct Serial<W> {
    uart: Uart,
    /// Input that does not fit into the FIFO yet.
    waiting: VecDeque<u8>,
    /// A byte was sent since the port was created, reset or restored.
    started: bool,
    /// Bytes passed to the output.
    handed_over: u64,
    output: W,
    error: Option<OutputError>,
}

impl<W: io::Write> Serial<W> {
    /// Creates a port in power-on state that sends to `output`. Use an output that does not block for ever:
    /// the guest does not run meanwhile.
    pub fn new(output: W) -> Self {
        let gathered = Vec::with_capacity(GATHERED_MAX);
        let events = Events { input_empty: Cell::new(true) };
        Self {
            uart: Uart::with_events(Line::default(), events, gathered),
            waiting: VecDeque::new(),
            started: false,
            handed_over: 0,
            output,
            error: None,
        }
    }

    /// Handles a write to the register at `offset` (0 to 7).
    #[inline]
    pub fn write(&mut self, offset: u8, value: u8) -> Action {
        // The model fails only if its trigger or its output does, and these cannot.
        let _infallible = self.uart.write(offset, value);
        if offset == DATA { self.sent() } else { self.refilled() }
    }

    /// Handles writes to the data register, one for each byte of `data`, as a string instruction makes them.
    pub fn write_all(&mut self, data: &[u8]) -> Action {
        let plain = self.uart.read(LINE_CONTROL) & DLAB == 0 && self.uart.read(MODEM_CONTROL) & LOOPBACK == 0;
        match data.split_last() {
            // The last byte alone has the same effect on the registers as all of them.
            Some((last, before)) if plain => {
                self.uart.writer_mut().extend_from_slice(before);
                let action = self.write(DATA, *last);
                // Unless everything was passed on, `data` is the end of the buffer.
                if self.has_unfinished_line()
                    && let Some(unfinished) = data.iter().rev().position(|byte| *byte == b'\n')
                {
                    self.hand_over(self.uart.writer().len() - unfinished);
                }
                action
            }
            _ => data.iter().fold(Action::None, |action, byte| action.then(self.write(DATA, *byte))),
        }
    }

    /// Handles a read of the register at `offset` (0 to 7).
    #[inline]
    pub fn read(&mut self, offset: u8) -> (u8, Action) {
        let value = self.uart.read(offset);
        (value, if offset == DATA { self.refilled() } else { Action::None })
    }

    /// Queues input for the guest. Input that does not fit into the FIFO waits until the guest has read the
    /// FIFO.
    pub fn queue_input(&mut self, data: &[u8]) -> Action {
        self.waiting.extend(data);
        self.refill();
        self.news(false)
    }

    /// Returns the number of input bytes that wait for room in the FIFO.
    pub fn input_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of bytes that the guest has sent since the port was created.
    pub fn bytes_sent(&self) -> u64 {
        self.handed_over + self.uart.writer().len() as u64
    }

    /// Returns whether an unfinished line waits for [`Serial::flush`].
    pub fn has_unfinished_line(&self) -> bool {
        !self.uart.writer().is_empty()
    }

    /// Passes on an unfinished line, and flushes the output. [`Serial::finish`] returns errors.
    pub fn flush(&mut self) {
        self.hand_over(self.uart.writer().len());
        if let Err(error) = self.output.flush() {
            self.failed(error, 0);
        }
    }

    /// Flushes, and returns the first output error since the port was created or last finished.
    ///
    /// # Errors
    /// [`OutputError`] with the first failed write.
    pub fn finish(&mut self) -> Result<(), OutputError> {
        self.flush();
        self.error.take().map_or(Ok(()), Err)
    }

    /// Returns the output.
    pub const fn output(&self) -> &W {
        &self.output
    }

    /// Returns the output for writing or replacing. Flush first.
    pub const fn output_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// Flushes, and returns the output.
    pub fn into_output(mut self) -> W {
        self.flush();
        self.output
    }

    /// Returns what [`Serial::restore`] needs. Output is not part of it.
    pub fn state(&self) -> State {
        State { registers: self.uart.state(), waiting: self.waiting.iter().copied().collect() }
    }

    /// Restores a state. Output sent before is passed on; the next byte of output counts as the first one
    /// again.
    pub fn restore(&mut self, state: &State) {
        self.hand_over(self.uart.writer().len());
        let gathered = std::mem::take(self.uart.writer_mut());
        if let Some(uart) = uart(&state.registers, gathered) {
            self.uart = uart;
        }
        // The model pulses for pending interrupts, which were already delivered before the state was taken.
        self.uart.interrupt_evt().pulsed.set(false);
        self.waiting.clear();
        self.waiting.extend(&state.waiting);
        self.started = false;
    }

    /// After a write to the data register: passes on complete output, and returns the events.
    #[inline]
    fn sent(&mut self) -> Action {
        let gathered = self.uart.writer();
        let Some(last) = gathered.last() else {
            // The write went to the divisor, or loopback is on: nothing was sent.
            return self.news(false);
        };
        if *last == b'\n' || gathered.len() >= GATHERED_MAX {
            self.hand_over(gathered.len());
        }
        let first_output = !self.started;
        self.started = true;
        self.news(first_output)
    }

    /// Refills the FIFO after an access that may have made room for more input.
    #[inline]
    fn refilled(&mut self) -> Action {
        if self.uart.events().input_empty.get() && !self.waiting.is_empty() {
            self.refill();
        }
        self.news(false)
    }

    /// Moves waiting input into the FIFO, as far as there is room; none in loopback mode.
    fn refill(&mut self) {
        if let Ok(taken @ 1..) = self.uart.enqueue_raw_bytes(self.waiting.make_contiguous()) {
            self.waiting.drain(..taken);
            self.uart.events().input_empty.set(false);
        }
    }

    #[inline]
    fn news(&self, first_output: bool) -> Action {
        let interrupt = self.uart.interrupt_evt().pulsed.take();
        if first_output || interrupt { Action::Serial { first_output, interrupt } } else { Action::None }
    }

    /// Passes the first `len` buffered bytes to the output. Bytes that it does not accept are lost.
    fn hand_over(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        let gathered = self.uart.writer_mut();
        let result = self.output.write_all(&gathered[..len]);
        gathered.drain(..len);
        self.handed_over += len as u64;
        if let Err(error) = result {
            self.failed(error, len as u64);
        }
    }

    fn failed(&mut self, first: io::Error, lost: u64) {
        self.error.get_or_insert(OutputError { first, lost: 0 }).lost += lost;
    }
}

impl<W: io::Write> PortDevice for Serial<W> {
    #[inline]
    fn write_port(&mut self, port: u16, value: u8) -> Action {
        self.write((port - PORT_SERIAL) as u8, value)
    }

    #[inline]
    fn read_port(&mut self, port: u16) -> (u8, Action) {
        self.read((port - PORT_SERIAL) as u8)
    }

    /// Returns to the power-on state. Output sent before is passed on; waiting input is dropped.
    fn reset(&mut self) {
        self.restore(&State::default());
    }
}

#[cfg(test)]
mod tests;
