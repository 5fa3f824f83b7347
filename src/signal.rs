//! Tells CloudFormation or Auto Scaling, once in an instance's life, how its first start ended. That somebody could
//! not be told is no reason for the services not to start: it is a warning.

use log::warn;

use crate::config::Config;
use crate::report::Report;
use crate::root::Root;

#[cfg(not(feature = "ec2"))]
pub fn tell(_: &Root, config: &Config, _: &Report<'_>) {
    if !config.signals.is_empty() {
        warn!("nobody was signalled: this volinit was built without the feature `ec2`");
    }
}

/// Sends the signals that the config asks for and that were not sent yet. Success is remembered, so that a later boot
/// asks nobody.
#[cfg(feature = "ec2")]
pub fn tell(root: &Root, config: &Config, report: &Report<'_>) {
    use crate::ec2::{self, query::Ended};
    use crate::state;

    let told = state::recall_signals(root);
    let ended = match report.failure() {
        None => Ended::Well,
        Some(failure) => Ended::Badly(format!("{}: {}", failure.word(), report.summary())),
    };
    let due: Vec<_> = config.signals.iter().filter(|signal| !told.contains(&signal.to_string())).collect();
    if due.is_empty() {
        return;
    }
    let sent = ec2::with(async |ec2| {
        let mut sent = Vec::new();
        for signal in due {
            match ec2.signal(signal, &ended).await {
                Ok(()) => sent.push(signal.to_string()),
                Err(failure) => warn!("{signal} was not told: {failure}"),
            }
        }
        Ok(sent)
    });
    match sent {
        Ok(sent) if ended == Ended::Well && !sent.is_empty() => {
            let told: Vec<String> = told.into_iter().chain(sent).collect();
            if let Err(error) = state::remember_signals(root, &told) {
                warn!("that the signals were sent could not be remembered: {error:#}");
            }
        }
        Ok(_) => {}
        Err(failure) => warn!("nobody was signalled: {failure}"),
    }
}
