//! `architect boot`: foreign kernels, good and bad, on this machine's KVM.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use iced_x86::code_asm::*;
use rustix::process::{Pid, Signal, kill_process};
use tests::{BASE, Kernel, Outcome, architect, boot, kernel, run, wait};

const SERIAL: u32 = 0x3f8;
const EXIT: u32 = 0xf4;
const WATCHDOG_START: u32 = 0x443;
/// Arms the watchdog for 2 seconds.
const TWO_SECONDS: u32 = 14;
/// Arms the watchdog for 6 seconds.
const SIX_SECONDS: u32 = 12;

/// Ends the guest with this status.
fn exit(a: &mut CodeAssembler, code: u32) {
    a.mov(eax, code).unwrap();
    a.out(EXIT, al).unwrap();
}

/// Writes this text to the serial port.
fn print(a: &mut CodeAssembler, text: &str) {
    a.mov(edx, SERIAL).unwrap();
    for byte in text.bytes() {
        a.mov(eax, u32::from(byte)).unwrap();
        a.out(dx, al).unwrap();
    }
}

/// Loops for ever, with or without halting.
fn hang(a: &mut CodeAssembler, halted: bool) {
    let mut forever = a.create_label();
    a.cli().unwrap();
    a.set_label(&mut forever).unwrap();
    if halted {
        a.hlt().unwrap();
    }
    a.jmp(forever).unwrap();
}

fn arm_watchdog(a: &mut CodeAssembler) {
    a.mov(edx, WATCHDOG_START).unwrap();
    a.mov(eax, TWO_SECONDS).unwrap();
    a.out(dx, al).unwrap();
}

/// A stack, flat segments, and an interrupt table whose NMI goes to `handler`.
fn handle_nmi(a: &mut CodeAssembler, handler: impl FnOnce(&mut CodeAssembler)) {
    let (gdt, idt) = (0x2_0000_u32, 0x2_1000_u32);
    a.mov(esp, 0x8_0000).unwrap();
    let table = [0, 0, 0x0000_ffff, 0x00cf_9a00, 0x0000_ffff, 0x00cf_9200_u32];
    for (n, word) in table.into_iter().enumerate() {
        a.mov(dword_ptr(gdt + 4 * n as u32), word).unwrap();
    }
    a.mov(word_ptr(gdt + 0x100), 23).unwrap();
    a.mov(dword_ptr(gdt + 0x102), gdt).unwrap();
    a.lgdt(ptr(gdt + 0x100)).unwrap();
    // The return address of this call is the handler's.
    let mut behind = a.create_label();
    a.call(behind).unwrap();
    handler(a);
    a.set_label(&mut behind).unwrap();
    a.pop(eax).unwrap();
    a.mov(ecx, eax).unwrap();
    a.and(ecx, 0xffff).unwrap();
    a.or(ecx, 0x8_0000).unwrap();
    a.mov(dword_ptr(idt + 16), ecx).unwrap();
    a.and(eax, 0xffff_0000_u32).unwrap();
    a.or(eax, 0x8e00).unwrap();
    a.mov(dword_ptr(idt + 20), eax).unwrap();
    a.mov(word_ptr(idt + 0x800), 0x7ff).unwrap();
    a.mov(dword_ptr(idt + 0x802), idt).unwrap();
    a.lidt(ptr(idt + 0x800)).unwrap();
}

fn json(kernel: &Kernel, arguments: &[&str]) -> (Outcome, serde_json::Value) {
    let path = kernel.beside("out.json");
    let outcome = boot(kernel, &[arguments, &["--json", path.to_str().unwrap()]].concat());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{e}: {outcome:?}"));
    (outcome, serde_json::from_str(&text).unwrap())
}

#[test]
fn a_foreign_kernel_prints_and_ends_with_its_own_status() {
    for code in [0, 1, 42, 127] {
        let kernel = kernel(|a| {
            print(a, "hello from outside\n");
            exit(a, code);
        });
        let outcome = boot(&kernel, &[]);
        assert_eq!(outcome.status, Some(code as i32), "{outcome:?}");
        assert_eq!(outcome.stdout, "hello from outside\n");
        assert_eq!(outcome.stderr, "");
    }
}

