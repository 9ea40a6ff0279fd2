//! The watchdog: an IB700, a timer card that resets a machine whose software has stopped petting it. Its
//! first stage can notify the guest by an NMI, and its second one reset it.
//!
//! | port | access | register | a write of v |
//! |---|---|---|---|
//! | 0x441 | write, 8 bits | stop | any value disarms |
//! | 0x443 | write, 8 bits | start | arms, or pets: restarts the countdown at 30 - 2 * (v & 15) seconds |
//!
//! Both read as all ones.
//!
//! Source: the manual's text in Linux `drivers/watchdog/ib700wdt.c`; QEMU `hw/watchdog/wdt_ib700.c`, in which
//! an expired timer is disarmed as well. Unlike in QEMU, each register is one port wide, so that the manual's
//! `OUT DX,AX` does what the manual says (QEMU arms a second time with AH).
//!
//! The two stages are an extension: at the expiry of the first one the countdown restarts for the second, and
//! a pet returns to the first.
//!
//! The device owns no clock; see [`Timeout`].

use serde::{Deserialize, Serialize};
use std::time::Duration;

use abi::layout::PORT_WATCHDOG_START;

pub use crate::stages::{ParseError, Stages, WatchdogAction};
use crate::{Action, PortDevice};

/// The unit of a countdown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeout {
    /// Real seconds, as many as the guest requests. The VMM sets a timer for [`Watchdog::deadline`] and calls
    /// [`Watchdog::expire`] when it fires.
    Wall,
    /// This many ticks of virtual time, whatever the guest requests. The VMM calls [`Watchdog::advance`].
    Ticks(u64),
}

/// The expiry of the current stage, in wall mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// The number of the countdown, for [`Watchdog::expire`].
    pub generation: u64,
    /// The time from the start of the countdown, which is the last pet or the expiry of the first stage.
    pub after: Duration,
}

/// A stage has expired.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired {
    /// The stage, 1 or 2.
    pub stage: u8,
    /// The action to carry out.
    pub action: WatchdogAction,
    /// Whether the watchdog is now disarmed; otherwise the countdown of the next stage has started.
    pub last: bool,
}

/// The state of the watchdog.
///
/// ```text
///               start                    expired, two stages
///   Disarmed ----------> Armed, stage 1 ---------------------> Armed, stage 2
///      ^                  |    ^   |  ^                         |   |
///      |  stop            |    |___|  |________start____________|   |
///      |  expired, one    |    start                                |
///      |__________________|_________________stop, expired___________|
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum State {
    /// No countdown.
    #[default]
    Disarmed,
    /// A countdown is running.
    Armed {
        /// The stage that expires at its end, 1 or 2.
        stage: u8,
        /// The seconds that the guest requested.
        seconds: u8,
        /// The remaining ticks in tick mode; 0 in wall mode.
        ticks_left: u64,
    },
}

/// Counts of accesses and expiries since the last [`Watchdog::take_counts`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Writes to the start port: the first one arms, the later ones pet.
    pub pets: u64,
    /// Writes to the stop port.
    pub stops: u64,
    /// Stages that expired.
    pub expirations: u64,
}

/// The card.
#[derive(Clone, Debug)]
pub struct Watchdog {
    timeout: Timeout,
    stages: Stages,
    state: State,
    generation: u64,
    counts: Counts,
    /// Pets still to be ignored, by an injected fault.
    deaf: u64,
}

impl Watchdog {
    /// Creates a disarmed watchdog.
    pub const fn new(timeout: Timeout, stages: Stages) -> Self {
        Self {
            timeout,
            stages,
            state: State::Disarmed,
            generation: 0,
            counts: Counts { pets: 0, stops: 0, expirations: 0 },
            deaf: 0,
        }
    }

    /// Injects a fault of the line: the next `pets` writes to the start port are lost. They are counted and
    /// have no effect.
    pub fn lose_pets(&mut self, pets: u64) {
        self.deaf = self.deaf.saturating_add(pets);
    }

    /// Handles a write to the start port.
    pub fn start(&mut self, value: u8) -> Action {
        self.counts.pets += 1;
        if self.deaf > 0 {
            self.deaf -= 1;
            return Action::None;
        }
        self.enter(self.countdown(1, 30 - 2 * (value & 15)));
        Action::WatchdogStarted
    }

