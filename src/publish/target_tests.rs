//! Each target on a machine's tree: what it is told, word for word, that a second run does nothing, and that what is
//! taken back leaves what others wrote as it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::super::tests::{Machine, mounted, said, volume};
use super::super::{CloudWords, Published, publish};
use super::*;
use crate::config::Volume;

fn postgres() -> Volume {
    volume("postgres", "/data/postgres", &[("postgres", "{volume-id}"), ("slot", "{slot}")])
}

fn published(volume: &Volume) -> Published<'_> {
    let mut published = mounted(volume);
    published.words.cloud = CloudWords { slot: Some("3".into()), zone: None, address: None };
    published
}

/// The machine's files but for systemd's and volinit's own: path to text.
fn texts(machine: &Machine) -> BTreeMap<String, String> {
    let tree = machine.tree().into_iter().map(|(path, (text, _))| (path.display().to_string(), text));
    tree.filter(|(path, _)| !path.starts_with("etc/systemd") && path != "run/volinit/publish.lock").collect()
}

/// Publishes, sees that a second run does nothing and that a plan has nothing to do, and takes it back: `told` are the
/// files then, and all that was there before is as it was. Gives what was logged as changed.
#[track_caller]
fn check(machine: &Machine, target: &Target, told: &[(&str, &str)]) -> Vec<String> {
    let (root, targets, postgres) = (machine.root(), [target.clone()], postgres());
    let before = texts(machine);
    let changes = publish(&root, &targets, &[published(&postgres)], &[]).unwrap();
    let mut expected = before.clone();
    expected.extend(told.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())));
    assert_eq!(texts(machine), expected);

    let tree = machine.tree();
    assert!(publish(&root, &targets, &[published(&postgres)], &[]).unwrap().is_empty());
    assert_eq!(machine.tree(), tree, "a second run writes nothing");

    publish(&root, &targets, &[], &[&postgres]).unwrap();
    assert_eq!(texts(machine), before, "taken back");
    assert!(publish(&root, &targets, &[], &[&postgres]).unwrap().is_empty());
    said(&changes)
}

#[test]
fn nomad_has_a_file_for_each_volume() {
    let machine = Machine::new();
    machine.put("/etc/nomad.d/nomad.hcl", "client { enabled = true }\n");
    let changes = check(
        &machine,
        &Target::Nomad,
        &[(
            "etc/nomad.d/volinit-postgres.hcl",
            "# Written by volinit for the volume `postgres`.\n\
             client {\n  meta {\n    \"postgres\" = \"vol-5afc0745\"\n    \"slot\" = \"3\"\n  }\n  \
             host_volume \"postgres\" {\n    path = \"/data/postgres\"\n  }\n}\n",
        )],
    );
    assert!(changes.contains(&"created /etc/nomad.d/volinit-postgres.hcl".to_owned()), "{changes:?}");
}

#[test]
fn consul_has_a_file_for_each_volume() {
    check(
        &Machine::new(),
        &Target::Consul,
        &[(
            "etc/consul.d/volinit-postgres.json",
            "{\n  \"node_meta\": {\n    \"postgres\": \"vol-5afc0745\",\n    \"slot\": \"3\"\n  }\n}\n",
        )],
    );
}

#[test]
fn ecs_has_its_attributes_in_its_config() {
    let machine = Machine::new();
    machine.put("/etc/ecs/ecs.config", "ECS_CLUSTER=prod\nECS_INSTANCE_ATTRIBUTES={\"z\":\"1\"}\n# end\n");
    check(
        &machine,
        &Target::Ecs,
        &[(
            "etc/ecs/ecs.config",
            "ECS_CLUSTER=prod\nECS_INSTANCE_ATTRIBUTES={\"z\":\"1\",\"postgres\":\"vol-5afc0745\",\"slot\":\"3\"}\n# end\n",
        )],
    );
    check(
        &Machine::new(),
        &Target::Ecs,
        &[(
            "etc/ecs/ecs.config",
            "# The next line is volinit's, and repeats what was set before.\n\
             ECS_INSTANCE_ATTRIBUTES={\"postgres\":\"vol-5afc0745\",\"slot\":\"3\"}\n",
        )],
    );
}

