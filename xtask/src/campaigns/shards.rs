//! `cargo xtask shards`: makes a campaign in shards that run at once.
//!
//! They run on this machine's KVM, or each on an emulated host of its own, which is the faster one where KVM
//! has no hardware beneath it. Rows are the same on either. An interrupted campaign goes on where it was,
//! loses at most a batch of each shard, and starts nothing for rows that exist.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Instant;

use clap::Args;

use crate::failure::Failure;
use crate::host::{Files, Host, architect, is_frozen, on_svm_host};
use crate::workspace::{output, printed, say, tied};

/// Arguments of `cargo xtask shards`.
#[derive(Debug, Args)]
pub(crate) struct ShardsArgs {
    /// Where the results go: STEM-0-of-2.db and on, STEM.json (statistics of all of them), STEM.csv (all
    /// rows)
    stem: PathBuf,
    /// Scenario of the campaign
    scenario: PathBuf,
    /// Runs of the campaign
    #[arg(long, value_name = "N")]
    runs: NonZeroUsize,
    /// The first seed; without it the scenario's
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    #[command(flatten)]
    options: Options,
}

/// How campaigns are made, whichever they are.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Where guests run; without it on this machine's KVM where that can be used
    #[arg(long, value_enum)]
    host: Option<Host>,
    /// A key of the scenario, as for `architect campaign`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Shards, each with one job; without it as many as there are processors
    #[arg(long, value_name = "N")]
    shards: Option<NonZeroUsize>,
    /// Runs of a shard on one emulated host, which is started anew for each batch
    #[arg(long, value_name = "N", default_value = "100")]
    batch: NonZeroUsize,
}

/// Makes the campaign of the arguments.
///
/// # Errors
///
/// The first shard that failed; what has been made is kept.
pub(crate) fn shards(args: &ShardsArgs) -> Result<(), Failure> {
    let campaign = Campaign {
        stem: &args.stem,
        scenario: &args.scenario,
        runs: args.runs,
        seed: args.seed,
        sets: args.options.sets.clone(),
    };
    Maker::new(&args.options, architect()?).make(&campaign)
}

/// A campaign that is to be made.
#[derive(Debug)]
pub(crate) struct Campaign<'a> {
    pub(crate) stem: &'a Path,
    pub(crate) scenario: &'a Path,
    pub(crate) runs: NonZeroUsize,
    pub(crate) seed: Option<u64>,
    /// Keys of the scenario with their values; of several for one key the last holds.
    pub(crate) sets: Vec<String>,
}

impl Options {
    /// Sets that come before the user's, so that the user's hold.
    pub(crate) fn sets_after(&self, defaults: &[&str]) -> Vec<String> {
        defaults.iter().map(|set| (*set).to_owned()).chain(self.sets.iter().cloned()).collect()
    }
}

/// Makes campaigns with one command on one kind of host.
#[derive(Debug)]
pub(crate) struct Maker {
    architect: PathBuf,
    host: Host,
    shards: usize,
    batch: usize,
}

impl Maker {
    pub(crate) fn new(options: &Options, architect: PathBuf) -> Self {
        let processors = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            architect,
            host: Host::or_usable(options.host),
            shards: options.shards.map_or_else(processors, NonZeroUsize::get),
            batch: options.batch.get(),
        }
    }

    /// Makes a campaign, and writes its statistics and rows beside its databases.
    ///
    /// # Errors
    ///
    /// The first shard that failed; what has been made is kept.
    pub(crate) fn make(&self, campaign: &Campaign) -> Result<(), Failure> {
        let begin = Instant::now();
        let work = self.prepare(campaign)?;
        let ended: Vec<_> = thread::scope(|scope| {
            let all: Vec<_> = (0..self.shards)
                .map(|part| {
                    scope.spawn({
                        let work = &work;
                        move || work.shard(part)
                    })
                })
                .collect();
            all.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        for shard in ended {
            let ended = shard.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            ended.map_err(|failure| {
                let stem = work.stem.display();
                let advice = "what it had done is kept, the same command goes on";
                Failure::new(failure.status, format!("{failure}\na shard of {stem} failed; {advice}"))
            })?;
        }
        let rows = work.publish()?;
        let (stem, seconds) = (work.stem.display(), begin.elapsed().as_secs());
        say(&format!(
            "{rows} runs in {stem}-*-of-{}.db ({seconds} s, host {})",
            self.shards,
            self.host.name()
        ));
        Ok(())
    }

    fn prepare<'a>(&'a self, campaign: &'a Campaign) -> Result<Work<'a>, Failure> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| Failure::from(format!("{}: {error}", path.display())))
        };
        let (stem, scenario) = (absolute(campaign.stem)?, absolute(campaign.scenario)?);
        if !scenario.is_file() {
            return Err(Failure::new(Failure::USAGE, format!("there is no scenario {}", scenario.display())));
        }
        self.host.set_up()?;
        let folder = stem.parent().unwrap_or(&stem);
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Work { maker: self, campaign, stem, scenario })
    }
}

