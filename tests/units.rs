//! The units that ship, read by systemd itself: no unknown key, no ordering cycle, also together with the mount unit
//! that volinit writes. Nothing is started.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// What a volume's unit looks like: see publish/unit.rs.
const MOUNT: &str = "[Unit]\nAfter=volinit.service volinit@postgres.service\n\
                     [Mount]\nWhat=/dev/xvdb\nWhere=/data/postgres\nType=btrfs\n\
                     [Install]\nWantedBy=local-fs.target\n";

#[test]
fn systemd_takes_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (ours, name) in [("volinit.service", "volinit.service"), ("volinit@.service", "volinit@postgres.service")] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(ours)).unwrap();
        assert!(text.contains("ExecStart=/usr/bin/volinit up"), "{ours}");
        // systemd looks whether the program is there.
        fs::write(at(name), text.replace("/usr/bin/volinit", env!("CARGO_BIN_EXE_volinit"))).unwrap();
    }
    fs::write(at("data-postgres.mount"), MOUNT).unwrap();
    let wants = at("local-fs.target.wants");
    fs::create_dir(&wants).unwrap();
    for name in ["volinit.service", "volinit@postgres.service", "data-postgres.mount"] {
        std::os::unix::fs::symlink(at(name), wants.join(name)).unwrap();
    }

    let verify = |units: &[&str]| {
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .args(units)
            // Ours before the machine's own; the empty end stands for those.
            .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()))
            .output()
            .expect("this test needs systemd-analyze");
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (clean, said) =
        verify(&["volinit.service", "volinit@postgres.service", "data-postgres.mount", "local-fs.target"]);
    assert!(clean && said.is_empty(), "{said}");

    // The check has teeth: a volinit that waits for the network cannot be before local-fs.target.
    let text = fs::read_to_string(at("volinit.service")).unwrap();
    fs::write(
        at("volinit.service"),
        text.replace("[Service]", "Wants=sysinit.target\nAfter=sysinit.target\n[Service]"),
    )
    .unwrap();
    let (_, said) = verify(&["volinit.service", "local-fs.target"]);
    assert!(said.contains("ordering cycle"), "{said}");
}
