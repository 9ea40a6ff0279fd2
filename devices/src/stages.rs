//! The actions of the watchdog's stages: a value from the command line or the scenario.

use std::fmt;
use std::str::FromStr;

/// The action at the expiry of a stage. The VMM carries it out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchdogAction {
    /// None; the expiry is counted and traced.
    None,
    /// The machine is reset.
    Reset,
    /// The guest gets a non-maskable interrupt.
    Nmi,
    /// The guest is paused.
    Pause,
    /// The machine is powered off.
    Poweroff,
    /// The expiry is reported, with the state of the guest, which continues.
    Debug,
}

impl WatchdogAction {
    /// All actions.
    pub const ALL: [Self; 6] = [Self::None, Self::Reset, Self::Nmi, Self::Pause, Self::Poweroff, Self::Debug];

    /// The name on the command line and in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Reset => "reset",
            Self::Nmi => "nmi",
            Self::Pause => "pause",
            Self::Poweroff => "poweroff",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for WatchdogAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WatchdogAction {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        Self::ALL
            .into_iter()
            .find(|action| action.name() == text)
            .ok_or_else(|| ParseError::Unknown { given: text.to_owned() })
    }
}

/// A text is not a valid [`WatchdogAction`] or [`Stages`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// The action does not exist.
    #[error("`{given}` is not a watchdog action; use none, reset, nmi, pause, poweroff or debug")]
    Unknown {
        /// The text given.
        given: String,
    },
    /// There are more than two stages.
    #[error("the watchdog has at most two stages, not {given}; write one action or two, as in `nmi,reset`")]
    TooMany {
        /// Their number.
        given: usize,
    },
}

/// The actions of the one or two stages, in order. The text form is `nmi` or `nmi,reset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stages {
    /// The action when the guest has not petted in time.
    pub first: WatchdogAction,
    /// The action when it has not petted in time after that either; with `None`, the first expiry disarms the
    /// watchdog.
    pub second: Option<WatchdogAction>,
}

impl Stages {
    /// Creates one stage.
    pub const fn one(first: WatchdogAction) -> Self {
        Self { first, second: None }
    }

    /// Creates two stages.
    pub const fn two(first: WatchdogAction, second: WatchdogAction) -> Self {
        Self { first, second: Some(second) }
    }
}

/// One stage that resets, as on the real card.
impl Default for Stages {
    fn default() -> Self {
        Self::one(WatchdogAction::Reset)
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.second {
            None => write!(f, "{}", self.first),
            Some(second) => write!(f, "{},{second}", self.first),
        }
    }
}

impl FromStr for Stages {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.split(',').collect::<Vec<_>>()[..] {
            [first] => Ok(Self::one(first.parse()?)),
            [first, second] => Ok(Self::two(first.parse()?, second.parse()?)),
            ref more => Err(ParseError::TooMany { given: more.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_can_be_written_and_read_back() {
        for first in WatchdogAction::ALL {
            assert_eq!(first.to_string().parse(), Ok(Stages::one(first)));
            for second in WatchdogAction::ALL {
                let stages = Stages::two(first, second);
                assert_eq!(stages.to_string().parse(), Ok(stages));
            }
        }
        assert_eq!("nmi, reset".parse(), Ok(Stages::two(WatchdogAction::Nmi, WatchdogAction::Reset)));
    }

    #[test]
    fn a_wrong_action_is_refused_with_what_to_write_instead() {
        let error = |text: &str| text.parse::<Stages>().unwrap_err().to_string();
        let names = "use none, reset, nmi, pause, poweroff or debug";
        assert_eq!(error("nmi,reboot"), format!("`reboot` is not a watchdog action; {names}"));
        assert_eq!(error(""), format!("`` is not a watchdog action; {names}"));
        assert_eq!(error("nmi,"), format!("`` is not a watchdog action; {names}"));
        assert_eq!(
            error("nmi,nmi,reset"),
            "the watchdog has at most two stages, not 3; write one action or two, as in `nmi,reset`"
        );
    }
}
