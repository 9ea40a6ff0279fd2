//! Services: processes that were started at boot and are meant to run.
//!
//! ```text
//! NONE --start--> RUNS --ended with status 0--> DONE
//!                 RUNS --crashed or killed----> DOWN --the host's command--> RUNS
//!                 RUNS --tagged, and no daemon--> BARRED
//! ```
//!
//! The kernel itself restarts no service. Whether a service that is down should run again is a matter of
//! policy, which the monitor decides: it sees the whole machine.

use abi::process::State;
use abi::service::{SERVICE_BARRED, SERVICE_DONE, SERVICE_DOWN, SERVICE_NONE, SERVICE_RUNS, Service};
use abi::syscall::{Error, FIRST_PERSON};
use abi::trace::Kind;
use abi::{Frame, Pid};

use super::lives::Birth;
use super::{ORDERED, Processes, TAGGED};
use crate::base::hardware::Hardware;
use crate::base::index::Slot;

impl<H: Hardware> Processes<H> {
    /// Starts a process of the start list. If it cannot be started, its service is down; if the table is
    /// full, it is a process like any other.
    pub fn start_service(&mut self, birth: Birth) -> Result<Pid, Error> {
        let Some(place) = self.services.iter().position(|service| service.state == SERVICE_NONE) else {
            return self.spawn(birth);
        };
        self.services[place] = Service {
            program: birth.program as u32,
            uid: birth.uid,
            argument: birth.argument,
            priority: birth.priority,
            state: SERVICE_DOWN,
            ..Service::default()
        };
        self.bring_up(place)
    }

    fn bring_up(&mut self, place: usize) -> Result<Pid, Error> {
        let Service { program, uid, argument, priority, .. } = self.services[place];
        let birth = Birth { program: program as usize, parent: Pid::NONE, uid, priority, argument };
        let pid = self.spawn(birth)?;
        self.process(Slot::of(pid)).d.service = place as u16 + 1;
        let now = self.now();
        let service = &mut self.services[place];
        service.pid = pid;
        service.state = SERVICE_RUNS;
        service.started = now;
        Ok(pid)
    }

    /// The place in the service table of the service whose process is in `slot`.
    pub(crate) fn service_of(&mut self, slot: Slot) -> Option<usize> {
        let process = self.process(slot);
        let (pid, place) = (process.d.pid, usize::from(process.d.service).checked_sub(1)?);
        self.services.get(place).filter(|service| service.pid == pid).map(|_| place)
    }

    /// Notes that a process has ended with `status`: if it was a service, that is done, barred or down.
    pub(crate) fn service_ended(&mut self, slot: Slot, status: u64) {
        let Some(place) = self.service_of(slot) else { return };
        let service = &mut self.services[place];
        service.state = match status {
            0 => SERVICE_DONE,
            TAGGED if service.uid >= FIRST_PERSON => SERVICE_BARRED,
            _ => SERVICE_DOWN,
        };
        let (pid, warm, state) = (service.pid, Frame(u64::from(service.warm)), service.state);
        if warm == Frame(0) {
            return;
        }
        if state == SERVICE_DOWN {
            // The next process of the service will ask for it.
            self.change_owner(warm, Pid::NONE);
        } else {
            // It will not be restarted.
            service.warm = 0;
            self.take_back(pid, warm);
        }
    }

    /// Ends a process by order of the host.
    pub(crate) fn end_by_order(&mut self, pid: Pid) {
        let Some(slot) = self.find(pid) else { return };
        let process = self.process(slot);
        if process.d.ring == 0 || process.d.state == State::Zombie as u8 {
            return;
        }
        self.emit(Kind::Kill, pid, 0, u64::from(Pid::NONE.0), 0);
        self.end(slot, ORDERED);
    }

    /// Starts a service that is down once more.
    pub(crate) fn start_again(&mut self, place: usize) {
        let Some(service) = self.services.get(place).filter(|service| service.state == SERVICE_DOWN) else {
            return;
        };
        let before = service.pid;
        // Without memory it stays down; the host sees that and may order it again.
        if let Ok(pid) = self.bring_up(place) {
            let service = &mut self.services[place];
            service.restarts += 1;
            let restarts = service.restarts;
            self.counters().restarts += 1;
            self.emit(Kind::Restarted, pid, place as u32, u64::from(before.0), u64::from(restarts));
        }
    }

    /// The state page that a service keeps through a restart, if it has one.
    pub(crate) fn warm_page(&self, place: usize) -> Option<Frame> {
        Some(Frame(u64::from(self.services[place].warm))).filter(|frame| *frame != Frame(0))
    }

    /// Makes a frame the state page that a service keeps through a restart.
    pub(crate) fn set_warm_page(&mut self, place: usize, frame: Frame) {
        self.services[place].warm = frame.0 as u32;
    }
}

#[cfg(test)]
impl<H> Processes<H> {
    /// The service table.
    pub(crate) fn services(&self) -> &[Service; abi::service::SERVICE_SLOTS] {
        self.services
    }
}
