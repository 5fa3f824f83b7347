//! The config as a whole: files found and merged, and the full text of what is wrong. Whole wrong configs are
//! in `tests/cases`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use super::files::File;
use super::*;
use crate::bytes::Bytes;

fn parsed(text: &str) -> Result<Config, Problems> {
    read(&[File { path: "c.yaml".into(), text: text.to_owned() }])
}

fn told(text: &str) -> String {
    parsed(text).expect_err(text).to_string()
}

/// A root with these files.
fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let root = Root::new(folder.path());
    (folder, root)
}

fn options(root: &Root) -> Vec<String> {
    load(root, &[]).unwrap().volumes.remove(0).mount.options
}

const BASE: &str =
    "volumes: {pg: {source: {device: /dev/xvdb, timeout: 5min}, mount: {at: /data/pg, options: [vendor]}}}";

fn with_option(option: &str) -> String {
    format!("volumes: {{pg: {{mount: {{options: [{option}]}}}}}}")
}

#[test]
fn positions_are_exact() {
    let base = "volumes:\n  pg:\n    source: { device: /dev/xvdb }\n    mount: /data/pg\n";
    for (text, expected) in [
        // A key in a block, in quotes, in a flow map, at the top.
        (
            "voluems: {}\n",
            "1:1: unknown key `voluems` in the config: did you mean `volumes`?\n  1 | voluems: {}\n    | ^^^^^^^",
        ),
        (
            &format!("{base}    \"lábel\": x\n"),
            "5:5: unknown key `lábel` in volume `pg`: use `source`, `filesystem`, `mount` or `metadata`\n  5 |     \"lábel\": x\n    |     ^^^^^^^",
        ),
        (
            &format!("{base}    filesystem: {{ label: ä, tpye: xfs }}\n"),
            "5:29: unknown key `tpye` in `filesystem` of volume `pg`: did you mean `type`?\n  5 |     filesystem: { label: ä, tpye: xfs }\n    |                             ^^^^",
        ),
        // Values: a number as it was written, a block scalar, a map, a list's element, an alias at its anchor.
        (
            &format!("{base}    filesystem: {{ label: 0x1F }}\n"),
            "5:26: `filesystem.label` of volume `pg` must be a string, and this is not one to YAML: put it in quotes\n  5 |     filesystem: { label: 0x1F }\n    |                          ^^^^",
        ),
        (
            &format!("{base}    filesystem:\n      label: |\n        long\n        lines\n"),
            "6:14: `long\\nlines\\n` cannot be a label: leave out `/` and control characters\n  6 |       label: |\n    |              ^",
        ),
        (
            &format!("{base}    filesystem:\n      type:\n        xfs: yes\n"),
            "7:9: `filesystem.type` of volume `pg` must be a string, not a map\n  7 |         xfs: yes\n    |         ^",
        ),
        (
            &format!("{base}publish: [fleet,\tflet]\n"),
            "5:18: volinit cannot publish to `flet`: did you mean `fleet`?\n  5 | publish: [fleet, flet]\n    |                  ^^^^",
        ),
        (
            &format!("{base}publish: [{{ script: [announce] }}]\n"),
            "5:22: `announce` is not an absolute path: begin it with /\n  5 | publish: [{ script: [announce] }]\n    |                      ^^^^^^^^",
        ),
        (
            &format!("{base}publish: [script]\n"),
            "5:11: a script is named by its path: write { script: [/usr/local/bin/announce] }\n  5 | publish: [script]\n    |           ^^^^^^",
        ),
        (
            &format!("{base}publish: [{{ script: [] }}]\n"),
            "5:21: the script is empty: name a program, as in [/usr/local/bin/announce]\n  5 | publish: [{ script: [] }]\n    |                     ^",
        ),
        (
            &format!("{base}publish: [{{ script: /bin/a }}, {{ script: [/bin/a, -x] }}, {{ script: [/bin/a] }}]\n"),
            "5:57: `script` is in the list already: remove one\n  5 | publish: [{ script: /bin/a }, { script: [/bin/a, -x] }, { script: [/bin/a] }]\n    |                                                         ^",
        ),
        (
            &format!("{base}    metadata: {{ a: &x \"{{\", b: *x }}\npublish: [fleet]\n"),
            "5:20: `{` has a brace without its partner: write {word}\n  5 |     metadata: { a: &x \"{\", b: *x }\n    |                    ^",
        ),
        // What a parser says itself.
        (
            "volumes: !mine {}\n",
            "1:10: a YAML tag (`!…`) means nothing here: leave it out, or quote the value\n  1 | volumes: !mine {}\n    |          ^",
        ),
        ("volumes: *x\n", "1:10: this is not YAML: unknown anchor\n  1 | volumes: *x\n    |          ^"),
        (
            "volumes: { pg: {\n",
            "2:1: this is not YAML: did not find expected node content, while parsing a flow node\n  2 | \n    | ^",
        ),
        // libyaml ends a line at these too.
        (
            "# a\r\n# b\u{2028}vol: 1\r\nvolumes: {}",
            "3:1: unknown key `vol` in the config: use `volumes`, `interfaces`, `publish` or `signal`\n  3 | vol: 1\n    | ^^^\n\nc.yaml:4:1: there is no volume in `volumes`: add an entry for each\n  4 | volumes: {}\n    | ^^^^^^^",
        ),
    ] {
        assert_eq!(told(text), format!("c.yaml:{expected}"), "{text}");
    }
}