    /// Handles a write to the stop port.
    pub fn stop(&mut self) -> Action {
        self.counts.stops += 1;
        self.enter(State::Disarmed);
        Action::WatchdogStopped
    }

    /// Advances virtual time by `ticks`. At most one stage expires in a call, and the rest of `ticks` after
    /// its expiry is dropped: the next stage counts from this call on, so that the guest always has a full
    /// countdown to react. Has no effect in wall mode.
    pub fn advance(&mut self, ticks: u64) -> Option<Expired> {
        match (&mut self.state, self.timeout) {
            (State::Armed { ticks_left, .. }, Timeout::Ticks(_)) if *ticks_left > ticks => {
                *ticks_left -= ticks;
                None
            }
            (State::Armed { stage, seconds, .. }, Timeout::Ticks(_)) => {
                let (stage, seconds) = (*stage, *seconds);
                Some(self.fire(stage, seconds))
            }
            _ => None,
        }
    }

    /// Returns when the VMM's timer should fire; `None` while disarmed, and in tick mode. Call it again after
    /// each [`Action::WatchdogStarted`], expiry and [`Watchdog::restore`].
    pub fn deadline(&self) -> Option<Deadline> {
        match (self.state, self.timeout) {
            (State::Armed { seconds, .. }, Timeout::Wall) => {
                Some(Deadline { generation: self.generation, after: Duration::from_secs(u64::from(seconds)) })
            }
            _ => None,
        }
    }

    /// Expires the countdown `generation`, whose timer has fired. A late timer, for a countdown that has
    /// ended since, has no effect.
    ///
    /// It works in tick mode too, for a guest in which virtual time no longer passes.
    pub fn expire(&mut self, generation: u64) -> Option<Expired> {
        match self.state {
            State::Armed { stage, seconds, .. } if generation == self.generation => {
                Some(self.fire(stage, seconds))
            }
            _ => None,
        }
    }

    /// Returns the number of the current countdown. Each pet, stop, expiry, reset and restore changes it;
    /// numbers are never reused.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns its state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Restores a state. In wall mode a running countdown restarts, as its start is not known. The generation
    /// increases, so that earlier timers have no effect; the counts stay.
    pub fn restore(&mut self, state: &State) {
        self.deaf = 0;
        self.enter(*state);
    }

    /// Returns the unit of countdowns.
    pub const fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// Returns the actions of the stages.
    pub const fn stages(&self) -> Stages {
        self.stages
    }

    /// Returns the counts.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the counts and resets them to zero.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Sets the counts.
    pub(crate) fn count_from(&mut self, counts: Counts) {
        self.counts = counts;
    }

    /// Changes the state. Every start and end of a countdown passes here.
    fn enter(&mut self, state: State) {
        self.generation += 1;
        self.state = state;
    }

    fn countdown(&self, stage: u8, seconds: u8) -> State {
        let ticks_left = match self.timeout {
            Timeout::Wall => 0,
            Timeout::Ticks(ticks) => ticks,
        };
        State::Armed { stage, seconds, ticks_left }
    }

    fn fire(&mut self, stage: u8, seconds: u8) -> Expired {
        self.counts.expirations += 1;
        match (stage, self.stages.second) {
            (1, Some(_)) => {
                self.enter(self.countdown(2, seconds));
                Expired { stage, action: self.stages.first, last: false }
            }
            (1, None) => {
                self.enter(State::Disarmed);
                Expired { stage, action: self.stages.first, last: true }
            }
            (_, second) => {
                self.enter(State::Disarmed);
                Expired { stage, action: second.unwrap_or(self.stages.first), last: true }
            }
        }
    }
}

impl PortDevice for Watchdog {
    #[inline]
    fn write_port(&mut self, port: u16, value: u8) -> Action {
        if port == PORT_WATCHDOG_START { self.start(value) } else { self.stop() }
    }

    /// Both registers read as all ones.
    #[inline]
    fn read_port(&mut self, _port: u16) -> (u8, Action) {
        (0xff, Action::None)
    }

