//! `FLEET_METADATA`: who has the last word, and what ours says.

use std::fs;

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn service(unit: &str, drop_ins: &[(&str, &str)]) -> Service {
    let drop_ins = drop_ins.iter().map(|&(path, text)| {
        let path = Path::new(path);
        (path.file_name().unwrap().to_str().unwrap().to_owned(), (path.to_owned(), text.to_owned()))
    });
    Service { unit: unit.to_owned(), drop_ins: drop_ins.collect(), ours: None }
}

/// The line that counts of the one drop-in that is to be there, and its name.
fn drop_in_of(files: &[File]) -> Option<(String, String)> {
    let mut texts = files.iter().filter_map(|file| match &file.content {
        Content::Text(text) => Some((file.path.file_name()?.to_str()?.to_owned(), text.clone())),
        Content::Link(_) | Content::Absent => None,
    });
    let found = texts.next();
    assert!(texts.next().is_none(), "one drop-in, not two");
    found
}

fn environment_of(files: &[File]) -> Option<String> {
    let (_, text) = drop_in_of(files)?;
    text.lines().find_map(|line| line.strip_prefix("Environment=")).map(str::to_owned)
}

const NONE: BTreeSet<String> = BTreeSet::new();

#[test]
fn the_text() {
    let set = "[Service]\nEnvironment=\"FLEET_METADATA=region=us-west\"\n";
    let service = service("", &[("/run/systemd/system/fleet.service.d/20-cloudinit.conf", set)]);
    let files = files(&service, "ignored=1", &map(&[("postgres", "vol-5afc0745")]), &NONE).unwrap();
    assert_eq!(files[0].path, Path::new("/run/systemd/system/fleet.service.d/50-volinit.conf"));
    assert_eq!(
        files[0].content,
        Content::Text(
            "# Written by volinit: fleet's metadata as set before, with the volumes' own.\n\
             # volinit's own: postgres\n\
             [Service]\n\
             Environment=\"FLEET_METADATA=region=us-west,postgres=vol-5afc0745\"\n"
                .into()
        )
    );
    assert_eq!(files[1].path, Path::new("/run/systemd/system/fleet.service.d/zz-volinit.conf"));
    assert_eq!(files[1].content, Content::Absent);
}

#[test]
fn systemd_s_settings_are_read_as_systemd_reads_them() {
    for (text, value) in [
        ("[Service]\nEnvironment=FLEET_METADATA=a=b\n", Some("a=b")),
        ("[Service]\nEnvironment=A=1 \"FLEET_METADATA=a=b c\" B=2\n", Some("a=b c")),
        ("[Service]\n Environment = 'FLEET_METADATA=a=\"b\"'\n", Some("a=\"b\"")),
        ("[Service]\nEnvironment=FLEET_METADATA=\"a=b\"c\n", Some("a=bc")),
        ("[Service]\nEnvironment=\"FLEET_METADATA=\\x61\\075\\u00e9\\t\\\"\"\n", Some("a=é\t\"")),
        ("[Service]\nEnvironment=FLEET_METADATA=host=%H,p=50%%\n", Some("host=%H,p=50%%")),
        ("[Service]\nEnvironment=A=1 \\\n# between\n  FLEET_METADATA=a=b\n", Some("a=b")),
        ("[Service]\nEnvironment=FLEET_METADATA=a=b\nEnvironment=FLEET_METADATA=\n", Some("")),
        ("[Service]\nEnvironment=FLEET_METADATA=a=b FLEET_METADATA=c=d\n", Some("c=d")),
        ("[Service]\nEnvironment=\nEnvironment=FLEET_METADATA=a=b\n", Some("a=b")),
        ("[Service]\nEnvironment=FLEET_METADATA=a=b\nEnvironment=A=1 \"open\n", Some("a=b")),
        ("[Service]\nEnvironment=FLEET_METADATA=a=b \\q FLEET_METADATA=c=d\n", Some("a=b")),
    ] {
        assert_eq!(effect(text), value.map(|value| Effect::Set(value.into())), "{text}");
    }
    for text in [
        "",
        "Environment=FLEET_METADATA=a=b\n",
        "[Unit]\nEnvironment=FLEET_METADATA=a=b\n",
        "[Service]\n#Environment=FLEET_METADATA=a=b\nEnvironment=FLEET_METADATAS=a=b \"FLEET_METADATA\"\n",
        "[Service]\nEnvironmentFile=FLEET_METADATA=a=b\n",
    ] {
        assert_eq!(effect(text), None, "{text}");
    }
    assert_eq!(effect("[Service]\nEnvironment=FLEET_METADATA=a=b\nEnvironment= \n"), Some(Effect::Reset));
}