#[test]
fn what_has_no_line_names_the_file() {
    let nothing = "c.yaml: nothing is said here: add `volumes:` with an entry for each volume";
    assert_eq!(told("# volumes:\n"), nothing);
    assert!(told("a: 1\n---\nb: 2\n").starts_with("c.yaml: this is not YAML: "));
}

#[test]
fn later_files_win_key_by_key() {
    let (_folder, root) = root(&[
        ("usr/lib/volinit/volinit.yaml", BASE),
        (
            "etc/volinit/volinit.yaml",
            "volumes: {pg: {filesystem: {type: xfs}, mount: {options: [admin], nonempty: true}}}",
        ),
        ("run/volinit/volinit.yaml", "# nothing but a comment\n"),
    ]);
    let config = load(&root, &[]).unwrap();
    let [volume] = &config.volumes[..] else { panic!("{config:?}") };
    let path = "/dev/xvdb".into();
    assert_eq!(volume.source, Source::Device { path, timeout: Duration::from_secs(300) });
    assert_eq!(volume.filesystem.kind, FsType::Xfs);
    assert_eq!(volume.mount.options, ["admin"], "lists are replaced");
    assert!(volume.mount.nonempty && volume.mount.at.as_path() == Path::new("/data/pg"));
}

#[test]
fn a_source_that_names_its_kind_replaces_the_earlier_one() {
    let image = "volumes: {pg: {source: {image: /srv/pg.img, size: 1G}}}";
    let (_folder, root) = root(&[("etc/volinit/volinit.yaml", BASE), ("etc/volinit/conf.d/image.yaml", image)]);
    let path = "/srv/pg.img".into();
    assert_eq!(load(&root, &[]).unwrap().volumes[0].source, Source::Image { path, size: Bytes(1 << 30) });
}

