//! Help for end-to-end tests: the command under test, tiny kernels made on the spot, and a run with a time
//! limit.
//!
//! Nothing here needs any program but `architect` itself, so the tests run in the barest Linux there is.

pub mod documents;
pub mod module;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use iced_x86::code_asm::CodeAssembler;
use tempfile::TempDir;

/// Time limit of one command: so long that only a hanging command reaches it, on the slowest host and with a
/// hundred guests.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Where kernels made by [`kernel`] are loaded, and begin.
pub const BASE: u64 = 0x10_0000;

/// Path of the command under test: `ARCHITECT_BIN`, or a build in the profile of this test, made up to date first.
pub fn architect_path() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    match std::env::var_os("ARCHITECT_BIN") {
        Some(path) => path.into(),
        None => BUILT.get_or_init(build_architect).clone(),
    }
}

/// Builds the command beside this test, which is `<target folder>/<profile>/deps/<test>`.
fn build_architect() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its file");
    let folder = test.parent().and_then(Path::parent).expect("cargo's folders");
    let profile = match folder.file_name().and_then(|name| name.to_str()).expect("a profile's folder") {
        "debug" => "dev",
        name => name,
    };
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", "architect", "--bin", "architect", "--profile", profile])
        .arg("--target-dir")
        .arg(folder.parent().expect("the target folder"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join("architect")
}

/// The command under test, without arguments and without input.
///
/// Where `/dev/kvm` cannot be used it says so and ends the test program: none of its tests could pass.
pub fn architect() -> Command {
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        skip(&format!("/dev/kvm: {error}; `architect doctor` says what to change"));
    }
    let mut command = Command::new(architect_path());
    command.stdin(Stdio::null());
    command
}

/// Ends the test program, which needs something that this machine lacks, without a failure.
pub fn skip(reason: &str) -> ! {
    // Straight to the descriptor: the test harness keeps what the macros print.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
    std::process::exit(0);
}

/// The result of a command.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status; `None` if a signal killed it.
    pub status: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// Runs a command to its end; kills it and panics after [`PATIENCE`].