#[test]
fn the_last_one_to_set_it_is_merged_with() {
    let set = |value: &str| format!("[Service]\nEnvironment=FLEET_METADATA={value}\n");
    let (a, b, empty) = (set("a=1"), set("b=2"), set(""));
    let reset = "[Service]\nEnvironment=\n";
    for (unit, drop_ins, expected) in [
        ("", vec![], "conf=1,pg=v"),
        (a.as_str(), vec![], "a=1,pg=v"),
        (a.as_str(), vec![("/etc/d/10.conf", b.as_str())], "b=2,pg=v"),
        ("", vec![("/etc/d/20.conf", &a), ("/usr/lib/d/30.conf", &b)], "b=2,pg=v"),
        (a.as_str(), vec![("/etc/d/10.conf", "[Service]\nNice=1\n")], "a=1,pg=v"),
        (a.as_str(), vec![("/etc/d/10.conf", reset)], "conf=1,pg=v"),
        (a.as_str(), vec![("/etc/d/10.conf", &empty)], "pg=v"),
    ] {
        let files = files(&service(unit, &drop_ins), "conf=1", &map(&[("pg", "v")]), &NONE).unwrap();
        assert_eq!(environment_of(&files), Some(format!("\"FLEET_METADATA={expected}\"")), "{unit}{drop_ins:?}");
    }
}