const OURS: &str = "# The next line is volinit's, and repeats what was set before.\n";

#[test]
fn mesos_has_its_attributes_where_dc_os_reads_them() {
    check(
        &Machine::new(),
        &Target::Mesos,
        &[("var/lib/dcos/mesos-slave-common", &format!("{OURS}MESOS_ATTRIBUTES=postgres:vol-5afc0745;slot:3\n"))],
    );
    let machine = Machine::new();
    machine.put("/var/lib/dcos/mesos-slave-common", "# ours\nMESOS_ATTRIBUTES='az:a'\nMESOS_IP=10.0.0.1\n");
    check(
        &machine,
        &Target::Mesos,
        &[(
            "var/lib/dcos/mesos-slave-common",
            "# ours\nMESOS_ATTRIBUTES='az:a;postgres:vol-5afc0745;slot:3'\nMESOS_IP=10.0.0.1\n",
        )],
    );
}

/// A public agent's earlier file says something, which the later one must repeat.
#[test]
fn a_public_agent_of_dc_os_stays_public() {
    let told = format!("{OURS}MESOS_ATTRIBUTES=public_ip:true;postgres:vol-5afc0745;slot:3\n");
    let public = Machine::new();
    public.put("/etc/mesosphere/roles/slave_public", "");
    check(&public, &Target::Mesos, &[("var/lib/dcos/mesos-slave-common", &told)]);
    public.put(
        "/opt/mesosphere/etc/mesos-slave-public",
        "MESOS_DEFAULT_ROLE=slave_public\nMESOS_ATTRIBUTES=public_ip:true\n",
    );
    public.put("/var/lib/dcos/mesos-slave-common", "MESOS_IP=10.0.0.1\n");
    check(&public, &Target::Mesos, &[("var/lib/dcos/mesos-slave-common", &format!("MESOS_IP=10.0.0.1\n{told}"))]);
    // The file of a role that the machine has not is read by nobody.
    let private = Machine::new();
    private.put("/etc/mesosphere/roles/slave", "");
    private.put("/opt/mesosphere/etc/mesos-slave-public", "MESOS_ATTRIBUTES=public_ip:true\n");
    let told = told.replace("public_ip:true;", "");
    check(&private, &Target::Mesos, &[("var/lib/dcos/mesos-slave-common", &told)]);
}

#[test]
fn mesos_has_a_file_for_each_attribute_where_mesosphere_s_packages_read_them() {
    let machine = Machine::new();
    machine.put("/etc/mesos-slave/attributes/rack", "r1\n");
    check(
        &machine,
        &Target::Mesos,
        &[("etc/mesos-slave/attributes/postgres", "vol-5afc0745\n"), ("etc/mesos-slave/attributes/slot", "3\n")],
    );
    let machine = Machine::new();
    machine.put("/etc/mesos-slave/attributes", "rack:r1\n");
    let error = publish(&machine.root(), &[Target::Mesos], &[published(&postgres())], &[]).unwrap_err().to_string();
    assert!(error.ends_with("/etc/mesos-slave/attributes is a file: make it a folder with a file for each attribute"));
}