/// A campaign that is being made.
struct Work<'a> {
    maker: &'a Maker,
    campaign: &'a Campaign<'a>,
    stem: PathBuf,
    scenario: PathBuf,
}

impl Work<'_> {
    fn database(&self, part: usize) -> PathBuf {
        PathBuf::from(format!("{}-{part}-of-{}.db", self.stem.display(), self.maker.shards))
    }

    /// Makes all runs of a shard, a batch at a time. A longer campaign begins with the runs of a shorter one.
    fn shard(&self, part: usize) -> Result<(), Failure> {
        let (shards, runs) = (self.maker.shards, self.campaign.runs.get());
        let mut up_to = 0;
        while up_to < runs {
            up_to = match self.maker.host {
                Host::Kvm => runs,
                Host::Svm => runs.min(up_to + self.maker.batch * shards),
            };
            // Runs below `up_to` whose number leaves `part` as remainder.
            let wanted = (up_to + shards - 1).saturating_sub(part) / shards;
            if self.rows(part)? < wanted {
                self.batch(part, up_to)?;
            }
        }
        Ok(())
    }

    fn rows(&self, part: usize) -> Result<usize, Failure> {
        let database = self.database(part);
        if !database.exists() {
            return Ok(0);
        }
        let rows = output(Command::new(&self.maker.architect).args(["stats", "--rows"]).arg(database))?;
        Ok(rows.lines().count().saturating_sub(1))
    }

    fn batch(&self, part: usize, runs: usize) -> Result<(), Failure> {
        let mut last = self.attempt(part, runs)?;
        // An emulated host may not even come up on a busy machine.
        for _ in 0..2 {
            if is_frozen(last.status) {
                last = self.attempt(part, runs)?;
            }
        }
        if last.status.success() {
            return Ok(());
        }
        let code = last.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Failure::FAILED);
        Err(Failure::new(code, printed(&last)))
    }

    fn attempt(&self, part: usize, runs: usize) -> Result<Output, Failure> {
        let (architect, database) = (&self.maker.architect, self.database(part));
        let extend = |command: &mut Command| {
            command.arg("campaign").arg(&self.scenario);
            for set in &self.campaign.sets {
                command.args(["--set", set]);
            }
            if let Some(seed) = self.campaign.seed {
                command.args(["--seed", &seed.to_string()]);
            }
            command.args(["--runs", &runs.to_string(), "--jobs", "1", "--resume"]);
            command.args(["--shard", &format!("{part}/{}", self.maker.shards)]).arg("--db").arg(&database);
        };
        if self.maker.host == Host::Svm {
            let mut input = vec![architect.clone(), self.scenario.clone()];
            input.extend(database.exists().then(|| database.clone()));
            return on_svm_host(&Files { input, kept: vec![database.clone()] }, architect, extend);
        }
        let mut command = tied(architect);
        extend(&mut command);
        command.output().map_err(|error| Failure::new(Failure::SETUP, format!("{command:?}: {error}")))
    }

    /// Writes all rows and their statistics; the number of rows.
    fn publish(&self) -> Result<usize, Failure> {
        let stats = |what: &str, extension: &str| {
            let databases =
                (0..self.maker.shards).map(|part| self.database(part)).filter(|path| path.exists());
            let text = output(Command::new(&self.maker.architect).args(["stats", what]).args(databases))?;
            let path = format!("{}.{extension}", self.stem.display());
            fs::write(&path, &text).map_err(|error| format!("{path}: {error}"))?;
            Ok::<_, Failure>(text)
        };
        let rows = stats("--rows", "csv")?;
        stats("--json", "json")?;
        Ok(rows.lines().count().saturating_sub(1))
    }
}