    /// Disarms the watchdog. The counts stay.
    fn reset(&mut self) {
        self.restore(&State::Disarmed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NMI_RESET: Stages = Stages::two(WatchdogAction::Nmi, WatchdogAction::Reset);
    const NMI: Expired = Expired { stage: 1, action: WatchdogAction::Nmi, last: false };
    const RESET: Expired = Expired { stage: 2, action: WatchdogAction::Reset, last: true };

    fn armed(timeout: Timeout, stages: Stages) -> Watchdog {
        let mut watchdog = Watchdog::new(timeout, stages);
        assert_eq!(watchdog.start(0), Action::WatchdogStarted);
        watchdog
    }

    #[test]
    fn the_guest_chooses_the_seconds_as_the_manual_says() {
        let mut watchdog = Watchdog::new(Timeout::Wall, Stages::default());
        for (value, seconds) in [(0, 30), (1, 28), (7, 16), (14, 2), (15, 0), (0x10, 30), (0xff, 0)] {
            let _ = watchdog.start(value);
            assert_eq!(watchdog.deadline().map(|d| d.after), Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn one_stage_expires_once() {
        let mut watchdog = armed(Timeout::Ticks(10), Stages::default());
        assert_eq!(watchdog.advance(9), None);
        let expired = Expired { stage: 1, action: WatchdogAction::Reset, last: true };
        assert_eq!(watchdog.advance(1), Some(expired));
        assert_eq!((watchdog.advance(u64::MAX), watchdog.state()), (None, State::Disarmed));
        assert_eq!(watchdog.counts(), Counts { pets: 1, stops: 0, expirations: 1 });
    }

    #[test]
    fn the_second_stage_has_a_countdown_of_its_own() {
        let mut watchdog = armed(Timeout::Ticks(10), NMI_RESET);
        assert_eq!(watchdog.advance(10), Some(NMI));
        assert_eq!(watchdog.advance(9), None);
        assert_eq!(watchdog.advance(1), Some(RESET));
        assert_eq!(watchdog.state(), State::Disarmed);
    }

    #[test]
    fn a_pet_between_the_stages_makes_it_the_first_again() {
        let mut watchdog = armed(Timeout::Ticks(10), NMI_RESET);
        assert_eq!(watchdog.advance(10), Some(NMI));
        assert_eq!(watchdog.advance(5), None);
        let _ = watchdog.start(0);
        assert_eq!(watchdog.advance(10), Some(NMI));
    }

    #[test]
    fn a_leap_over_both_stages_expires_one_and_leaves_the_other_whole() {
        let mut watchdog = armed(Timeout::Ticks(10), NMI_RESET);
        assert_eq!(watchdog.advance(1000), Some(NMI));
        assert_eq!(watchdog.advance(9), None);
        assert_eq!(watchdog.advance(u64::MAX), Some(RESET));
    }

    #[test]
    fn pets_that_are_lost_are_counted_and_do_nothing() {
        let mut watchdog = armed(Timeout::Ticks(10), NMI_RESET);
        watchdog.lose_pets(2);
        for _ in 0..2 {
            assert_eq!((watchdog.advance(4), watchdog.start(0)), (None, Action::None));
        }
        assert_eq!(watchdog.advance(2), Some(NMI));
        assert_eq!(watchdog.counts().pets, 3);
        assert_eq!(watchdog.start(0), Action::WatchdogStarted);
        assert_eq!(watchdog.advance(9), None, "the next pet counts");
        watchdog.lose_pets(1);
        watchdog.reset();
        assert_eq!(watchdog.start(0), Action::WatchdogStarted, "a reset ends the fault");
    }

    #[test]
    fn a_stopped_watchdog_is_silent() {
        let mut watchdog = armed(Timeout::Ticks(10), NMI_RESET);
        assert_eq!(watchdog.stop(), Action::WatchdogStopped);
        assert_eq!(watchdog.advance(u64::MAX), None);
        assert_eq!(watchdog.expire(watchdog.generation()), None);
    }

    #[test]
    fn in_wall_mode_ticks_do_nothing_and_a_late_timer_is_ignored() {
        let mut watchdog = armed(Timeout::Wall, NMI_RESET);
        assert_eq!(watchdog.advance(u64::MAX), None);
        let old = watchdog.deadline().unwrap();
        let _ = watchdog.start(14);
        assert_eq!(watchdog.expire(old.generation), None);
        let first = watchdog.deadline().unwrap();
        assert_eq!(watchdog.expire(first.generation), Some(NMI));
        assert_eq!(watchdog.expire(first.generation), None);
        let second = watchdog.deadline().unwrap();
        assert_eq!(second.after, Duration::from_secs(2));
        assert_eq!(watchdog.expire(second.generation), Some(RESET));
        assert_eq!(watchdog.deadline(), None);
    }

    #[test]
    fn a_guest_without_virtual_time_can_still_be_expired() {
        let mut watchdog = armed(Timeout::Ticks(10), NMI_RESET);
        assert_eq!(watchdog.deadline(), None);
        assert_eq!(watchdog.expire(watchdog.generation()), Some(NMI));
    }

    #[test]
    fn a_restored_countdown_goes_on_and_old_timers_do_not_count() {
        let mut watchdog = armed(Timeout::Ticks(10), NMI_RESET);
        assert_eq!(watchdog.advance(3), None);
        let (state, generation) = (watchdog.state(), watchdog.generation());
        assert_eq!(watchdog.advance(7), Some(NMI));
        watchdog.restore(&state);
        assert_eq!(watchdog.expire(generation), None);
        assert_eq!(watchdog.advance(6), None);
        assert_eq!(watchdog.advance(1), Some(NMI));
    }

    /// A model of the watchdog by the clock: which stage is due when.
    struct Model {
        now: u64,
        due: Option<(u8, u64)>,
        ticks: u64,
        stages: u8,
    }

    impl Model {
        fn advance(&mut self, ticks: u64) -> Option<u8> {
            self.now += ticks;
            let (stage, due) = self.due?;
            if self.now < due {
                return None;
            }
            self.due = (stage < self.stages).then_some((stage + 1, self.now + self.ticks));
            Some(stage)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Start(u8),
        Stop,
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => any::<u8>().prop_map(Step::Start),
            1 => Just(Step::Stop),
            6 => (0_u64..30).prop_map(Step::Advance),
        ]
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_model(
            ticks in 0_u64..40,
            two in any::<bool>(),
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let stages = if two { NMI_RESET } else { Stages::default() };
            let mut watchdog = Watchdog::new(Timeout::Ticks(ticks), stages);
            let mut model = Model { now: 0, due: None, ticks, stages: 1 + u8::from(two) };
            let mut counts = Counts::default();
            for step in steps {
                match step {
                    Step::Start(value) => {
                        prop_assert_eq!(watchdog.start(value), Action::WatchdogStarted);
                        model.due = Some((1, model.now + ticks));
                        counts.pets += 1;
                    }
                    Step::Stop => {
                        prop_assert_eq!(watchdog.stop(), Action::WatchdogStopped);
                        model.due = None;
                        counts.stops += 1;
                    }
                    Step::Advance(ticks) => {
                        let (expired, stage) = (watchdog.advance(ticks), model.advance(ticks));
                        prop_assert_eq!(expired.map(|e| e.stage), stage);
                        if let Some(expired) = expired {
                            prop_assert_eq!(expired.last, model.due.is_none());
                            counts.expirations += 1;
                        }
                    }
                }
                let model_state = model.due.map(|(stage, due)| (stage, due - model.now));
                let state = match watchdog.state() {
                    State::Disarmed => None,
                    State::Armed { stage, ticks_left, .. } => Some((stage, ticks_left)),
                };
                prop_assert_eq!(state, model_state);
                prop_assert_eq!(watchdog.counts(), counts);
            }
        }

        #[test]
        fn only_the_timer_of_the_running_countdown_counts(
            steps in prop::collection::vec((0_u8..4, any::<prop::sample::Index>()), 1..100)
        ) {
            let mut watchdog = Watchdog::new(Timeout::Wall, NMI_RESET);
            let mut timers = vec![0];
            for (step, which) in steps {
                match step {
                    0 => drop(watchdog.start(0)),
                    1 => drop(watchdog.stop()),
                    _ => {
                        let generation = *which.get(&timers);
                        let current = watchdog.deadline().map(|deadline| deadline.generation);
                        prop_assert_eq!(watchdog.expire(generation).is_some(), current == Some(generation));
                    }
                }
                timers.extend(watchdog.deadline().map(|deadline| deadline.generation));
            }
        }
    }
}