#[test]
fn the_kubelet_has_labels_and_the_cluster_a_volume() {
    let machine = Machine::new();
    machine.put("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\"--v=2 --node-labels=a=b\"\n");
    let manifest = r#"# Written by volinit for the volume `postgres`.
apiVersion: v1
kind: PersistentVolume
metadata: { name: "postgres-vol-5afc0745" }
spec:
  capacity: { storage: "1048576" }
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: volinit
  local: { path: "/data/postgres" }
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions:
            - { key: "postgres", operator: In, values: ["vol-5afc0745"] }
            - { key: "slot", operator: In, values: ["3"] }
"#;
    check(
        &machine,
        &Target::Kubernetes,
        &[
            ("etc/default/kubelet", "KUBELET_EXTRA_ARGS=\"--v=2 --node-labels=a=b,postgres=vol-5afc0745,slot=3\"\n"),
            ("etc/kubernetes/volinit/postgres.yaml", manifest),
        ],
    );
    let read: serde_json::Value = serde_yaml::from_str(manifest).unwrap();
    let affinity = &read["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!((&affinity["key"], &affinity["values"][0]), (&"postgres".into(), &"vol-5afc0745".into()));
    let machine = Machine::new();
    machine.put("/etc/sysconfig/kubelet", "KUBELET_EXTRA_ARGS=\n");
    check(
        &machine,
        &Target::Kubernetes,
        &[
            ("etc/sysconfig/kubelet", "KUBELET_EXTRA_ARGS=--node-labels=postgres=vol-5afc0745,slot=3\n"),
            ("etc/kubernetes/volinit/postgres.yaml", manifest),
        ],
    );
}

#[test]
fn any_unit_has_an_environment() {
    check(
        &Machine::new(),
        &Target::Env,
        &[(
            "run/volinit/env/postgres",
            "VOLINIT_NAME=postgres\nVOLINIT_MOUNT=/data/postgres\nVOLINIT_VOLUME_ID=vol-5afc0745\n\
             VOLINIT_SIZE=1048576\nVOLINIT_SLOT=3\n",
        )],
    );
}

/// A file that cannot be merged is named, and stays; systemd and the others are told all the same.
#[test]
fn a_file_that_does_not_parse_stays_as_it_is() {
    for (target, path, text, why) in [
        (Target::Ecs, "/etc/ecs/ecs.config", "ECS_INSTANCE_ATTRIBUTES={\"a\":1}\n", "is no JSON object of strings"),
        (Target::Mesos, "/var/lib/dcos/mesos-slave-common", "MESOS_ATTRIBUTES=a:b\\\n", "joined to another one"),
        (Target::Kubernetes, "/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\"--v=2\" x\n", "quotes that end early"),
    ] {
        let machine = Machine::new();
        machine.put(path, text);
        let before = machine.tree();
        let targets = [Target::Env, target, Target::Consul];
        // The second run has nothing to do but to say it again.
        for _ in 0..2 {
            let error = publish(&machine.root(), &targets, &[published(&postgres())], &[]).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.starts_with(&format!("merging {}: ", machine.root().path(path).display())), "{error}");
            assert!(error.contains(why), "{error}");
            let after = machine.tree();
            let path = Path::new(path).strip_prefix("/").unwrap();
            assert_eq!(after[path], before[path]);
            for told in [
                "etc/systemd/system/data-postgres.mount",
                "run/volinit/env/postgres",
                "etc/consul.d/volinit-postgres.json",
            ] {
                assert!(after.contains_key(Path::new(told)), "{told}");
            }
        }
    }
}

