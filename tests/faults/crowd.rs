//! Twenty at once on one half-made disk.

use std::collections::BTreeSet;
use std::thread;

use serde_json::Value;

use crate::cuts::{SIZE, header};
use crate::recorder::Event;
use crate::replay::{Chance, KINDS, Story, blank, record, run, stands, unmount, whole};
use crate::rig::Rig;
use crate::tally::Tally;

#[test]
fn twenty_at_once_on_a_half_made_disk() {
    for kind in KINDS {
        let mut rig = Rig::new();
        let base = blank(&rig, SIZE);
        let (events, _) = record(&base, kind, 512);
        let (begun, ..) = header(&events);
        let flushes = events.iter().enumerate().filter(|(at, event)| *at > begun && matches!(event, Event::Flush));
        let content = flushes.map(|(at, _)| at).nth(2).unwrap();
        let half = rig.file("half", 0);
        Story { base: &base, events: &events, sector: 512, ours: events.len() }.torn(
            content,
            &mut Chance::new(5),
            &half,
        );

        let disk = rig.attach(&half);
        let arguments = ["--json", "up", "--device", disk.name(), "--mount", "/data/pg", "--fs", kind];
        let ran: Vec<_> = thread::scope(|scope| {
            let runs: Vec<_> = (0..20).map(|_| scope.spawn(|| rig.volinit(&arguments))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert!(ran.iter().all(|ran| ran.code == Some(0)), "{kind}: {ran:#?}");
        let said: Vec<Value> = ran.iter().map(|ran| serde_json::from_str(&ran.out).unwrap()).collect();
        let volumes = || said.iter().map(|document| &document["volumes"][0]);
        let uuids: BTreeSet<&str> = volumes().map(|volume| volume["filesystem"]["uuid"].as_str().unwrap()).collect();
        let did = |step: &str| {
            let did = |volume: &&Value| volume["steps"].as_array().unwrap().iter().any(|one| one["action"] == step);
            volumes().filter(did).count()
        };
        assert_eq!((did("undo"), did("format"), did("mount"), uuids.len()), (1, 1, 1, 1), "{kind}: {ran:#?}");
        let mut tally = Tally::new(format!("twenty at once, {kind}: all exit 0, one undo, one format, one UUID"));
        let up = run(&rig, &disk, kind, "up");
        tally.add("after them", stands(&rig, &disk, kind, &up).map(|()| "standing".to_owned()));
        unmount(&rig, &disk);
        tally.add("checked", whole(&disk, kind).map(|()| "whole".to_owned()));
        tally.end();
    }
}
