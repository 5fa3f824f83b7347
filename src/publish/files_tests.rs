//! The writer on a folder that stands for a machine.

use std::os::unix::fs::chown;
use std::time::SystemTime;

use super::*;

struct Machine {
    folder: tempfile::TempDir,
    root: Root,
}

impl Machine {
    fn new() -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        Machine { folder, root }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path(path)
    }

    fn put(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Everything below the root that a write could leave a trace on.
    fn state(&self) -> Vec<(PathBuf, SystemTime, u64)> {
        fn walk(folder: &Path, found: &mut Vec<(PathBuf, SystemTime, u64)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                found.push((path.clone(), metadata.modified().unwrap(), metadata.ino()));
                if metadata.is_dir() {
                    walk(&path, found);
                }
            }
        }
        let mut found = Vec::new();
        walk(self.folder.path(), &mut found);
        found.sort();
        found
    }
}

fn text(path: &str, text: &str) -> File {
    File { path: path.into(), content: Content::Text(text.into()) }
}

fn link(path: &str, target: &str) -> File {
    File { path: path.into(), content: Content::Link(target.into()) }
}

fn absent(path: &str) -> File {
    File { path: path.into(), content: Content::Absent }
}

fn said(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn files_are_brought_to_what_they_shall_be_once() {
    let machine = Machine::new();
    machine.put("/etc/changed", "old");
    machine.put("/etc/same", "same");
    machine.put("/etc/gone", "");
    symlink("/nowhere", machine.path("/etc/gone-link")).unwrap();
    symlink("/old", machine.path("/etc/link")).unwrap();
    let files = [
        text("/etc/new/deep/file", "new"),
        text("/etc/changed", "new"),
        text("/etc/same", "same"),
        link("/etc/link", "/new"),
        link("/etc/new.wants/link", "/new"),
        absent("/etc/gone"),
        absent("/etc/gone-link"),
        absent("/etc/never/was"),
    ];
    let expected = [
        "created /etc/new/deep/file",
        "changed /etc/changed",
        "changed /etc/link",
        "created /etc/new.wants/link",
        "removed /etc/gone",
        "removed /etc/gone-link",
    ];

    let before = machine.state();
    assert_eq!(said(&pending(&machine.root, &files).unwrap()), expected);
    assert_eq!(machine.state(), before, "pending changes nothing");

    assert_eq!(said(&write(&machine.root, &files).unwrap()), expected);
    assert_eq!(machine.text("/etc/new/deep/file"), "new");
    assert_eq!(machine.text("/etc/changed"), "new");
    assert_eq!(fs::read_link(machine.path("/etc/link")).unwrap(), Path::new("/new"));
    assert_eq!(fs::metadata(machine.path("/etc/new")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(machine.path("/etc/new/deep/file")).unwrap().mode() & 0o7777, 0o644);

    let after = machine.state();
    assert!(write(&machine.root, &files).unwrap().is_empty());
    assert_eq!(machine.state(), after, "a second run touches nothing, and no temporary file is left");
}

#[test]
fn a_file_keeps_its_mode_and_its_owner() {
    let machine = Machine::new();
    machine.put("/etc/fleet.conf", "old");
    fs::set_permissions(machine.path("/etc/fleet.conf"), Permissions::from_mode(0o640)).unwrap();
    chown(machine.path("/etc/fleet.conf"), Some(1234), Some(4321)).expect("this test needs root");
    write(&machine.root, &[text("/etc/fleet.conf", "new")]).unwrap();
    let metadata = fs::metadata(machine.path("/etc/fleet.conf")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o640, 1234, 4321));
}

#[test]
fn what_is_not_ours_to_replace_is_named() {
    let machine = Machine::new();
    machine.put("/etc/target", "theirs");
    machine.put("/etc/folder/file", "");
    symlink("/etc/target", machine.path("/etc/link")).unwrap();
    for (file, error) in [
        (text("/etc/link", "ours"), "it is a symbolic link to /etc/target"),
        (text("/etc/folder", "ours"), "it is a folder"),
        (link("/etc/target", "/x"), "it is a file: move it away, volinit needs the place for a symbolic link"),
        (absent("/etc/folder"), "it is a folder"),
    ] {
        for result in
            [pending(&machine.root, std::slice::from_ref(&file)), write(&machine.root, std::slice::from_ref(&file))]
        {
            let found = format!("{:#}", result.unwrap_err());
            let named = format!("checking {}: {error}", machine.root.path(&file.path).display());
            assert!(found.starts_with(&named), "{found}");
        }
    }
    assert_eq!(machine.text("/etc/target"), "theirs");
}

#[test]
fn links_stay_within_the_root() {
    let machine = Machine::new();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(machine.path("/usr/etc")).unwrap();
    symlink("/usr/etc", machine.path("/etc")).unwrap();
    symlink(outside.path(), machine.path("/usr/etc/systemd")).unwrap();
    symlink("../../../../../../../../../../tmp", machine.path("/var")).unwrap();

    // A link as the machine has it: /etc is /usr/etc, in the image.
    write(&machine.root, &[text("/etc/fleet/fleet.conf", "x")]).unwrap();
    assert_eq!(machine.text("/usr/etc/fleet/fleet.conf"), "x");
    assert_eq!(read(&machine.root, Path::new("/etc/fleet/fleet.conf")).unwrap().as_deref(), Some("x"));

    for (path, folder) in [("/etc/systemd/system/a.mount", "etc/systemd"), ("/var/a", "var")] {
        let error = format!("{:#}", write(&machine.root, &[text(path, "x")]).unwrap_err());
        let folder = machine.root.path(folder);
        assert!(error.contains(&format!("{} is a symbolic link to", folder.display())), "{error}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);

    // What is outside is not read either.
    fs::write(outside.path().join("secret"), "x").unwrap();
    assert_eq!(read(&machine.root, Path::new("/etc/systemd/secret")).unwrap(), None);
    assert_eq!(list(&machine.root, Path::new("/etc/systemd")).unwrap(), Vec::<String>::new());
}

#[test]
fn a_root_that_is_not_there_is_an_error() {
    let error = write(&Root::new("/no/such/root"), &[text("/etc/a", "x")]).unwrap_err();
    assert!(format!("{error:#}").contains("/no/such/root/ is not there"), "{error:#}");
}

#[test]
fn links_and_folders_are_read() {
    let machine = Machine::new();
    machine.put("/etc/b", "");
    symlink("/x", machine.path("/etc/a")).unwrap();
    let link = |path| read_link(&machine.root, Path::new(path)).unwrap();
    assert_eq!(link("/etc/a"), Some("/x".into()));
    assert_eq!([link("/etc/b"), link("/etc/c"), link("/no/c")], [None, None, None]);
    assert_eq!(list(&machine.root, Path::new("/etc")).unwrap(), ["a", "b"]);
}

#[test]
fn changes_are_words_for_programs_too() {
    let change = Change { path: "/etc/a".into(), what: What::Created };
    assert_eq!(serde_json::to_string(&change).unwrap(), r#"{"path":"/etc/a","what":"created"}"#);
}