#[test]
fn the_report_counts_what_happened() {
    let kernel = kernel(|a| {
        print(a, "12345");
        a.mov(edx, 0x999).unwrap();
        a.in_(al, dx).unwrap();
        a.out(dx, eax).unwrap();
        arm_watchdog(a);
        exit(a, 3);
    });
    let (outcome, report) = json(&kernel, &[]);
    assert_eq!(outcome.status, Some(3), "{outcome:?}");
    assert_eq!(report["version"], 1);
    assert_eq!((&report["end"], &report["code"]), (&"exit".into(), &3.into()));
    assert_eq!(report["serial_bytes"], 5);
    assert_eq!(report["stray"], serde_json::json!({"reads": 1, "writes": 1}));
    assert_eq!(report["watchdog"], serde_json::json!({"pets": 1, "expirations": 0}));
    // On a busy host, signals may interrupt the guest as well.
    assert!(report["exits"].as_u64().unwrap() > 5 + 2 + 1, "{report}");
    assert!(report["wall_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_kernel_finds_the_state_that_pvh_promises() {
    // Each check that fails ends with its own status.
    let kernel = kernel(|a| {
        let mut check = 100;
        let mut must_be_equal = |a: &mut CodeAssembler| {
            let mut good = a.create_label();
            a.je(good).unwrap();
            exit(a, check);
            a.set_label(&mut good).unwrap();
            check += 1;
        };
        a.cmp(dword_ptr(ebx), 0x336e_c578).unwrap();
        must_be_equal(a);
        a.cmp(dword_ptr(ebx + 4), 1).unwrap();
        must_be_equal(a);
        a.mov(eax, cr0).unwrap();
        a.and(eax, 0x8000_0001_u32).unwrap();
        a.cmp(eax, 1).unwrap();
        must_be_equal(a);
        a.mov(eax, cr4).unwrap();
        a.cmp(eax, 0).unwrap();
        must_be_equal(a);
        a.mov(esp, 0x8_0000).unwrap();
        a.pushfd().unwrap();
        a.pop(eax).unwrap();
        // Virtual-8086, interrupts and single step are off.
        a.and(eax, 0x2_0300).unwrap();
        a.cmp(eax, 0).unwrap();
        must_be_equal(a);
        // Data segments reach everywhere.
        a.mov(eax, dword_ptr(0x10_0000)).unwrap();
        a.cmp(eax, dword_ptr(BASE as u32)).unwrap();
        must_be_equal(a);
        exit(a, 0);
    });
    let outcome = boot(&kernel, &[]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
}

#[test]
fn a_kernel_finds_its_command_line_and_its_module() {
    let kernel = kernel(|a| {
        // The command line, byte by byte.
        let (mut next, mut done) = (a.create_label(), a.create_label());
        a.mov(edx, SERIAL).unwrap();
        a.mov(esi, dword_ptr(ebx + 24)).unwrap();
        a.set_label(&mut next).unwrap();
        a.lodsb().unwrap();
        a.test(al, al).unwrap();
        a.je(done).unwrap();
        a.out(dx, al).unwrap();
        a.jmp(next).unwrap();
        a.set_label(&mut done).unwrap();
        // The module, as one string.
        a.mov(edi, dword_ptr(ebx + 16)).unwrap();
        a.mov(esi, dword_ptr(edi)).unwrap();
        a.mov(ecx, dword_ptr(edi + 8)).unwrap();
        a.rep().outsb().unwrap();
        // Its start is at a page.
        a.mov(eax, dword_ptr(edi)).unwrap();
        a.and(eax, 0xfff).unwrap();
        a.out(EXIT, eax).unwrap();
    });
    let text = "module ".repeat(1000);
    let module = kernel.beside("module");
    std::fs::write(&module, &text).unwrap();
    let outcome = boot(&kernel, &["--cmdline", "a=1 b=two;", "--module", module.to_str().unwrap()]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(outcome.stdout, format!("a=1 b=two;{text}"));
}

#[test]
fn the_memory_map_leaves_out_what_is_no_memory() {
    // Writes the memory map out as it is.
    let kernel = kernel(|a| {
        a.mov(edx, SERIAL).unwrap();
        a.mov(esi, dword_ptr(ebx + 40)).unwrap();
        a.imul_3(ecx, dword_ptr(ebx + 48), 24).unwrap();
        a.rep().outsb().unwrap();
        exit(a, 0);
    });
    for (mib, expected) in [
        ("16", vec![(0, 0x9_fc00, 1), (0x9_fc00, 0x6_0400, 2), (0x10_0000, 15 << 20, 1)]),
        (
            "4096",
            vec![
                (0, 0x9_fc00, 1),
                (0x9_fc00, 0x6_0400, 2),
                (0x10_0000, (3 << 30) - 0x10_0000, 1),
                (4 << 30, 1 << 30, 1),
            ],
        ),
    ] {
        let file = kernel.beside("map");
        let outcome = boot(&kernel, &["--mem", mib, "--serial", file.to_str().unwrap()]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        let map = std::fs::read(file).unwrap();
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let found: Vec<_> = map
            .chunks(24)
            .map(|e| (number(&e[..8]), number(&e[8..16]), number(&e[16..]) & 0xffff_ffff))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_triple_fault_ends_with_125() {
    let kernel = kernel(|a| {
        a.mov(word_ptr(0x2_0000), 0).unwrap();
        a.mov(dword_ptr(0x2_0002), 0).unwrap();
        a.lidt(ptr(0x2_0000)).unwrap();
        a.ud2().unwrap();
    });
    let (outcome, report) = json(&kernel, &["--timeout", "30"]);
    assert_eq!(outcome.status, Some(125), "{outcome:?}");
    assert!(outcome.stderr.contains("triple fault"), "{outcome:?}");
    assert_eq!((&report["end"], &report["code"]), (&"triple-fault".into(), &125.into()));
}

#[test]
fn what_kvm_cannot_carry_out_is_the_guests_crash() {
    // There is no code to execute outside of memory.
    let kernel = kernel(|a| {
        a.mov(eax, 0xd000_1230_u32).unwrap();
        a.jmp(eax).unwrap();
    });
    let (outcome, report) = json(&kernel, &["--timeout", "30"]);
    assert_eq!(outcome.status, Some(125), "{outcome:?}");
    assert!(outcome.stderr.contains("0xd0001230"), "{outcome:?}");
    assert_eq!((&report["end"], &report["crash"]["rip"]), (&"crash".into(), &"0xd0001230".into()));
}

#[test]
fn a_guest_that_spins_or_sleeps_with_interrupts_off_ends_at_the_timeout() {
    for halted in [false, true] {
        let kernel = kernel(|a| hang(a, halted));
        let (outcome, report) = json(&kernel, &["--timeout", "1"]);
        assert_eq!(outcome.status, Some(124), "{outcome:?}");
        assert!(outcome.stderr.contains("--timeout"), "{outcome:?}");
        assert_eq!(report["end"], "timeout");
    }
}

#[test]
fn a_guest_that_resets_itself_ends_well() {
    let kernel = kernel(|a| {
        a.mov(eax, 0xfe).unwrap();
        a.out(0x64, al).unwrap();
        hang(a, true);
    });
    let (outcome, report) = json(&kernel, &["--timeout", "30"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.stderr.contains("reset"), "{outcome:?}");
    assert_eq!(report["end"], "reset");
}

#[test]
fn a_watchdog_that_expires_ends_the_guest_with_126() {
    let kernel = kernel(|a| {
        arm_watchdog(a);
        hang(a, true);
    });
    for arguments in [&["--watchdog", "poweroff"][..], &["--watchdog", "reset"], &[]] {
        let (outcome, report) = json(&kernel, &[arguments, &["--timeout", "60"]].concat());
        assert_eq!(outcome.status, Some(126), "{outcome:?}");
        assert!(outcome.stderr.contains("watchdog"), "{outcome:?}");
        assert_eq!(report["end"], "watchdog");
        assert_eq!(report["watchdog"], serde_json::json!({"pets": 1, "expirations": 1}));
    }
}

#[test]
fn the_nmi_reaches_a_guest_that_hangs_with_interrupts_off() {
    for halted in [false, true] {
        let kernel = kernel(|a| {
            handle_nmi(a, |a| {
                print(a, "nmi\n");
                exit(a, 77);
            });
            arm_watchdog(a);
            hang(a, halted);
        });
        let outcome = boot(&kernel, &["--watchdog", "nmi", "--timeout", "60"]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(77), "nmi\n"), "{outcome:?}");
    }
}

#[test]
fn a_guest_that_stays_silent_after_the_nmi_is_reset() {
    let kernel = kernel(|a| {
        handle_nmi(a, |a| {
            print(a, "nmi\n");
            hang(a, false);
        });
        arm_watchdog(a);
        hang(a, true);
    });
    let (outcome, report) = json(&kernel, &["--watchdog", "nmi,reset", "--timeout", "60"]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(126), "nmi\n"), "{outcome:?}");
    assert_eq!(report["watchdog"]["expirations"], 2);
}

#[test]
fn a_guest_that_the_watchdog_has_paused_stands_still_until_the_timeout() {
    let kernel = kernel(|a| {
        arm_watchdog(a);
        hang(a, false);
    });
    let (outcome, report) = json(&kernel, &["--watchdog", "pause", "--timeout", "3"]);
    assert_eq!(outcome.status, Some(124), "{outcome:?}");
    assert!(outcome.stderr.contains("paused"), "{outcome:?}");
    assert_eq!(report["watchdog"]["expirations"], 1);
}

#[test]
fn actions_that_change_nothing_let_the_guest_go_on() {
    let kernel = kernel(|a| {
        arm_watchdog(a);
        hang(a, false);
    });
    for (action, said) in [("none", false), ("debug", true)] {
        let (outcome, report) = json(&kernel, &["--watchdog", action, "--timeout", "3"]);
        assert_eq!(outcome.status, Some(124), "{outcome:?}");
        assert_eq!(outcome.stderr.contains("expired, rip 0x10"), said, "{outcome:?}");
        assert_eq!(report["watchdog"]["expirations"], 1);
    }
}

#[test]
fn a_guest_that_pets_or_stops_its_watchdog_is_left_alone() {
    // Six seconds, because a busy host may not run the guest for some of them.
    let arm = |a: &mut CodeAssembler| {
        a.mov(edx, WATCHDOG_START).unwrap();
        a.mov(eax, SIX_SECONDS).unwrap();
        a.out(dx, al).unwrap();
    };
    for stop in [false, true] {
        let kernel = kernel(|a| {
            let mut again = a.create_label();
            arm(a);
            a.set_label(&mut again).unwrap();
            if stop {
                a.mov(edx, 0x441).unwrap();
                a.out(dx, al).unwrap();
                hang(a, true);
            } else {
                arm(a);
                a.jmp(again).unwrap();
            }
        });
        let (outcome, report) = json(&kernel, &["--timeout", "8"]);
        assert_eq!(outcome.status, Some(124), "{outcome:?}");
        assert_eq!(report["watchdog"]["expirations"], 0);
    }
}

#[test]
fn nonsense_to_every_port_kills_nothing() {
    // Every port once in double words; those where PCs have devices at every width. Exits are slow on some
    // hosts.
    const DEVICES_END: u32 = 0x1000;
    let kernel = kernel(|a| {
        let (mut next, mut skip) = (a.create_label(), a.create_label());
        a.xor(edx, edx).unwrap();
        a.set_label(&mut next).unwrap();
        a.cmp(edx, EXIT).unwrap();
        a.je(skip).unwrap();
        a.mov(eax, 0x5a5a_5a5a).unwrap();
        a.out(dx, eax).unwrap();
        a.in_(eax, dx).unwrap();
        a.cmp(edx, DEVICES_END).unwrap();
        a.jae(skip).unwrap();
        a.out(dx, al).unwrap();
        a.out(dx, ax).unwrap();
        a.in_(ax, dx).unwrap();
        a.in_(al, dx).unwrap();
        a.set_label(&mut skip).unwrap();
        a.inc(edx).unwrap();
        a.cmp(edx, 0x1_0000).unwrap();
        a.jb(next).unwrap();
        exit(a, 9);
    });
    let (outcome, report) = json(&kernel, &["--watchdog", "none", "--timeout", "100"]);
    assert_eq!(outcome.status, Some(9), "{outcome:?}");
    assert!(report["stray"]["writes"].as_u64().unwrap() > 65000, "{report}");
}

#[test]
fn nonsense_to_addresses_without_memory_kills_nothing() {
    let kernel = kernel(|a| {
        for at in [0xd000_0000_u32, 0xfec0_0000, 0xffff_fff0, 0x0800_0000] {
            a.mov(dword_ptr(at), 0x1234_5678).unwrap();
            a.mov(eax, dword_ptr(at)).unwrap();
            a.mov(cl, byte_ptr(at + 3)).unwrap();
        }
        // Reads of absent devices give all ones.
        a.inc(eax).unwrap();
        a.out(EXIT, eax).unwrap();
    });
    let (outcome, report) = json(&kernel, &["--mem", "128"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(report["stray"], serde_json::json!({"reads": 8, "writes": 4}));
}

#[test]
fn an_unfinished_line_is_seen_while_the_guest_sleeps() {
    let kernel = kernel(|a| {
        print(a, "first\nlogin: ");
        hang(a, true);
    });
    let mut command = architect();
    let mut child = command.arg("boot").arg(kernel.path()).args(["--timeout", "60"]);
    child = child.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    let mut seen = [0; 13];
    child.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"first\nlogin: ");
    child.kill().unwrap();
    // Had the line come at the end only, the command would have ended by itself.
    assert_eq!(child.wait().unwrap().signal(), Some(9), "the guest still sleeps");
}

#[test]
fn input_reaches_the_guest_however_long_it_is() {
    // Echoes its input, up to a full stop.
    let kernel = kernel(|a| {
        let mut next = a.create_label();
        a.set_label(&mut next).unwrap();
        a.mov(edx, SERIAL + 5).unwrap();
        a.in_(al, dx).unwrap();
        a.test(al, 1).unwrap();
        a.je(next).unwrap();
        a.mov(edx, SERIAL).unwrap();
        a.in_(al, dx).unwrap();
        a.out(dx, al).unwrap();
        a.cmp(al, i32::from(b'.')).unwrap();
        a.jne(next).unwrap();
        exit(a, 5);
    });
    let text = format!("{}.", "0123456789abcde\n".repeat(4400));
    // Through a pipe, more than the VMM buffers at once; and from a file, which epoll cannot wait for.
    let file = kernel.beside("input");
    let short = &text[text.len() - 5000..];
    std::fs::write(&file, short).unwrap();
    for (piped, text) in [(true, text.as_str()), (false, short)] {
        let mut command = architect();
        command.arg("boot").arg(kernel.path()).args(["--serial", "stdio", "--timeout", "100"]);
        command.stdin(if piped { Stdio::piped() } else { std::fs::File::open(&file).unwrap().into() });
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let writer = child.stdin.take().map(|mut stdin| {
            let text = text.to_owned();
            std::thread::spawn(move || stdin.write_all(text.as_bytes()))
        });
        let mut echo = String::new();
        child.stdout.take().unwrap().read_to_string(&mut echo).unwrap();
        assert_eq!(wait(&mut child).code(), Some(5), "{} bytes came back", echo.len());
        assert!(echo == text, "{} of {} bytes came back", echo.len(), text.len());
        if let Some(writer) = writer {
            writer.join().unwrap().unwrap();
        }
    }
}

#[test]
fn without_being_asked_nothing_is_read_from_standard_input() {
    let kernel = kernel(|a| exit(a, 0));
    let file = kernel.beside("input");
    std::fs::write(&file, "for somebody else").unwrap();
    let mut input = std::fs::File::open(&file).unwrap();
    let outcome = run(architect().arg("boot").arg(kernel.path()).stdin(input.try_clone().unwrap()));
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let mut rest = String::new();
    input.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "for somebody else");
}

/// A guest that writes more than any pipe holds.
fn chatterbox() -> Kernel {
    kernel(|a| {
        let mut again = a.create_label();
        a.mov(edx, SERIAL).unwrap();
        a.set_label(&mut again).unwrap();
        a.mov(esi, BASE as u32).unwrap();
        a.mov(ecx, 4096).unwrap();
        a.rep().outsb().unwrap();
        a.jmp(again).unwrap();
    })
}

#[test]
fn a_reader_that_does_not_read_cannot_outlast_the_timeout() {
    let kernel = chatterbox();
    let mut command = architect();
    command.arg("boot").arg(kernel.path()).args(["--timeout", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // `wait` fails if it does not end.
    assert_eq!(wait(&mut child).code(), Some(124));
}

#[test]
fn a_reader_that_goes_away_ends_the_guest() {
    let kernel = chatterbox();
    let mut command = architect();
    command.arg("boot").arg(kernel.path()).args(["--timeout", "100"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut some = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    // 124 if the guest had gone on to its timeout.
    assert_eq!(wait(&mut child).code(), Some(4));
}

#[test]
fn signals_end_the_guest_cleanly() {
    let kernel = kernel(|a| {
        print(a, "up\n");
        hang(a, true);
    });
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let report = kernel.beside("out.json");
        let mut command = architect();
        command.arg("boot").arg(kernel.path()).arg("--json").arg(&report);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut up = [0; 3];
        child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(wait(&mut child).code(), Some(status));
        let report: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
        assert_eq!(report["end"], "signal");
    }
}

#[test]
fn the_core_file_holds_memory_and_registers() {
    let kernel = kernel(|a| {
        a.mov(dword_ptr(0x1f_0000), 0x1234_abcd).unwrap();
        a.mov(esi, 0x5151_5151).unwrap();
        exit(a, 0);
        hang(a, false);
    });
    let path = kernel.beside("guest.core");
    let outcome = boot(&kernel, &["--mem", "2", "--core", path.to_str().unwrap()]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let core = std::fs::read(path).unwrap();
    let number = |at: usize| u64::from_le_bytes(core[at..at + 8].try_into().unwrap());
    // ELF64 core; one note, one segment to load.
    assert_eq!((&core[..6], number(16) & 0xffff_ffff), (&b"\x7fELF\x02\x01"[..], 62 << 16 | 4));
    assert_eq!(number(56) & 0xffff, 2);
    let (note, load) = (number(64 + 8) as usize, 64 + 56);
    let memory = number(load + 8) as usize;
    assert_eq!((number(load + 16), number(load + 24), number(load + 32)), (0, 0, 2 << 20));
    assert_eq!(number(memory + 0x1f_0000) & 0xffff_ffff, 0x1234_abcd);
    // NT_PRSTATUS: 12 bytes of header, 8 of name, 112 before the registers; RSI is the 14th, RIP the 17th.
    let registers = note + 12 + 8 + 112;
    assert_eq!(number(registers + 13 * 8), 0x5151_5151);
    let rip = number(registers + 16 * 8);
    assert!((BASE..BASE + 64).contains(&rip), "{rip:#x}");
    // The command leaves no files but kernel and core.
    assert_eq!(std::fs::read_dir(kernel.path().parent().unwrap()).unwrap().count(), 2);
}
