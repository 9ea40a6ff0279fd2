//! The wall's thread: kicks, and the order of its events. What depends on moments of time is tested with
//! moments that are given (`src/wall`), so nothing here fails on a slow host.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use devices::watchdog::Deadline;
use vmm::wall::{Wall, WallConfig, WallEvent};

const SOON: Duration = Duration::from_millis(20);

#[test]
fn a_kick_interrupts_a_thread_until_it_is_answered() {
    let (wall, events) = Wall::spawn(WallConfig { timeout: Some(SOON), ..WallConfig::default() }).unwrap();
    let kick = wall.kick();
    assert!(!kick.take());
    // As good as KVM_RUN: a call that blocks for ever, several times in a row.
    let (mut here, _there) = UnixStream::pair().unwrap();
    for _ in 0..3 {
        assert_eq!(here.read(&mut [0]).unwrap_err().kind(), ErrorKind::Interrupted);
    }
    assert!(kick.take() && !kick.take(), "it is answered once");
    assert_eq!(events.recv(), Ok(WallEvent::Timeout));
}

#[test]
fn a_guest_that_is_never_heard_is_reported_silent() {
    let (_wall, events) = Wall::spawn(WallConfig { silence: Some(SOON), ..WallConfig::default() }).unwrap();
    assert_eq!(events.recv(), Ok(WallEvent::Silence));
}

#[test]
fn output_is_flushed_once_however_often_it_was_asked_for() {
    let (wall, events) = Wall::spawn(WallConfig::default()).unwrap();
    wall.flush_later();
    wall.flush_later();
    assert_eq!(events.recv(), Ok(WallEvent::Flush));
    // A second flush would be due long before this.
    wall.set_watchdog(Some(Deadline { generation: 1, after: 10 * SOON }));
    assert_eq!(events.recv(), Ok(WallEvent::Watchdog(1)));
    drop(wall);
    assert!(events.recv().is_err(), "nothing more was sent");
}

#[test]
fn a_wall_that_was_dropped_sends_nothing_more() {
    let (wall, events) = Wall::spawn(WallConfig::default()).unwrap();
    wall.set_watchdog(Some(Deadline { generation: 1, after: Duration::from_secs(3600) }));
    drop(wall);
    assert!(events.recv().is_err());
}
