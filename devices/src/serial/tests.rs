use super::*;
use proptest::prelude::*;

const INTERRUPT_ENABLE: u8 = 1;
const LINE_STATUS: u8 = 5;

/// Records each write separately; can be made to fail.
#[derive(Default)]
struct Writes {
    writes: Vec<Vec<u8>>,
    flushes: usize,
    broken: bool,
}

impl io::Write for Writes {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.writes.push(data.to_vec());
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        Ok(())
    }
}

fn send(serial: &mut Serial<Writes>, text: &[u8]) {
    for byte in text {
        let _ = serial.write(DATA, *byte);
    }
}

const FIRST: Action = Action::Serial { first_output: true, interrupt: false };
const INTERRUPT: Action = Action::Serial { first_output: false, interrupt: true };

#[test]
fn the_output_sees_whole_lines() {
    let mut serial = Serial::new(Writes::default());
    send(&mut serial, b"one\ntwo\nthr");
    assert_eq!(serial.output().writes, [b"one\n", b"two\n"]);
    assert!(serial.has_unfinished_line());
    serial.flush();
    assert_eq!(serial.output().writes[2], b"thr");
    assert_eq!((serial.output().flushes, serial.bytes_sent()), (1, 11));
    assert!(!serial.has_unfinished_line());
}

#[test]
fn a_line_without_end_is_handed_over_in_pieces() {
    let mut serial = Serial::new(Writes::default());
    send(&mut serial, &[b'x'; GATHERED_MAX + 1]);
    assert_eq!(serial.output().writes, [vec![b'x'; GATHERED_MAX]]);
}

#[test]
fn a_string_is_handed_over_up_to_its_last_line_end() {
    let mut serial = Serial::new(Writes::default());
    assert_eq!(serial.write_all(b"one\ntwo\nthr"), FIRST);
    assert_eq!(serial.output().writes, [b"one\ntwo\n"]);
    assert_eq!(serial.write_all(b""), Action::None);
    assert_eq!(serial.write_all(b"ee\n"), Action::None);
    assert_eq!(serial.output().writes[1], b"three\n");
}

#[test]
fn only_the_first_byte_is_the_first() {
    let mut serial = Serial::new(Writes::default());
    assert_eq!(serial.write(LINE_CONTROL, DLAB), Action::None);
    assert_eq!(serial.write(DATA, 1), Action::None, "a divisor is not output");
    assert_eq!(serial.write(LINE_CONTROL, 3), Action::None);
    assert_eq!(serial.write(DATA, b'a'), FIRST);
    assert_eq!(serial.write(DATA, b'b'), Action::None);
    serial.reset();
    assert_eq!(serial.write(DATA, b'c'), FIRST);
    assert_eq!(serial.bytes_sent(), 3);
}

#[test]
fn broken_output_does_not_stop_the_guest_and_is_told_at_the_end() {
    let mut serial = Serial::new(Writes { broken: true, ..Writes::default() });
    send(&mut serial, b"one\ntwo\n");
    serial.output_mut().broken = false;
    send(&mut serial, b"three\n");
    assert_eq!(serial.output().writes, [b"three\n"]);
    let error = serial.finish().unwrap_err();
    assert_eq!((error.first.kind(), error.lost), (io::ErrorKind::BrokenPipe, 8));
    assert!(serial.finish().is_ok(), "an error is returned once");
}

#[test]
fn an_idle_transmitter_interrupts_once_until_it_is_acknowledged() {
    let mut serial = Serial::new(io::sink());
    assert_eq!(serial.write(INTERRUPT_ENABLE, 2), INTERRUPT);
    assert_eq!(serial.write(DATA, b'a'), FIRST);
    assert_eq!(serial.read(2), (0xc2, Action::None));
    assert_eq!(serial.write(DATA, b'b'), INTERRUPT);
}

#[test]
fn input_that_does_not_fit_follows_when_the_guest_has_read() {
    let mut serial = Serial::new(io::sink());
    assert_eq!(serial.write(INTERRUPT_ENABLE, 1), Action::None);
    assert_eq!(serial.queue_input(&[7; 100]), INTERRUPT);
    assert_eq!(serial.input_waiting(), 36);
    for _ in 0..63 {
        assert_eq!(serial.read(DATA), (7, Action::None));
    }
    assert_eq!(serial.read(DATA), (7, INTERRUPT));
    assert_eq!(serial.input_waiting(), 0);
    assert_eq!(serial.read(LINE_STATUS).0 & 1, 1);
}

#[test]
fn input_waits_while_the_port_is_in_loopback() {
    let mut serial = Serial::new(io::sink());
    let _ = serial.write(MODEM_CONTROL, LOOPBACK);
    let _ = serial.queue_input(b"k");
    let _ = serial.write_all(b"loop");
    assert_eq!(std::array::from_fn(|_| serial.read(DATA).0), *b"loop");
    assert_eq!((serial.input_waiting(), serial.bytes_sent()), (1, 0));
    let _ = serial.write(MODEM_CONTROL, 0);
    assert_eq!(serial.read(DATA).0, b'k');
}

#[test]
fn a_restored_port_is_as_it_was() {
    let mut serial = Serial::new(Writes::default());
    let _ = serial.write(INTERRUPT_ENABLE, 3);
    let _ = serial.queue_input(&[1; 70]);
    let state = serial.state();
    send(&mut serial, b"gone");
    let _ = serial.read(DATA);
    let _ = serial.write(7, 0x55);
    serial.restore(&state);
    assert_eq!(serial.state(), state);
    assert_eq!(serial.output().writes, [b"gone"], "output sent before is kept");
    assert_eq!(serial.read(7), (0, Action::None), "no interrupt is left over");
}

proptest! {
    #[test]
    fn all_input_arrives_in_order(pieces in prop::collection::vec((any::<Vec<u8>>(), 0_usize..200), 0..20)) {
        let mut serial = Serial::new(io::sink());
        let mut arrived = Vec::new();
        let read = |serial: &mut Serial<io::Sink>, arrived: &mut Vec<u8>| {
            let waits = serial.read(LINE_STATUS).0 & 1 != 0;
            if waits {
                arrived.push(serial.read(DATA).0);
            }
            waits
        };
        for (data, reads) in &pieces {
            let _ = serial.queue_input(data);
            for _ in 0..*reads {
                read(&mut serial, &mut arrived);
            }
        }
        while read(&mut serial, &mut arrived) {}
        prop_assert_eq!(arrived, pieces.into_iter().flat_map(|(data, _)| data).collect::<Vec<_>>());
    }
}
