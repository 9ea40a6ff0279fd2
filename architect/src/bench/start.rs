//! From the start of a process to the first byte of its guest: `architect boot` with a kernel of three instructions,
//! beside the same in bare calls.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::floor::Floor;
use super::guest;
use super::measure::{Row, microseconds};
use crate::error::{Error, VmmError};
use vmm::host::kvm::Kvm;
use vmm::machine::tiny;

const ROUNDS: usize = 101;

/// Measures it.
pub(super) fn measure(_kvm: &Kvm) -> Result<Vec<Row>, Error> {
    let kernel = std::env::temp_dir().join(format!("architect-bench-{}", std::process::id()));
    let measured = || -> std::io::Result<Row> {
        std::fs::File::create_new(&kernel)?.write_all(&tiny::elf(&guest::SPEAKER))?;
        let floor = Floor::new().map_err(std::io::Error::other)?;
        let itself = std::env::current_exe()?;
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let mut boot = Command::new(&itself);
            boot.arg("boot").arg(&kernel).arg("--mem").arg(guest::MEMORY_MIB.to_string());
            times[0].push(to_first_byte(&mut boot)?);
            times[1].push(to_first_byte(floor.command().arg("start"))?);
        }
        Ok(Row::of("start", "us", times))
    };
    let outcome = measured();
    let _ = std::fs::remove_file(&kernel);
    Ok(vec![outcome.map_err(VmmError::resource("a program to start"))?])
}

/// Microseconds until this command says its first byte. Then it is ended.
fn to_first_byte(command: &mut Command) -> std::io::Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let begin = Instant::now();
    let mut child = command.spawn()?;
    let mut byte = [0];
    let read = child.stdout.take().map_or(Ok(()), |mut stdout| stdout.read_exact(&mut byte));
    let time = begin.elapsed();
    let _ = child.kill();
    child.wait()?;
    read.map(|()| microseconds(time))
}
