//! Many volumes at once.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use log::debug;

use crate::config::Volume;
use crate::error::Failure;
use crate::report::{Done, Outcome, journal};

/// Does `work` for all volumes at once; one that lies on another waits for that one, and only for that one.
pub fn side_by_side<'a>(
    volumes: &[&'a Volume],
    work: impl Fn(&Volume) -> Result<Done, Failure> + Sync,
) -> Vec<Outcome<'a>> {
    let ended: Mutex<BTreeMap<&str, bool>> = Mutex::new(BTreeMap::new());
    let one_more = Condvar::new();
    let run = |volume: &'a Volume| {
        let parents: Vec<&Volume> = volumes.iter().copied().filter(|other| volume.lies_on(other)).collect();
        let board = ended.lock().unwrap_or_else(PoisonError::into_inner);
        let board = one_more
            .wait_while(board, |ended| parents.iter().any(|parent| !ended.contains_key(parent.name.as_str())))
            .unwrap_or_else(PoisonError::into_inner);
        let broken =
            parents.iter().find(|parent| board.get(parent.name.as_str()) == Some(&false)).map(|parent| &parent.name);
        drop(board);

        let started = Instant::now();
        let result = match broken {
            Some(parent) => Err(Failure::Failed(anyhow!("it lies on the volume `{parent}`, which is not there"))),
            None => journal::of_volume(&volume.name, || work(volume)),
        };
        let took = started.elapsed();
        match &result {
            Ok(_) => debug!("{}: done in {took:?}", volume.name),
            Err(failure) => debug!("{}: {}: {failure}", volume.name, failure.word()),
        }
        ended.lock().unwrap_or_else(PoisonError::into_inner).insert(&volume.name, result.is_ok());
        one_more.notify_all();
        Outcome { volume, result, took }
    };
    match volumes {
        // A thread for one would be work for nothing.
        [one] => vec![run(one)],
        many => thread::scope(|scope| {
            let start = |volume: &&'a Volume| {
                let worker = thread::Builder::new().spawn_scoped(scope, || run(volume));
                if worker.is_err() {
                    // Whoever waits for this volume has to hear of it before any is waited for here.
                    ended.lock().unwrap_or_else(PoisonError::into_inner).insert(&volume.name, false);
                    one_more.notify_all();
                }
                (*volume, worker)
            };
            let workers: Vec<_> = many.iter().map(start).collect();
            let end =
                |(volume, worker): (&'a Volume, io::Result<thread::ScopedJoinHandle<'_, Outcome<'a>>>)| match worker {
                    Ok(worker) => worker.join().expect("a volume's thread does not panic"),
                    Err(error) => {
                        let error = anyhow!(error).context("starting a thread for it (see TasksMax= and `ulimit -u`)");
                        Outcome { volume, result: Err(Failure::Failed(error)), took: Duration::ZERO }
                    }
                };
            workers.into_iter().map(end).collect()
        }),
    }
}
