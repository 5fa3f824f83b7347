//! What the schedulers make of a volume that is up: volinit as it ships, on a machine whose root is an overlay over
//! this one, so that paths are as they will be and nothing outside it is touched.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::fs;
use std::process::Command;

use rig::{Disk, MIB, Ran, Rig, VOLINIT};

/// Runs a script of bash there, with volinit in its PATH, on a root of its own in a mount namespace of its own.
fn on_a_machine(rig: &Rig, script: &str) -> Ran {
    let machine = rig.path("/machine");
    fs::create_dir_all(&machine).unwrap();
    let root = "set -e; mount -t tmpfs none \"$0\"; cd \"$0\"; mkdir upper work root
        mount -t overlay none -o lowerdir=/,upperdir=upper,workdir=work root
        for folder in dev proc sys; do mount --rbind /$folder root/$folder; done
        mount -t tmpfs none root/run
        cp \"$1\" root/usr/bin/volinit
        exec chroot root /bin/bash -ec \"$2\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-c", root]).arg(machine).arg(VOLINIT).arg(script);
    rig.run(&mut command)
}

fn config(disk: &Disk, publish: &str) -> String {
    format!(
        "mkdir -p /etc/volinit; cat >/etc/volinit/volinit.yaml <<END
volumes:
  kafka:
    source: {{ device: {} }}
    mount: /dcos/volume0
    metadata: {{ kafka: \"{{uuid}}\" }}
publish: {publish}
END
",
        disk.name()
    )
}

/// Story 3: DC/OS. `make_disk_resources.py` looks for `on\s+(/dcos/volume\d+)\s+` in what mount(8) prints
/// (dcos/dcos: packages/mesos/extra).
#[test]
fn dc_os_finds_the_disk_and_the_agent_its_attributes() {
    let mut rig = Rig::new();
    let disk = rig.disk(64 * MIB);
    let script = config(&disk, "[mesos]")
        + r#"mkdir -p /var/lib/dcos; printf 'MESOS_ATTRIBUTES=az:a\n' >/var/lib/dcos/mesos-slave-common
             volinit up >&2
             python3 -c 'import re, subprocess
mounts = subprocess.check_output(["mount"], universal_newlines=True)
print(re.compile(r"on\s+(/dcos/volume\d+)\s+", re.M | re.I).findall(mounts))'
             cat /var/lib/dcos/mesos-slave-common
             blkid -p -s UUID -o value "$(findmnt -no SOURCE /dcos/volume0)"
             volinit release >&2
             cat /var/lib/dcos/mesos-slave-common; ls -A /var/lib/dcos"#;
    let ran = on_a_machine(&rig, &script);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    let [found, attributes, uuid, back, left] = lines[..] else { panic!("{ran:?}") };
    assert_eq!(found, "['/dcos/volume0']");
    assert_eq!(attributes, format!("MESOS_ATTRIBUTES=az:a;kafka:{uuid}"));
    assert_eq!(
        (back, left),
        ("MESOS_ATTRIBUTES=az:a", "mesos-slave-common"),
        "the resources are the agent's own script's"
    );
}

/// Every target at once, on a machine whose `systemctl` is a stand-in that says that all of them run: who reads its
/// files again hears of it once, and a second run starts nothing.
#[test]
fn who_runs_is_told_once() {
    let mut rig = Rig::new();
    let disk = rig.disk(64 * MIB);
    let publish = "[fleet, mesos, nomad, consul, ecs, kubernetes, env, { script: [/usr/local/bin/announce, to all] }]";
    let script = config(&disk, publish)
        + r#"mkdir -p /run/systemd/private /usr/local/bin
             cat >/usr/local/bin/systemctl <<'END'
#!/bin/sh
echo "systemctl $*" >>/heard
END
             cat >/usr/local/bin/announce <<'END'
#!/bin/sh
echo "announce $1 $(python3 -c 'import json, sys; print([v["state"] for v in json.load(sys.stdin)["volumes"]])')" >>/heard
END
             chmod 755 /usr/local/bin/systemctl /usr/local/bin/announce
             export PATH=/usr/local/bin:$PATH
             rm -rf /etc/{fleet,nomad.d,consul.d,ecs,kubernetes,mesos-slave} /etc/{default,sysconfig}/kubelet
             RUST_LOG=info volinit up >&2; cat /heard; rm /heard
             echo again; volinit up >&2; volinit plan | grep then || true; test ! -e /heard
             . /run/volinit/env/kafka; echo "$VOLINIT_MOUNT $VOLINIT_SIZE"
             volinit release >&2; cat /heard
             ls -A /run/volinit/env /etc/nomad.d /etc/consul.d /etc/kubernetes/volinit"#;
    let ran = on_a_machine(&rig, &script);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told = |state: &str| {
        format!(
            "systemctl daemon-reload
systemctl is-active --quiet fleet.service
systemctl kill --kill-who=main --signal=HUP fleet.service
systemctl is-active --quiet nomad.service
systemctl is-active --quiet consul.service
systemctl kill --kill-who=main --signal=HUP consul.service
systemctl is-active --quiet ecs.service
systemctl is-active --quiet kubelet.service
announce to all ['{state}']
"
        )
    };
    let folders = "/etc/consul.d:\n\n/etc/kubernetes/volinit:\n\n/etc/nomad.d:\n\n/run/volinit/env:\n";
    let expected = format!("{}again\n/dcos/volume0 67108864\n{}{folders}", told("mounted"), told("withdrawn"));
    assert_eq!(ran.out, expected, "{}", ran.err);
    for said in ["`systemctl restart nomad`", "`aws ecs put-attributes`", "`kubectl apply -f /etc/kubernetes/volinit/`"]
    {
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}