#[test]
fn drop_ins_come_after_every_main_file_and_by_name() {
    let (folder, root) = root(&[
        ("etc/volinit/volinit.yaml", BASE),
        ("usr/lib/volinit/conf.d/20-b.yaml", &with_option("b")),
        ("run/volinit/conf.d/10-a.yaml", &with_option("a")),
        ("run/volinit/conf.d/.30-hidden.yaml", &with_option("hidden")),
        ("run/volinit/conf.d/30-c.yaml.dpkg-old", &with_option("old")),
    ]);
    assert_eq!(options(&root), ["b"], "the name counts, not the folder");
    fs::create_dir_all(folder.path().join("etc/volinit/conf.d")).unwrap();
    let over = folder.path().join("etc/volinit/conf.d/20-b.yaml");
    fs::write(&over, with_option("over")).unwrap();
    assert_eq!(options(&root), ["over"], "a later folder's replaces the one of its name");
    fs::write(&over, "").unwrap();
    assert_eq!(options(&root), ["a"], "an empty one masks it");
    fs::remove_file(&over).unwrap();
    symlink("/dev/null", &over).unwrap();
    assert_eq!(options(&root), ["a"], "and so does a link to /dev/null");
    fs::write(folder.path().join("etc/volinit/conf.d/30-c.yml"), "").unwrap();
    let told = load(&root, &[]).unwrap_err().to_string();
    assert!(told.ends_with("30-c.yml: would not be read: rename it to end in .yaml"), "{told}");
}

#[test]
fn files_that_cannot_be_read_are_told_with_their_paths() {
    let (folder, root) = root(&[("etc/volinit/bytes.yaml", ""), ("etc/volinit/good.yaml", BASE)]);
    let at = folder.path().join("etc/volinit");
    let shown = folder.path().display();
    assert_eq!(
        load(&root, &[]).unwrap_err().to_string(),
        format!(
            "volinit.yaml: there is no config: looked for volinit.yaml and conf.d/*.yaml in {shown}/usr/lib/volinit, \
             {shown}/etc/volinit and {shown}/run/volinit. Write {shown}/etc/volinit/volinit.yaml, name a file with \
             --config FILE, or name one volume with --device and --mount"
        )
    );
    fs::write(at.join("bytes.yaml"), b"a: 1\nb: \xff\n").unwrap();
    let told = load(&root, &["bytes.yaml", "good.yaml", "absent.yaml"].map(|name| at.join(name))).unwrap_err();
    let expected = format!(
        "{0}/bytes.yaml: is not UTF-8 text: the first wrong byte is on line 2; save the file as UTF-8\n\n\
         {0}/absent.yaml: cannot be read: No such file or directory (os error 2)",
        at.display()
    );
    assert_eq!(told.to_string(), expected);
    fs::write(at.join("bom.yaml"), "\u{feff}voluems: {}").unwrap();
    let told = load(&root, &[at.join("bom.yaml")]).unwrap_err().to_string();
    assert!(
        told.contains("bom.yaml:1:1: unknown key `voluems`"),
        "a byte order mark is no character of the line: {told}"
    );
    symlink("nowhere", at.join("volinit.yaml")).unwrap();
    assert!(load(&root, &[]).unwrap_err().to_string().contains("volinit.yaml: cannot be read"));
}

#[test]
fn a_problem_names_the_file_that_it_is_in_and_the_other_one() {
    let (folder, root) = root(&[
        ("etc/volinit/volinit.yaml", BASE),
        ("run/volinit/volinit.yaml", "volumes:\n  redis:\n    source: { device: /dev/xvdb }\n    mount: /data/redis\n"),
    ]);
    let shown = folder.path().display();
    assert_eq!(
        load(&root, &[]).unwrap_err().to_string(),
        format!(
            "{shown}/run/volinit/volinit.yaml:3:23: the device `/dev/xvdb` is taken by volume `pg` \
             ({shown}/etc/volinit/volinit.yaml:1): one source makes one volume, remove one of the two\n  \
             3 |     source: {{ device: /dev/xvdb }}\n    |                       ^^^^^^^^^"
        )
    );
}

