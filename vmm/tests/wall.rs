//! Real time and kicks, without a guest.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use devices::watchdog::Deadline;
use vmm::wall::{Wall, WallConfig, WallEvent};

const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_secs(20);

fn next(events: &Receiver<WallEvent>) -> WallEvent {
    events.recv_timeout(LATE).expect("an event")
}

#[test]
fn a_kick_interrupts_a_thread_until_it_is_answered() {
    let (wall, events) = Wall::spawn(WallConfig { timeout: Some(SOON), ..WallConfig::default() }).unwrap();
    let kick = wall.kick();
    assert!(!kick.take());
    // As good as KVM_RUN: a call that would wait for ever, several times over.
    let (mut here, _there) = UnixStream::pair().unwrap();
    for _ in 0..3 {
        let error = here.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
    }
    assert!(kick.take() && !kick.take());
    assert_eq!(next(&events), WallEvent::Timeout);
    // Answered: nothing interrupts any more.
    std::thread::sleep(SOON);
    here.set_read_timeout(Some(10 * SOON)).unwrap();
    assert_eq!(here.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn only_the_last_countdown_of_the_watchdog_comes_due() {
    let (wall, events) = Wall::spawn(WallConfig::default()).unwrap();
    for generation in 1..=3 {
        wall.set_watchdog(Some(Deadline { generation, after: SOON * 2 / generation as u32 }));
    }
    assert_eq!(next(&events), WallEvent::Watchdog(3));
    wall.set_watchdog(Some(Deadline { generation: 4, after: SOON }));
    wall.set_watchdog(None);
    assert!(events.recv_timeout(5 * SOON).is_err());
}

#[test]
fn a_guest_that_is_not_heard_is_told_silent() {
    let begin = Instant::now();
    let budget = Duration::from_millis(200);
    let (wall, events) = Wall::spawn(WallConfig { silence: Some(budget), ..WallConfig::default() }).unwrap();
    while begin.elapsed() < 2 * budget {
        wall.heard();
        std::thread::sleep(Duration::from_millis(5));
    }
    let quiet = Instant::now();
    assert_eq!(next(&events), WallEvent::Silence);
    assert!(quiet.elapsed() > budget / 2, "{:?}", quiet.elapsed());
}

#[test]
fn output_is_flushed_soon_and_once() {
    let (wall, events) = Wall::spawn(WallConfig::default()).unwrap();
    wall.flush_later();
    wall.flush_later();
    assert_eq!(next(&events), WallEvent::Flush);
    assert!(events.recv_timeout(5 * SOON).is_err());
}

#[test]
fn patience_runs_out_only_when_the_run_is_over() {
    let (wall, _events) = Wall::spawn(WallConfig::default()).unwrap();
    let patience = wall.patience();
    assert!(!patience.is_over());
    wall.finish_output();
    assert!(!patience.is_over());
    std::thread::sleep(Duration::from_millis(1100));
    assert!(patience.is_over());
}
