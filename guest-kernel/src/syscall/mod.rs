//! System calls: decodes and dispatches them, counts them, and refuses what is not allowed. It owns nothing;
//! calls that concern a single subsystem are that subsystem's. [`crate::kernel`] calls it.

use abi::Pid;
use abi::layout::{PAGE_SIZE, USER_HEAP, USER_HEAP_END};
use abi::process::{PROCESS_SLOTS, State};
use abi::syscall::{Call, Error, Keys, Query};
use abi::trace::Kind;

use crate::base::arguments::{
    ExitArguments, GrowArguments, KillArguments, PetArguments, PrintArguments, QueryArguments,
    SleepArguments, SpawnArguments,
};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;
use crate::base::layer::layer;
use crate::base::process::PRIORITIES;
use crate::proc::lives::Birth;
use crate::proc::{EXIT_STATUS, KILLED};
use crate::security::Security;

/// What a call came to.
enum Done {
    /// The answer is in the caller's registers already, or will be when its wait ends.
    Answered,
    /// Success with up to one result.
    Value(u64),
}

impl Done {
    /// Success without a result.
    fn success((): ()) -> Self {
        Self::Value(0)
    }
}

/// Makes a call with its arguments, read from the caller's registers.
macro_rules! make {
    ($kernel:ident.$call:ident($slot:ident)) => {{
        let arguments = $kernel.arguments($slot);
        $kernel.$call($slot, arguments)
    }};
}

/// System calls, on all subsystems.
pub struct Syscalls<H> {
    security: Security<H>,
}

layer!(Syscalls over Security in security);

impl<H> Syscalls<H> {
    /// Creates the layer.
    #[inline(always)]
    pub(crate) fn new(security: Security<H>) -> Self {
        Self { security }
    }
}

impl<H: Hardware> Syscalls<H> {
    #[inline(always)]
    pub(crate) fn system_call(&mut self, slot: Slot) {
        self.counters().syscalls += 1;
        self.clear_starved();
        let process = self.process(slot);
        let (pid, context) = (process.d.pid, &process.d.context);
        let (number, first) = (context.rax, context.rdi);
        if process.phone.active != 0 && number != Call::HangUp as u64 {
            self.misused_phone(slot);
            return;
        }
        let result = match Call::from_raw(number) {
            Some(call) => self.carry_out(slot, call),
            None => self.old_call(slot, number).map(|()| Done::Answered),
        };
        if self.is_tapped() {
            self.tap_call(pid, number, first, result.as_ref().err().copied());
        }
        match result {
            Ok(Done::Answered) => {}
            Ok(Done::Value(value)) => {
                let context = &mut self.process(slot).d.context;
                context.rax = 0;
                context.rdi = value;
            }
            // A reserved page found no frame. Nothing has been done yet, so the call can be made again.
            Err(_) if self.is_starved() && self.out_of_memory(slot) => self.restart(slot),
            Err(error) => self.refuse(slot, pid, (number, first), error),
        }
    }

    #[inline(never)]
    fn refuse(&mut self, slot: Slot, pid: Pid, (number, first): (u64, u64), error: Error) {
        self.process(slot).d.context.rax = error as u64;
        self.counters().refusals += 1;
        // A program's place in the boot module depends on how that was packed.
        let about = if number == Call::Spawn as u64 { 0 } else { first };
        self.emit(Kind::Refused, pid, number as u32, error as u64, about);
    }

    /// Makes a process in ring 3 repeat its system call when it next runs, if it has not been ended.
    #[inline(never)]
    fn restart(&mut self, slot: Slot) {
        if self.current() == slot && self.may_be_set_back(slot) {
            self.set_back(slot);
        }
    }

    #[inline(always)]
    fn carry_out(&mut self, slot: Slot, call: Call) -> Result<Done, Error> {
        let answered = match call {
            Call::Exit => make!(self.exit(slot)),
            Call::Yield => self.rest(slot),
            Call::Sleep => make!(self.sleep(slot)),
            Call::Call => make!(self.call(slot)),
            Call::Receive => make!(self.receive(slot)),
            Call::Reply => make!(self.reply(slot)),
            Call::Wait => make!(self.wait(slot)),
            Call::Kill => make!(self.kill(slot)),
            Call::Post => make!(self.post(slot)),
            Call::Collect => make!(self.collect(slot)),
            Call::Signal => make!(self.signal(slot)),
            Call::Return => self.return_from_signal(slot),
            Call::Phone => make!(self.phone(slot)),
            Call::HangUp => make!(self.hang_up(slot)),
            Call::Acknowledge => self.acknowledge(slot),
            // Those that return a value, or nothing but success.
            Call::Grow => return make!(self.grow(slot)).map(Done::Value),
            Call::Spawn => return make!(self.spawn_for(slot)).map(Done::Value),
            Call::Query => return make!(self.query(slot)).map(Done::Value),
            Call::Attach => return make!(self.attach(slot)).map(Done::Value),
            Call::Bind => return make!(self.bind(slot)).map(Done::success),
            Call::Pet => return make!(self.pet(slot)).map(Done::success),
            Call::Print => return make!(self.print(slot)).map(Done::success),
            Call::Handle => return make!(self.handle(slot)).map(Done::success),
            Call::Examine => return make!(self.examine(slot)).map(Done::success),
            Call::Tag => return make!(self.tag(slot)).map(Done::success),
            Call::Grant => return make!(self.grant(slot)).map(Done::success),
        };
        answered.map(|()| Done::Answered)
    }