#[test]
fn the_five_stories_are_said_in_a_few_lines() {
    // 1. Postgres on fleet; 2. Redis on NFS; 3. a DC/OS agent's disk; 4. a Swarm node; 5. CloudFormation.
    let config = parsed(
        r#"
volumes:
  postgres:
    source: { ebs: vol-5afc0745, attach: true, timeout: 5min }
    filesystem: { type: btrfs, label: PostgreSQL, mkfs-options: [-O, quota] }
    mount: { at: /data/postgres, options: [noatime], owner: 999:999, mode: "0700" }
    metadata: { postgres: "{volume-id}" }
  redis:
    source: { nfs: "172.17.8.200:/mnt/default/data" }
    mount: { at: /mnt/data, options: [vers=3, sec=sys] }
  pgdata:
    source: { ebs: { tags: { Name: pgdata, app: postgres } } }
    mount: /dcos/volume0
    metadata: { pgdata: "{volume-id}", where: "{mount}" }
  foobarstore:
    source: { image: /var/lib/volinit/foobarstore.img, size: 1G }
    mount: { at: /data, owner: redis, nonempty: true }
    metadata: { foobarstore: "node-{uuid}" }
  data:
    source: { device: /dev/xvdh, timeout: 90 }
    filesystem: { format: never }
    mount: { at: /data/db, owner: ":999" }
publish: [fleet, env, { script: [/usr/local/bin/announce, --flag] }]
"#,
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<_> = config.volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["data", "foobarstore", "pgdata", "postgres", "redis"]);
    let script = ["/usr/local/bin/announce", "--flag"].map(str::to_owned).to_vec();
    assert_eq!(config.publish, [Target::Fleet, Target::Env, Target::Script(script)]);
    let [data, foobarstore, pgdata, postgres, redis] = &config.volumes[..] else { panic!("{names:?}") };
    assert_eq!((data.filesystem.kind, data.filesystem.format), (FsType::Ext4, Format::Never));
    assert_eq!(data.mount.owner, Some(Owner { user: None, group: Some(Id::Number(999)) }));
    assert_eq!(foobarstore.mount.owner, Some(Owner { user: Some(Id::Name("redis".into())), group: None }));
    assert!(
        matches!(&pgdata.source, Source::Ebs(Ebs { volume: EbsVolume::Tags(tags), attach: false, .. }) if tags.len() == 2)
    );
    let id = VolumeId::parse("vol-5afc0745").unwrap();
    let timeout = Duration::from_secs(300);
    assert_eq!(
        postgres.source,
        Source::Ebs(Ebs { volume: EbsVolume::Id(id), attach: true, takeover: Takeover::WhenStopped, timeout })
    );
    assert_eq!(postgres.filesystem.mkfs_options, ["-O", "quota"]);
    assert_eq!(postgres.mount.mode, Some(0o700));
    assert_eq!(redis.source, Source::Nfs { export: "172.17.8.200:/mnt/default/data".into(), timeout: decode::TIMEOUT });
}

#[test]
fn flags_make_a_volume_by_the_same_rules() {
    let volume = volume_from_flags(Path::new("/dev/xvdb"), "/data/my db", Some("btrfs"), Some("X")).unwrap();
    assert_eq!((volume.name.as_str(), volume.filesystem.kind), ("data-my_db", FsType::Btrfs));
    assert_eq!(
        volume_from_flags(Path::new("xvdb"), "/etc", Some("brtfs"), None).unwrap_err().to_string(),
        "--device: `xvdb` is not an absolute path: begin it with /\n\n\
         --mount: `/etc` is a folder of the system's: choose one of its own, such as /data/NAME\n\n\
         --fs: volinit makes no `brtfs`: did you mean `btrfs`?"
    );
    let told = volume_from_flags(Path::new("/dev/xvdb"), "/data", Some("xfs"), Some("PostgreSQL-data")).unwrap_err();
    assert!(told.to_string().starts_with("--label: the label `PostgreSQL-data` is 15 bytes long"));
}

/// Found by the fuzzer.
#[test]
fn nothing_of_a_config_reaches_the_terminal_as_a_control_character() {
    let options = "volumes:\n  a:\n    mount: { at: /a, options: \"x\\ty\\e[31m\" }\n";
    for text in ["volumes: \u{1b}[31m\n", "\"\\e[31m\": [\n", "\"\\e[31m\":\n  a: {{x}: 1}\n", options] {
        let told = told(text);
        assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
    }
}