/// A program on the machine that keeps what it is told.
fn announcer(machine: &Machine, then: &str) -> Target {
    let path = machine.root().path("/bin/announce");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{{ echo \"$1\"; cat; }} >>\"${{0%/*}}/heard\"\n{then}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Target::Script(vec!["/bin/announce".into(), "--to=a b".into()])
}

fn heard(machine: &Machine) -> Vec<serde_json::Value> {
    let text = machine.text("bin/heard").unwrap_or_default();
    let told = text.split("--to=a b\n").skip(1);
    told.map(|told| serde_json::from_str(told).unwrap()).collect()
}

#[test]
fn a_script_hears_of_all_volumes_when_there_is_news() {
    let machine = Machine::new();
    let (root, targets, postgres) = (machine.root(), [announcer(&machine, "")], postgres());
    let redis = volume("redis", "/data/redis", &[]);
    let both = || [published(&postgres)];
    publish(&root, &targets, &both(), &[]).unwrap();
    let one = serde_json::json!({
        "name": "postgres", "mount": "/data/postgres", "state": "mounted", "volume_id": "vol-5afc0745", "uuid": null,
        "size": 1_048_576, "slot": "3", "zone": null, "address": null,
        "metadata": { "postgres": "vol-5afc0745", "slot": "3" },
    });
    assert_eq!(heard(&machine), [serde_json::json!({ "version": 1, "volumes": [one] })]);
    assert!(machine.text("bin/heard").unwrap().starts_with("--to=a b\n"), "no shell takes the argument apart");

    publish(&root, &targets, &both(), &[]).unwrap();
    assert_eq!(heard(&machine).len(), 1, "a second run starts nothing");

    // Another volume's run tells of both, and so does one that takes the first back.
    publish(&root, &targets, &[mounted(&redis)], &[]).unwrap();
    publish(&root, &targets, &[], &[&postgres]).unwrap();
    let states = |told: &serde_json::Value| -> Vec<String> {
        let volumes = told["volumes"].as_array().unwrap().iter();
        volumes.map(|volume| format!("{} {}", volume["name"], volume["state"]).replace('"', "")).collect()
    };
    assert_eq!(states(&heard(&machine)[1]), ["postgres mounted", "redis mounted"]);
    assert_eq!(states(&heard(&machine)[2]), ["postgres withdrawn", "redis mounted"]);
}

#[test]
fn a_script_that_fails_is_told_again() {
    let machine = Machine::new();
    let (root, postgres) = (machine.root(), postgres());
    let targets = [announcer(&machine, "echo no such scheduler >&2; exit 3"), Target::Env];
    for runs in 1..=2 {
        let error = publish(&root, &targets, &[published(&postgres)], &[]).unwrap_err().to_string();
        let command = format!("running {} --to=a b: exit status: 3: ", root.path("/bin/announce").display());
        assert_eq!(error, format!("{command}no such scheduler"));
        assert_eq!(heard(&machine).len(), runs);
    }
    assert!(machine.text("run/volinit/env/postgres").is_some(), "the others are told all the same");
    announcer(&machine, "");
    assert!(publish(&root, &targets, &[published(&postgres)], &[]).unwrap().is_empty());
    publish(&root, &targets, &[published(&postgres)], &[]).unwrap();
    assert_eq!(heard(&machine).len(), 3);
    // One that is in the config no more is not waited for.
    machine.put("/run/volinit/publish.lock", "/run/volinit/told/0\n");
    publish(&root, &targets, &[published(&postgres)], &[]).unwrap();
    assert_eq!(machine.text("run/volinit/publish.lock").unwrap(), "");
}

/// A value whose words turn out to be more than the target can carry.
#[test]
fn what_a_target_cannot_carry_shows_when_it_is_known() {
    let machine = Machine::new();
    let postgres = postgres();
    let mut slot = published(&postgres);
    slot.words.cloud.slot = Some("a b".into());
    let error = publish(&machine.root(), &[Target::Mesos], &[slot], &[]).unwrap_err().to_string();
    assert_eq!(error, "the metadata \"slot\" is \"a b\": mesos cannot carry ` ` in a value: leave it out");
}

#[test]
fn a_registered_agent_s_state_is_not_touched() {
    let machine = Machine::new();
    machine.put("/var/lib/mesos/slave/meta/slaves/S1/slave.info", "");
    symlink("S1", machine.root().path("/var/lib/mesos/slave/meta/slaves/latest")).unwrap();
    machine.put("/var/lib/dcos/mesos-resources", "MESOS_RESOURCES='[]'\n");
    check(
        &machine,
        &Target::Mesos,
        &[("var/lib/dcos/mesos-slave-common", &format!("{OURS}MESOS_ATTRIBUTES=postgres:vol-5afc0745;slot:3\n"))],
    );
}