    #[inline(always)]
    fn exit(&mut self, slot: Slot, ExitArguments { status }: ExitArguments) -> Result<(), Error> {
        let pid = self.process(slot).d.pid;
        let status = status & EXIT_STATUS;
        self.emit(Kind::Exit, pid, status as u32, 0, 0);
        self.end(slot, status);
        Ok(())
    }

    #[inline(always)]
    fn rest(&mut self, slot: Slot) -> Result<(), Error> {
        self.process(slot).d.context.rax = 0;
        self.request_switch();
        Ok(())
    }

    #[inline(always)]
    fn sleep(&mut self, slot: Slot, SleepArguments { ticks }: SleepArguments) -> Result<(), Error> {
        let due = self.due_in(ticks.max(1));
        self.timers().set(slot, due);
        self.block(slot, State::Sleeping);
        Ok(())
    }

    #[inline(never)]
    fn spawn_for(&mut self, slot: Slot, arguments: SpawnArguments) -> Result<u64, Error> {
        self.only_root(slot)?;
        let SpawnArguments { program, uid, priority, argument } = arguments;
        let birth = Birth {
            program: usize::try_from(program).map_err(|_| Error::NotFound)?,
            parent: self.process(slot).d.pid,
            uid: u32::try_from(uid).map_err(|_| Error::Invalid)?,
            priority: u8::try_from(priority)
                .ok()
                .filter(|p| usize::from(*p) < PRIORITIES)
                .ok_or(Error::Invalid)?,
            argument,
        };
        self.spawn(birth).map(|pid| u64::from(pid.0))
    }

    #[inline(never)]
    fn kill(&mut self, slot: Slot, KillArguments { pid }: KillArguments) -> Result<(), Error> {
        self.only_root(slot)?;
        let victim = self.find_named(pid).ok_or(Error::Dead)?;
        let (by, pid) = (self.process(slot).d.pid, self.process(victim).d.pid);
        if self.process(victim).d.state == State::Zombie as u8 {
            return Err(Error::Dead);
        }
        self.process(slot).d.context.rax = 0;
        if self.process(victim).d.ring == 0 {
            self.doom(victim, by);
            return Ok(());
        }
        self.emit(Kind::Kill, pid, 0, u64::from(by.0), 0);
        self.end(victim, KILLED);
        Ok(())
    }

    fn only_root(&mut self, slot: Slot) -> Result<(), Error> {
        if self.process(slot).d.uid == 0 { Ok(()) } else { Err(Error::Denied) }
    }

    /// Grows the heap by whole pages and returns the address of the first new one. Pages are only reserved:
    /// each is given when it is first touched.
    #[inline(never)]
    fn grow(&mut self, slot: Slot, GrowArguments { bytes }: GrowArguments) -> Result<u64, Error> {
        let pages = bytes.div_ceil(PAGE_SIZE);
        let first = u64::from(self.process(slot).heap);
        let start = USER_HEAP + first * PAGE_SIZE;
        if pages == 0 || pages > (USER_HEAP_END - start) / PAGE_SIZE {
            return Err(Error::Invalid);
        }
        self.process(slot).heap += pages as u32;
        Ok(start)
    }

    #[inline(never)]
    fn pet(&mut self, slot: Slot, PetArguments { code }: PetArguments) -> Result<(), Error> {
        let process = self.process(slot);
        let pid = process.d.pid;
        if process.d.keys & Keys::WATCHDOG == 0 {
            return Err(Error::Denied);
        }
        self.hw().pet_watchdog((code & 15) as u8);
        self.info_mut().last_pet = self.now();
        self.counters().pets += 1;
        self.emit(Kind::Pet, pid, 0, 0, 0);
        Ok(())
    }

    #[inline(never)]
    fn print(&mut self, slot: Slot, arguments: PrintArguments) -> Result<(), Error> {
        let PrintArguments { length, text0, text1, text2, text3, text4 } = arguments;
        let words = [text0, text1, text2, text3, text4];
        let mut text = [0; 40];
        if length > text.len() as u64 {
            return Err(Error::Invalid);
        }
        for (bytes, word) in text.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let name = self.process(slot).d.name;
        let name = &name[..name.iter().position(|b| *b == 0).unwrap_or(16)];
        self.hw().print(name);
        self.hw().print(b": ");
        self.hw().print(&text[..length as usize]);
        self.hw().print(b"\n");
        Ok(())
    }

    #[inline(always)]
    fn query(&mut self, slot: Slot, arguments: QueryArguments) -> Result<u64, Error> {
        let QueryArguments { what, which } = arguments;
        Ok(match Query::from_raw(what).ok_or(Error::Invalid)? {
            Query::Me => u64::from(self.process(slot).d.pid.0),
            Query::Tick => self.now(),
            Query::Crashes => self.counters().crashes,
            Query::Alive => u64::from(self.info().alive),
            Query::Slot => {
                let index = usize::try_from(which).ok().filter(|index| *index < PROCESS_SLOTS);
                let slot = Slot::new(index.ok_or(Error::Invalid)?);
                if self.is_taken(slot) { u64::from(self.process(slot).d.pid.0) } else { 0 }
            }
            Query::Load => self.params().load(which).ok_or(Error::Invalid)?,
        })
    }
}
