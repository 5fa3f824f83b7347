//! Waiting for EC2: again and again, less and less often, never in step with other nodes, and never past the deadline.

use std::time::Duration;

use anyhow::anyhow;
use log::{debug, info};
use tokio::time::{Instant, sleep};

use super::answer::ApiError;
use crate::error::Failure;
use crate::report::progress::{self, Running};

/// The first pause, and the longest. EC2 refills an account's bucket of requests by tens a second, for all its nodes.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(20);

/// How long it is waited, and for what.
#[derive(Debug)]
pub struct Patience {
    began: Instant,
    until: Instant,
    pause: Duration,
    /// What is waited for now, as it was told.
    what: String,
    running: Option<Running>,
    /// The last error: most likely the reason, where time runs out.
    error: Option<String>,
}

impl Patience {
    /// Enough for `timeout`.
    pub fn new(timeout: Duration) -> Patience {
        let began = Instant::now();
        Patience { began, until: began + timeout, pause: FIRST, what: String::new(), running: None, error: None }
    }

    /// An error that may pass.
    pub fn note(&mut self, error: &ApiError) {
        debug!("{error}");
        self.error = Some(error.to_string());
    }

    /// Sleeps a while, since `what` is so and will change.
    ///
    /// # Errors
    /// [`Failure::Absent`] where no time is left.
    pub async fn pause(&mut self, what: &str) -> Result<(), Failure> {
        if self.what != what {
            info!("waiting: {what}");
            what.clone_into(&mut self.what);
            self.pause = FIRST;
            self.running = Some(progress::start(|| format!("waiting: {what}")));
        }
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let waited = (self.until - self.began).as_secs();
            let error = self.error.as_ref().map(|error| format!(". The last error: {error}")).unwrap_or_default();
            return Err(Failure::Absent(anyhow!("gave up after {waited} s: {what}{error}")));
        }
        // Full jitter would be down to nothing; a look that comes at once tells nothing new.
        let pause = self.pause.mul_f64(0.25 + 0.75 * fastrand::f64());
        self.pause = (self.pause * 2).min(LONGEST);
        sleep(pause.min(left)).await;
        Ok(())
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}
