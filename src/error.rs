//! How a run can end other than well, and the exit code of each (design: 1 failed, 2 usage or config,
//! 3 refused, 4 not there).

use std::fmt;
use std::process::ExitCode;

/// What went wrong with one volume, or with the whole run.
#[derive(Debug)]
pub enum Failure {
    /// Something did not work. Exit 1.
    Failed(anyhow::Error),
    /// What the person said is wrong. Exit 2.
    Usage(anyhow::Error),
    /// Going on would put data at risk. Exit 3.
    Refused(Refusal),
    /// The device did not come before the deadline. Exit 4.
    Absent(anyhow::Error),
}

/// A plan that would put data at risk: what was found, where, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject} {found}. {untouched}{way_out}", untouched = if *.written { "" } else { "Nothing was written to it. " })]
pub struct Refusal {
    /// The device or the folder that it is about, as a person names it.
    pub subject: String,
    /// What was found there: the rest of a sentence that begins with the subject.
    pub found: String,
    /// What a person can do.
    pub way_out: String,
    /// Whether the subject had been written to by then (a check that could not repair).
    pub written: bool,
}

/// An exit code and its meaning; worse ones are larger in [`Failure::severity`], not in number.
impl Failure {
    /// What only EC2 could do, asked of a volinit that cannot ask it.
    #[cfg(not(feature = "ec2"))]
    pub fn without_ec2(way_out: &str) -> Failure {
        Failure::Usage(anyhow::anyhow!("this volinit was built without the feature `ec2`: {way_out}"))
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Refused(_) => 3,
            Failure::Absent(_) => 4,
        }
    }

    /// The word for it in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Failure::Failed(_) => "failed",
            Failure::Usage(_) => "usage",
            Failure::Refused(_) => "refused",
            Failure::Absent(_) => "absent",
        }
    }

    /// Of several volumes' failures the one that the exit code tells: a refusal needs a person, a failure
    /// may, and a device that is not there may yet come.
    pub fn severity(&self) -> u8 {
        match self {
            Failure::Usage(_) => 4,
            Failure::Refused(_) => 3,
            Failure::Failed(_) => 2,
            Failure::Absent(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    /// The whole chain, once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(error) | Failure::Usage(error) | Failure::Absent(error) => write!(f, "{error:#}"),
            Failure::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> ExitCode {
        ExitCode::from(failure.exit_code())
    }
}
