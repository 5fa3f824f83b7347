//! What is said of EC2's things, read: every key, the defaults, and what later files replace. What is wrong, with the
//! whole of its text, is in `tests/cases`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::schema::{Config, Ebs, EbsVolume, Eni, Interface, Signal, Source, Takeover, VolumeId};
use crate::config::{Problems, parse};

const MINUTE: Duration = Duration::from_secs(60);

fn good(texts: &[&str]) -> Config {
    parse(texts).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A config whose one volume has this source, and what follows it.
fn with(source: &str, rest: &str) -> String {
    format!("volumes: {{ kafka: {{ source: {source}, mount: /data/kafka }} }}\n{rest}")
}

fn ebs(source: &str) -> Ebs {
    match good(&[&with(source, "")]).volumes.remove(0).source {
        Source::Ebs(ebs) => ebs,
        other => panic!("{other:?}"),
    }
}

fn tags(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const POOL: &str = "{ ebs: { pool: { tags: { cluster: kafka } }, slot-tag: slot } }";

fn told(result: Result<Config, Problems>) -> String {
    result.expect_err("it is wrong").to_string()
}

#[test]
fn a_volume_is_one_by_its_id_by_tags_or_of_a_pool() {
    let id = VolumeId::parse("vol-5afc0745").unwrap();
    let volume = EbsVolume::Id(id);
    assert_eq!(
        ebs("{ ebs: vol-5afc0745 }"),
        Ebs {
            volume: volume.clone(),
            attach: false,
            takeover: Takeover::WhenStopped,
            timeout: Duration::from_secs(90)
        }
    );
    assert_eq!(
        ebs("{ ebs: vol-5afc0745, attach: true }"),
        Ebs { volume, attach: true, takeover: Takeover::WhenStopped, timeout: 5 * MINUTE }
    );
    let found = ebs("{ ebs: { tags: { \"aws:cloudformation:stack-name\": prod, empty: \"\" } } }");
    let both = tags(&[("aws:cloudformation:stack-name", "prod"), ("empty", "")]);
    assert_eq!((found.volume, found.attach), (EbsVolume::Tags(both), false));
    let pool = ebs(POOL);
    let slots = EbsVolume::Pool { tags: tags(&[("cluster", "kafka")]), slot_tag: Some("slot".to_owned()) };
    assert_eq!((pool.volume, pool.attach, pool.timeout), (slots, true, 5 * MINUTE));
    let pool = ebs("{ ebs: { pool: { tags: { cluster: kafka } } }, attach: true, timeout: 20 }");
    assert!(matches!(pool.volume, EbsVolume::Pool { slot_tag: None, .. }) && pool.attach);
    assert_eq!(pool.timeout, Duration::from_secs(20));
}

#[test]
fn a_takeover_is_forced_after_a_time_alone() {
    let takeover = |rest: &str| ebs(&format!("{{ ebs: vol-5afc0745, attach: true, {rest} }}")).takeover;
    assert_eq!(takeover("takeover: never"), Takeover::Never);
    assert_eq!(takeover("takeover: when-stopped"), Takeover::WhenStopped);
    assert_eq!(takeover("takeover: force, force-after: 10m"), Takeover::Force { after: 10 * MINUTE });
    let pool = "{ ebs: { pool: { tags: { cluster: kafka } } }, takeover: never }";
    assert_eq!(ebs(pool).takeover, Takeover::Never, "a pool's volume is always attached");
    // One thing is wrong, and one is told.
    for wrong in ["attach: \"yes\", takeover: never", "attach: true, takeover: froce, force-after: 10m"] {
        let problems = parse(&[&with(&format!("{{ ebs: vol-5afc0745, {wrong} }}"), "")]).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{problems}");
    }
}

#[test]
fn interfaces_are_read_and_sorted() {
    let interfaces = good(&[&with(
        POOL,
        "interfaces:\n  eth2: { eni: { tags: { Name: x } }, device-index: 2, timeout: 1min }\n  \
         eth1: { eni: eni-0123456789abcdef0 }\n  eth3: { eni: { slot-of: kafka }, device-index: \"15\" }\n",
    )])
    .interfaces;
    let interface = |name: &str, eni, device_index, minutes| Interface {
        name: name.to_owned(),
        eni,
        device_index,
        timeout: minutes * MINUTE,
    };
    assert_eq!(
        interfaces,
        [
            interface("eth1", Eni::Id("eni-0123456789abcdef0".to_owned()), 1, 5),
            interface("eth2", Eni::Tags(tags(&[("Name", "x")])), 2, 1),
            interface("eth3", Eni::SlotOf("kafka".to_owned()), 15, 5),
        ]
    );
    assert!(told(parse(&["interfaces: {}"])).contains("missing key `volumes`"));
}

#[test]
fn a_signal_is_one_or_a_list() {
    let stack = Signal::Stack { stack: "prod".to_owned(), resource: "Node1".to_owned() };
    let hook = Signal::Lifecycle { group: "kafka".to_owned(), hook: "volumes".to_owned() };
    let signals = |text: &str| good(&[&with(POOL, text)]).signals;
    assert_eq!(signals("signal: { stack: prod, resource: Node1 }"), std::slice::from_ref(&stack));
    let list = "signal: [{ stack: prod, resource: Node1 }, { lifecycle: { group: kafka, hook: volumes } }]";
    assert_eq!(signals(list), [stack, hook]);
    assert_eq!(signals("signal: []"), []);
}

#[test]
fn what_names_its_kind_replaces_the_earlier_one() {
    let base = with(
        "{ ebs: { tags: { a: b } }, attach: true, takeover: never }",
        "interfaces: { eth1: { eni: { tags: { a: b } } } }\nsignal: { stack: prod, resource: Node1 }",
    );
    let later = "volumes: { kafka: { source: { ebs: { pool: { tags: { c: d } }, slot-tag: slot } } } }\n\
                 interfaces: { eth1: { eni: { slot-of: kafka } } }\n\
                 signal: { lifecycle: { group: kafka, hook: volumes } }";
    let config = good(&[&base, later]);
    let Source::Ebs(ebs) = &config.volumes[0].source else { panic!("{config:?}") };
    assert!(matches!(&ebs.volume, EbsVolume::Pool { tags, .. } if tags.len() == 1));
    assert_eq!(ebs.takeover, Takeover::WhenStopped);
    assert_eq!(config.interfaces[0].eni, Eni::SlotOf("kafka".to_owned()));
    assert!(matches!(config.signals[..], [Signal::Lifecycle { .. }]));
    // What does not name it adds to it. A name is no kind.
    let later = "volumes: { kafka: { source: { takeover: when-stopped } } }\n\
                 interfaces: { eth1: { device-index: 3 }, eni: { eni: eni-5afc0745 } }\nsignal: { resource: Node2 }";
    let config = good(&[&base, later, "interfaces: { eni: { device-index: 2 } }"]);
    assert!(matches!(
        &config.volumes[0].source,
        Source::Ebs(Ebs { attach: true, takeover: Takeover::WhenStopped, .. })
    ));
    assert_eq!(config.interfaces.iter().map(|one| one.device_index).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(config.signals, [Signal::Stack { stack: "prod".to_owned(), resource: "Node2".to_owned() }]);
}

#[test]
fn words_that_stand_for_something() {
    let metadata = |source: &str, words: &str, rest: &str| {
        let volume = format!("{{ source: {source}, mount: /data/kafka, metadata: {{ key: \"{words}\" }} }}");
        parse(&[&format!("volumes: {{ kafka: {volume} }}\npublish: [fleet]\n{rest}")])
    };
    let device = "{ device: /dev/xvdb }";
    let one = "interfaces: { eth1: { eni: eni-5afc0745 } }";
    let paired = "interfaces: { a: { eni: eni-5afc0745 }, b: { eni: { slot-of: kafka }, device-index: 2 } }";
    for (source, words, rest) in [
        (POOL, "{slot}-{zone}", ""),
        ("{ ebs: vol-5afc0745, attach: true }", "{zone}-{volume-id}", ""),
        (POOL, "{address}", paired),
        (POOL, "{address}", one),
        (device, "{address}", one),
    ] {
        assert!(metadata(source, words, rest).is_ok(), "{source} {words} {rest}");
    }
    let two = "interfaces: { a: { eni: eni-5afc0745 }, b: { eni: eni-5afc0746, device-index: 2 } }";
    for (source, words, rest) in [
        (device, "{zone}", ""),
        (device, "{slot}", one),
        ("{ ebs: vol-5afc0745 }", "{zone}", ""),
        (POOL, "{address}", ""),
        (POOL, "{address}", two),
    ] {
        let told = told(metadata(source, words, rest));
        assert!(told.contains(words), "{told}");
    }
    // An interface that is wrong is an interface.
    let half = "interfaces: { a: { eni: eni-5afc0745 }, b: { eni: eni-1 } }";
    let problems = metadata(POOL, "{address}", half).unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
    // And a volume that is wrong is a volume.
    let wrong = "interfaces: { a: { eni: { slot-of: kafka } } }";
    let problems = metadata("{ ebs: vol-1 }", "{name}", wrong).unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
}
