//! Runs per second of a campaign with as many jobs as there are processors, beside as many times what one job gets.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::measure::Row;
use crate::error::{Error, VmmError};
use crate::kvm::Kvm;

const ROUNDS: usize = 3;
/// Runs for each job.
const RUNS: usize = 4;
const TICKS: &str = "vm.max-ticks=60";

/// Measures it.
pub(super) fn measure(_kvm: &Kvm) -> Result<Vec<Row>, Error> {
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let home = std::env::temp_dir().join(format!("architect-bench-campaign-{}", std::process::id()));
    let measured = || -> std::io::Result<Row> {
        std::fs::create_dir(&home)?;
        let scenario = home.join("healthy.toml");
        std::fs::write(&scenario, include_str!("../../../scenarios/healthy.toml"))?;
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (nth, (rates, jobs_now, times)) in
                rates.iter_mut().zip([jobs, 1]).zip([1, jobs]).map(|((r, j), t)| (r, j, t)).enumerate()
            {
                let runs = RUNS * jobs_now;
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("campaign").arg(&scenario).args(["--set", TICKS, "--runs", &runs.to_string()]);
                command.args(["--jobs", &jobs_now.to_string(), "--db"]);
                command
                    .arg(home.join(format!("{round}-{nth}.db")))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                let begin = Instant::now();
                if !command.status()?.success() {
                    return Err(std::io::Error::other("a campaign failed"));
                }
                rates.push((runs * times) as f64 / begin.elapsed().as_secs_f64());
            }
        }
        Ok(Row::of("campaign", "1/s", rates))
    };
    let outcome = measured();
    let _ = std::fs::remove_dir_all(&home);
    Ok(vec![outcome.map_err(VmmError::resource("a campaign"))?])
}
