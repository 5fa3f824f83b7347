//! EC2: which instance this is, and what is attached to it. Behind the cargo feature `ec2`; a run that finds its
//! volumes attached never comes here, and opens no socket.
//!
//! [`connect`] makes the client, [`api`] and [`query`] make calls, [`answer`] and [`takeover`] judge (they are pure),
//! [`claim`], [`pool`] and [`interface`] do, with the patience of [`wait`].

pub mod answer;
pub mod api;
pub mod claim;
pub mod connect;
pub mod interface;
pub mod pool;
pub mod query;
pub mod takeover;
pub mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;

use answer::{ApiError, Means};
pub use api::Api;

use crate::config::{Signal, VolumeId, instance_tag};
use crate::error::Failure;

/// This instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// `i-…`
    pub instance: String,
    /// The availability zone, `eu-central-1a`.
    pub zone: String,
    /// The region, `eu-central-1`.
    pub region: String,
}

/// EC2, as this instance sees it.
#[derive(Debug)]
pub struct Ec2 {
    /// The calls.
    pub api: Api,
    /// Who calls.
    pub me: Me,
    /// The instance metadata service; a client that was given has none.
    imds: Option<aws_config::imds::Client>,
    /// For the other services; a client that was given has none.
    config: Option<aws_config::SdkConfig>,
    /// The volumes that one of this run's own entries has chosen from a pool.
    taken: Mutex<BTreeSet<VolumeId>>,
    /// The device names that this run has asked for: several volumes are attached at once.
    names: Mutex<BTreeSet<String>>,
}

impl Ec2 {
    /// With a client that is there already: the tests have clocks and clouds of their own.
    pub fn new(api: Api, me: Me) -> Ec2 {
        Ec2 { api, me, imds: None, config: None, taken: Mutex::default(), names: Mutex::default() }
    }

    /// The tags that are asked for, with the instance's own values where they stand for them.
    ///
    /// # Errors
    /// [`Failure::Failed`] where the instance has no such tag, or does not tell its tags.
    pub async fn tags(&self, tags: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Failure> {
        let mut expanded = tags.clone();
        for value in expanded.values_mut() {
            if let (Some(key), Some(imds)) = (instance_tag(value), &self.imds) {
                *value = connect::instance_tag(imds, key).await?;
            }
        }
        Ok(expanded)
    }

    /// Tells who waits for this node how it ended.
    pub async fn signal(&self, signal: &Signal, ended: &query::Ended) -> Result<(), Failure> {
        match &self.config {
            Some(config) => query::send(config, &self.me, signal, ended).await,
            None => Ok(()),
        }
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, BTreeSet<VolumeId>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this device name has not been asked for yet; it is from now on.
    fn take_name(&self, name: &str) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned())
    }

    fn give_name(&self, name: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn is_taken(&self, id: &VolumeId) -> bool {
        self.taken().contains(id)
    }

    fn take(&self, id: &VolumeId) -> bool {
        self.taken().insert(id.clone())
    }

    fn give(&self, id: &VolumeId) {
        self.taken().remove(id);
    }
}

/// A client and what it runs on; shared by the threads of all volumes, made by the first that needs it.
struct Connection {
    runtime: Runtime,
    ec2: OnceCell<Ec2>,
}

static CONNECTION: OnceLock<Connection> = OnceLock::new();

/// Does `work` with EC2, and waits for it. It must not block in any other way: the threads of the other volumes are
/// served by the same runtime.
///
/// # Errors
/// [`Failure::Absent`] where there is no instance metadata service: this is no EC2 instance, or it is switched off.
pub fn with<T>(work: impl AsyncFnOnce(&Ec2) -> Result<T, Failure>) -> Result<T, Failure> {
    let connection = connection()?;
    connection.runtime.block_on(async { work(connection.ec2.get_or_try_init(connect::connect).await?).await })
}

fn connection() -> Result<&'static Connection, Failure> {
    if let Some(connection) = CONNECTION.get() {
        return Ok(connection);
    }
    let runtime = Builder::new_current_thread().enable_all().build().context("starting the client for EC2")?;
    Ok(CONNECTION.get_or_init(|| Connection { runtime, ec2: OnceCell::new() }))
}

impl From<ApiError> for Failure {
    /// What may come later is absent; the rest has failed.
    fn from(error: ApiError) -> Failure {
        match error.means {
            Means::Unknown | Means::Throttled | Means::NotNow => Failure::Absent(error.into()),
            Means::InUse | Means::SlotTaken | Means::Missing | Means::NotAttached | Means::Forbidden | Means::Never => {
                Failure::Failed(error.into())
            }
        }
    }
}
