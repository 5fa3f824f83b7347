//! Waiting for EC2: again and again, less and less often, never in step with other nodes, and never past the deadline.

use std::time::Duration;

use anyhow::anyhow;
use log::{debug, info};
use tokio::time::{Instant, sleep, timeout_at};

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
    /// The last error of what is waited for now: most likely the reason, where time runs out.
    error: Option<ApiError>,
    /// It came since the last pause.
    fresh: bool,
    /// The deadline came in the middle of a call.
    cut: bool,
}

impl Patience {
    /// Enough for `timeout`.
    pub fn new(timeout: Duration) -> Patience {
        let began = Instant::now();
        Patience {
            began,
            until: began + timeout,
            pause: FIRST,
            what: String::new(),
            running: None,
            error: None,
            fresh: false,
            cut: false,
        }
    }

    /// An error that may pass.
    pub fn note(&mut self, error: &ApiError) {
        debug!("{error}");
        if self.cut {
            return;
        }
        self.error = Some(error.clone());
        self.fresh = true;
    }

    /// What becomes of a call by the deadline; the SDK by itself would try for minutes.
    pub async fn within<T>(&mut self, call: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let Ok(answer) = timeout_at(self.until, call).await else {
            self.cut = true;
            return Err(ApiError::lost("EC2", "no answer before the deadline".into()));
        };
        answer
    }

    /// Sleeps a while, since `what` is so and will change.
    ///
    /// # Errors
    /// [`Failure::Absent`] where no time is left.
    pub async fn pause(&mut self, what: &str) -> Result<(), Failure> {
        // A call that was cut off tells nothing of EC2: what was waited for before is the reason.
        let what = if self.cut && !self.what.is_empty() { self.what.clone() } else { what.to_owned() };
        if self.what != what {
            if !self.fresh {
                self.error = None;
            }
            info!("waiting: {what}");
            self.running = Some(progress::start(|| format!("waiting: {what}")));
            self.pause = FIRST;
            self.what.clone_from(&what);
        }
        self.fresh = false;
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
}
