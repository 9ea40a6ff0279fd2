//! The guest image by itself: its instructions, and its behaviour with QEMU's own devices, without a
//! doorbell.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, Mnemonic};
use object::{Object, ObjectSection};
use tests::{architect_path, skip};

/// The image lies beside the command.
fn image() -> PathBuf {
    architect_path().with_file_name("matrix.elf")
}

/// QEMU with the image; killed when dropped.
struct Qemu {
    child: Child,
    lines: Receiver<String>,
}

impl Qemu {
    fn start(memory_mib: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-display", "none", "-serial", "stdio", "-no-reboot", "-m", memory_mib])
            .args(["-device", "ib700", "-action", "watchdog=inject-nmi", "-kernel"])
            .arg(image())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| skip(&format!("qemu-system-x86_64: {error}")));
        let stdout = child.stdout.take().expect("a pipe was asked for");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// All lines until one contains `wanted`, or the end, or the time limit.
    fn until(&self, wanted: &str, limit: Duration) -> Result<Vec<String>, Vec<String>> {
        let begin = Instant::now();
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(limit.saturating_sub(begin.elapsed())) {
                Ok(line) => {
                    seen.push(line);
                    if seen.last().is_some_and(|line| line.contains(wanted)) {
                        return Ok(seen);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Err(seen),
            }
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_image_runs_under_qemu_without_a_doorbell() {
    let qemu = Qemu::start("32", &[]);
    qemu.until("matrix: up", Duration::from_secs(60)).expect("the kernel says that it is up");
    // Its watchdog is armed for two seconds of real time: without pets this would end in an NMI.
    let silence = qemu.until("nmi:", Duration::from_secs(6)).expect_err("the daemon keeps petting");
    assert!(silence.is_empty(), "{silence:?}");
}

#[test]
fn the_image_meets_the_nmi_of_qemus_own_watchdog() {
    let crowd = "people=60 spawn-every=5 pages=4 patience=200 rounds=6 work=40 fronts=4 watchdog-ticks=200 seed=6 \
                 start=watchdogd:1:0:1:14,nursery:1:0:3:client,store:1:100:2:2100,front:4:100:3:2000,batch:3:1000:5:0";
    let qemu = Qemu::start("5", &["-append", crowd]);
    let lines = qemu.until("resetting", Duration::from_secs(120)).unwrap_or_else(|seen| panic!("{seen:#?}"));
    let text = lines.join("\n");
    // The load ends it by crashed processes or a panic. Both expire the watchdog.
    assert!(text.contains("petting no more") || text.contains("panic:"), "{text}");
    assert!(text.contains("critical") && text.contains("rip "), "{text}");
}

/// Instructions that hosts which interpret ring 0 cannot execute, or execute as other instructions.
fn is_risky(instruction: &iced_x86::Instruction) -> bool {
    use Mnemonic::*;
    // The compiler writes BSF with this prefix where the operand is not zero: either instruction gives the
    // same.
    if instruction.mnemonic() == Tzcnt {
        return false;
    }
    let vector = instruction.cpuid_features().iter().any(|feature| {
        let name = format!("{feature:?}");
        ["SSE", "AVX", "BMI", "MMX", "XSAVE", "FPU"].iter().any(|part| name.contains(part))
            || matches!(
                feature,
                CpuidFeature::ADX | CpuidFeature::POPCNT | CpuidFeature::MOVBE | CpuidFeature::LZCNT
            )
    });
    let single = matches!(
        instruction.mnemonic(),
        Crc32
            | Cmpxchg16b
            | Rdtscp
            | Rdtsc
            | Rdrand
            | Rdseed
            | Rdpid
            | Monitor
            | Mwait
            | Invpcid
            | Lar
            | Verr
            | Stac
            | Clac
            | Int
            | Int1
            | Int3
            | Sysenter
            | Vmcall
            | Vmmcall
    );
    vector || single || instruction.code() == Code::INVALID
}

#[test]
fn the_kernel_has_only_instructions_that_every_host_carries_out() {
    let bytes = std::fs::read(image()).expect("the image was built with the command");
    let file = object::File::parse(&*bytes).unwrap();
    let text = file.section_by_name(".text").expect("a kernel has text");
    let code = text.data().unwrap();
    let mut decoder = Decoder::with_ip(64, code, text.address(), DecoderOptions::NONE);
    let mut count = 0;
    let mut risky = Vec::new();
    while decoder.can_decode() {
        // The linker pads to the next function's aligned start with breakpoints that are never reached.
        let padding = code[decoder.position()..].iter().take_while(|byte| **byte == 0xcc).count();
        if padding > 0 && (decoder.ip() + padding as u64).is_multiple_of(16) {
            decoder.set_position(decoder.position() + padding).unwrap();
            decoder.set_ip(decoder.ip() + padding as u64);
            continue;
        }
        let instruction = decoder.decode();
        count += 1;
        if is_risky(&instruction) {
            risky.push(format!("{:#x}: {instruction}", instruction.ip()));
        }
    }
    assert!(count > 5000, "{count} instructions");
    assert!(risky.is_empty(), "{risky:#?}");
}