#[test]
fn percent_signs_and_quotes_reach_fleet_as_they_were_meant() {
    let service = service("[Service]\nEnvironment='FLEET_METADATA=host=%H,q=\"\\\\,n=a\\nb'\n", &[]);
    let ours = map(&[("use", "50%")]);
    let files = files(&service, "", &ours, &NONE).unwrap();
    let line = environment_of(&files).unwrap();
    assert_eq!(line, r#""FLEET_METADATA=host=%H,q=\"\\,n=a\x0ab,use=50%%""#);
    let (_, text) = drop_in_of(&files).unwrap();
    assert_eq!(effect(&text), Some(Effect::Set("host=%H,q=\"\\,n=a\nb,use=50%%".into())), "it reads back");

    let conf = super::files(&Service::default(), "p=5%", &ours, &NONE).unwrap();
    assert_eq!(environment_of(&conf).unwrap(), "\"FLEET_METADATA=p=5%%,use=50%%\"");
}

#[test]
fn ours_comes_last_or_says_why_not() {
    let set = "[Service]\nEnvironment=FLEET_METADATA=a=1\n";
    let ours = map(&[("pg", "v")]);
    for (drop_in, name) in [
        (("/etc/d/49.conf", set), "50-volinit.conf"),
        (("/etc/d/60.conf", "[Service]\nNice=1\n"), "50-volinit.conf"),
        (("/etc/d/60.conf", set), "zz-volinit.conf"),
        (("/etc/d/60.conf", "[Service]\nEnvironment=\n"), "zz-volinit.conf"),
        (("/etc/d/50-volinit.conf", ""), "zz-volinit.conf"),
    ] {
        let files = files(&service("", &[drop_in]), "", &ours, &NONE).unwrap();
        assert_eq!(drop_in_of(&files).unwrap().0, name, "{drop_in:?}");
        assert_eq!(files.len(), 2, "the other name is cleared");
    }
    for path in ["/etc/d/zzz.conf", "/etc/d/zz-volinit.conf"] {
        let service = service("", &[("/etc/d/50-volinit.conf", set), (path, set)]);
        let error = files(&service, "", &ours, &NONE).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{path} sets the environment")), "{error}");
    }
}

#[test]
fn another_run_s_pairs_stay_and_withdrawn_ones_go() {
    let set = "[Service]\nEnvironment=FLEET_METADATA=a=1,redis=old\n";
    let mut service = service(set, &[]);
    let gone = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<BTreeSet<_>>();
    let step = |service: &mut Service, pairs: &[(&str, &str)], withdrawn: &[&str]| {
        let files = files(service, "", &map(pairs), &gone(withdrawn)).unwrap();
        service.ours = drop_in_of(&files).map(|(_, text)| text);
        environment_of(&files)
    };
    let is = |value: &str| Some(format!("\"FLEET_METADATA={value}\""));
    assert_eq!(step(&mut service, &[("pg", "v")], &[]), is("a=1,redis=old,pg=v"));
    assert_eq!(step(&mut service, &[("redis", "w")], &[]), is("a=1,redis=w,pg=v"));
    // What others say is read anew each time.
    service.unit = set.replace("a=1", "b=2");
    assert_eq!(step(&mut service, &[], &[]), is("b=2,redis=w,pg=v"));
    assert_eq!(step(&mut service, &[], &["pg"]), is("b=2,redis=w"));
    // The old value is not there while the volume is not; with nothing to say there is no drop-in.
    assert_eq!(step(&mut service, &[], &["redis"]), is("b=2"));
    service.unit = String::new();
    assert_eq!(step(&mut service, &[], &["redis"]), None);
}

#[test]
fn files_are_found_in_systemd_s_order() {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("usr/lib/systemd/system/fleet.service", "vendor");
    put("etc/systemd/system/fleet.service", "admin");
    put("usr/lib/systemd/system/fleet.service.d/10.conf", "hidden");
    put("usr/lib/systemd/system/fleet.service.d/30.conf", "masked");
    put("usr/lib/systemd/system/fleet.service.d/40.conf", "vendor");
    put("run/systemd/system/fleet.service.d/10.conf", "runtime");
    put("run/systemd/system/fleet.service.d/50-volinit.conf", "ours");
    put("run/systemd/system/fleet.service.d/README", "no drop-in");
    fs::create_dir_all(folder.path().join("etc/systemd/system/fleet.service.d")).unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.path().join("etc/systemd/system/fleet.service.d/30.conf")).unwrap();
    let mut expected = service(
        "admin",
        &[
            ("/run/systemd/system/fleet.service.d/10.conf", "runtime"),
            ("/etc/systemd/system/fleet.service.d/30.conf", ""),
            ("/usr/lib/systemd/system/fleet.service.d/40.conf", "vendor"),
        ],
    );
    expected.ours = Some("ours".into());
    assert_eq!(Service::read(&Root::new(folder.path())).unwrap(), expected);
}

/// Found by the fuzzer.
#[test]
fn others_odd_pairs_are_left_to_them() {
    let others = service("[Service]\nEnvironment=\"FLEET_METADATA=a=b, = x,gone=1\"\n", &[]);
    let gone = BTreeSet::from(["gone".to_owned()]);
    let first = files(&others, "", &map(&[]), &gone).unwrap();
    let (_, text) = drop_in_of(&first).unwrap();
    let second = files(&Service { ours: Some(text), ..others }, "", &map(&[]), &gone).unwrap();
    assert_eq!(environment_of(&second).unwrap(), "\"FLEET_METADATA=a=b, = x\"", "a pair without a key is not ours");
    assert_eq!(first, second);

    let files = files(&service("", &[]), "a=\0b", &map(&[("k", "v")]), &NONE).unwrap();
    assert_eq!(environment_of(&files).unwrap(), "\"FLEET_METADATA=a=b,k=v\"", "no environment holds a zero byte");
}
