//! The host's commands, taken at a tick: what its monitor wants done, and hardware that does wrong.
//!
//! What a real machine's hardware would do by itself below the kernel is done where the kernel meets the
//! hardware: in the clock, in the free list ([`crate::mem`]), between sender and port ([`crate::ipc`]).
//! Without an order none of it is reached.

use abi::Pid;
use abi::info::{
    COMMAND_DELAY_DATAGRAM, COMMAND_DROP_DATAGRAMS, COMMAND_GIVE_BACK, COMMAND_KILL, COMMAND_LOSE_INTERRUPTS,
    COMMAND_RAISE_INTERRUPT, COMMAND_RESTART, COMMAND_SLOTS, COMMAND_WITHHOLD, Command,
};

use super::Kernel;
use crate::base::hardware::Hardware;

impl<H: Hardware> Kernel<H> {
    /// Takes the commands that the host has given. Only as many as there are places for can wait; older ones
    /// are lost.
    pub(crate) fn take_commands(&mut self) {
        let given = self.hw().commands_given();
        let taken = self.info().commands_taken;
        if given == taken {
            return;
        }
        // A host that counts back has started anew.
        let first = if given < taken { given } else { taken.max(given.saturating_sub(COMMAND_SLOTS as u64)) };
        for nth in first..given {
            let command = self.hw().command(nth);
            self.carry_out_command(command);
        }
        self.info_mut().commands_taken = given;
    }

    fn carry_out_command(&mut self, Command { what, subject }: Command) {
        match what {
            COMMAND_KILL => self.end_by_order(Pid(subject)),
            COMMAND_RESTART => self.start_again(subject as usize),
            COMMAND_LOSE_INTERRUPTS => self.lose_interrupts(subject),
            COMMAND_RAISE_INTERRUPT => self.raise_half_way(),
            COMMAND_WITHHOLD => self.withhold(subject),
            COMMAND_GIVE_BACK => self.give_back_withheld(subject),
            COMMAND_DROP_DATAGRAMS..=COMMAND_DELAY_DATAGRAM => self.impairment().order(what, subject),
            _ => {}
        }
    }

    /// Raises the timer's interrupt once more, half-way to the next tick. A tick that is too short to be
    /// divided has it at once.
    fn raise_half_way(&mut self) {
        self.rest = self.left / 2;
        self.left -= self.left / 2;
        if self.rest == 0 {
            self.timer_interrupt();
        }
    }
}