pub fn run(command: &mut Command) -> Outcome {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child);
    let text = |bytes: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&bytes.join().expect("a reader panicked")).into_owned()
    };
    Outcome { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Waits for a command; kills it and panics after [`PATIENCE`].
pub fn wait(child: &mut Child) -> ExitStatus {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("a child that we started") {
            return status;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("the command did not end within {PATIENCE:?}");
}

fn collect(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Boots a kernel with these further arguments.
pub fn boot(kernel: &Kernel, arguments: &[&str]) -> Outcome {
    run(architect().arg("boot").arg(kernel.path()).args(arguments))
}

/// A kernel file in a folder of its own, which goes away with it.
pub struct Kernel {
    folder: TempDir,
    path: PathBuf,
}

impl Kernel {
    /// A file with these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("kernel.elf");
        std::fs::write(&path, bytes).expect("space for a kernel");
        Self { folder, path }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path for another file beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A PVH kernel from 32-bit code, which is entered at its first instruction at [`BASE`].
pub fn kernel(code: impl FnOnce(&mut CodeAssembler)) -> Kernel {
    Kernel::from_bytes(&Elf::new(&assemble(code)).bytes())
}

/// Assembles 32-bit code for [`BASE`].
pub fn assemble(code: impl FnOnce(&mut CodeAssembler)) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(32).expect("32-bit code is known");
    code(&mut assembler);
    assembler.assemble(BASE).expect("code that can be assembled")
}

/// A loadable segment.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Physical address.
    pub at: u64,
    /// Bytes in the file.
    pub bytes: Vec<u8>,
    /// Bytes in memory.
    pub in_memory: u64,
}

/// An ELF file, right or wrong in any way that a test wants.
#[derive(Clone, Debug)]
pub struct Elf {
    /// Class: 1 is ELF32 (in name only), 2 is ELF64.
    pub class: u8,
    /// Byte order: 1 is little-endian.
    pub order: u8,
    /// File type: 2 is an executable.
    pub kind: u16,
    /// Machine: 62 is x86-64.
    pub machine: u16,
    /// Segments to load.
    pub segments: Vec<Segment>,
    /// Contents of the PVH note; none at all with `None`.
    pub pvh: Option<Vec<u8>>,
}

impl Elf {
    /// A good kernel with this code.
    pub fn new(code: &[u8]) -> Self {
        let segment = Segment { at: BASE, bytes: code.to_vec(), in_memory: code.len() as u64 };
        Self {
            class: 2,
            order: 1,
            kind: 2,
            machine: 62,
            segments: vec![segment],
            pvh: Some((BASE as u32).to_le_bytes().to_vec()),
        }
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let note = self.pvh.as_ref().map(|entry| {
            let mut note = Vec::new();
            for word in [4, entry.len() as u32, 18] {
                note.extend(word.to_le_bytes());
            }
            note.extend(b"Xen\0");
            note.extend(entry);
            note.resize(note.len().next_multiple_of(4), 0);
            note
        });
        let headers = self.segments.len() + usize::from(note.is_some());
        let mut at = 64 + 56 * headers as u64;

        let mut file = vec![0x7f, b'E', b'L', b'F', self.class, self.order, 1, 0];
        file.resize(16, 0);
        for half in [self.kind, self.machine, 1, 0] {
            file.extend(half.to_le_bytes());
        }
        for double in [self.segments.first().map_or(0, |s| s.at), 64, 0] {
            file.extend(double.to_le_bytes());
        }
        for half in [0_u16, 0, 64, 56, headers as u16, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let mut header = |kind: u32, place: u64, bytes: &[u8], in_memory: u64| {
            file.extend(kind.to_le_bytes());
            file.extend(7_u32.to_le_bytes());
            for double in [at, place, place, bytes.len() as u64, in_memory, 4] {
                file.extend(double.to_le_bytes());
            }
            at += bytes.len() as u64;
        };
        for segment in &self.segments {
            header(1, segment.at, &segment.bytes, segment.in_memory);
        }
        if let Some(note) = &note {
            header(4, 0, note, note.len() as u64);
        }
        for segment in &self.segments {
            file.extend(&segment.bytes);
        }
        file.extend(note.into_iter().flatten());
        file
    }
}

/// A shipped scenario: in the folder that `ARCHITECT_SCENARIOS` names, or the workspace's.
pub fn scenario(name: &str) -> PathBuf {
    match std::env::var_os("ARCHITECT_SCENARIOS") {
        Some(folder) => Path::new(&folder).join(name),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name),
    }
}

/// A daemon for the watchdog, and clients with their servers: the programs that most scenarios of tests start
/// with.
pub const SERVED: &str = r#"[[program]]
program = "watchdogd"
uid = 0
priority = 1
argument = 14
[[program]]
program = "nursery"
uid = 0
priority = 3
argument = "client"
[[program]]
program = "store"
uid = 100
priority = 2
ports = [2100]
[[program]]
program = "front"
count = 2
uid = 100
priority = 3
ports = [2000, 2001]
"#;

/// A scenario of a test's own, in a scratch folder that can hold more files.
pub fn written(scenario: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("scenario.toml");
    std::fs::write(&path, scenario).expect("space for a scenario");
    (folder, path)
}

/// The results of a run.
pub struct Told {
    /// What became of the command.
    pub outcome: Outcome,
    /// The verdict.
    pub verdict: serde_json::Value,
    /// The events, in order.
    pub events: Vec<serde_json::Value>,
    /// The console.
    pub console: String,
}

/// Runs a scenario of a test's own, with further arguments.
pub fn run_text(scenario: &str, arguments: &[&str]) -> Told {
    let (folder, path) = written(scenario);
    let out = folder.path().join("out");
    let out_argument = out.to_str().expect("a path of a test is UTF-8");
    let (outcome, verdict) = run_json(&path, &[arguments, &["--out", out_argument]].concat());
    let console = std::fs::read_to_string(out.join("console.log")).expect("a run has its console");
    Told { outcome, verdict, events: events(&out), console }
}

/// Runs a scenario file with `--json` and further arguments; returns the command's result and the document.
pub fn run_json(scenario: &Path, arguments: &[&str]) -> (Outcome, serde_json::Value) {
    let outcome = run(architect().arg("run").arg(scenario).arg("--json").args(arguments));
    let document =
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    (outcome, document)
}

/// The trace hash of a verdict that stands for the whole run.
pub fn hash(verdict: &serde_json::Value) -> String {
    assert_eq!(verdict["repeatable"], true);
    verdict["trace_hash"].as_str().expect("a verdict has a hash").to_owned()
}

/// The events in a run's folder, in order.
pub fn events(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("events.jsonl")).expect("a run's folder has its events");
    text.lines().map(|line| serde_json::from_str(line).expect("an event is an object")).collect()
}

/// Checks that README shows this run: as many events, and its trace hash.
pub fn check_readme(scenario: &str, verdict: &serde_json::Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(path).expect("the README");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("{scenario}, seed ")));
    let shown = lines.find(|line| line.starts_with("  trace ")).expect("a run and its trace");
    let hash = verdict["trace_hash"].as_str().expect("a verdict has a hash");
    let trace = format!("  trace     {} events, {}", verdict["events"], &hash[..16]);
    assert_eq!(shown, trace, "README.md shows another run of {scenario}");
}

/// The trace hashes of this repository's runs: a name and a hash a line.
const TRACE_HASHES: &str = include_str!("../trace-hashes.txt");

/// Checks that a run has the trace hash of `tests/trace-hashes.txt`, which holds on every host and with every compiler.
///
/// A change that is meant to change events changes that file. `ARCHITECT_HASH_FILE=FILE` makes the tests write such
/// lines to a file and check nothing.
pub fn check_hash(name: &str, hash: &str) {
    use std::io::Write;
    let line = format!("{name} {hash}");
    if let Some(path) = std::env::var_os("ARCHITECT_HASH_FILE") {
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a writable file");
        file.write_all(format!("{line}\n").as_bytes()).expect("space for a hash");
        return eprintln!("SKIPPED: the trace hash was written, not checked: {line}");
    }
    let known = TRACE_HASHES.lines().find(|line| line.split(' ').next() == Some(name));
    assert_eq!(known, Some(line.as_str()), "another trace than tests/trace-hashes.txt says");
}
