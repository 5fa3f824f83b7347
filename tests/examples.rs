//! The configs that ship, and those in the documentation, are taken by the config's own rules. Reads files only.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

use std::fs;
use std::path::{Path, PathBuf};

use volinit::config::{self, Config, schema};
use volinit::root::Root;

fn load(files: &[&str]) -> Config {
    let files: Vec<PathBuf> = files.iter().map(|file| path(file)).collect();
    config::load(&Root::default(), &files).unwrap_or_else(|problems| panic!("{problems}"))
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

#[test]
fn the_annotated_example_is_right() {
    assert_eq!(load(&["packaging/volinit.yaml"]).volumes.len(), 1);
}

/// What it shows after a `#` is right too: each such line in its place, with those that belong to it, and what it
/// excludes taken out.
#[test]
fn the_annotated_example_shows_keys_that_exist() {
    let text = fs::read_to_string(path("packaging/volinit.yaml")).unwrap();
    let shown: Vec<(usize, String)> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| {
            line.trim_start().strip_prefix('#').is_some_and(|rest| rest.starts_with(char::is_alphabetic))
        })
        .map(|(number, line)| (number, line.replacen('#', "", 1)))
        .collect();
    assert!(shown.len() >= 16, "{shown:?}");
    for (number, line) in shown {
        let key = line.trim().split(':').next().unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines[number] = &line;
        for more in &mut lines[number + 1..] {
            let Some(rest) = more.strip_prefix('#').filter(|rest| rest.starts_with("  ")) else { break };
            *more = rest;
        }
        if ["device", "timeout", "ebs", "attach", "takeover", "force-after", "nfs"].contains(&key) {
            lines.retain(|line| !["image:", "size:"].iter().any(|key| line.trim_start().starts_with(key)));
        }
        if key == "nfs" {
            // The filesystem is the server's.
            lines.retain(|line| {
                !["filesystem:", "type:", "label:"].iter().any(|key| line.trim_start().starts_with(key))
            });
        }
        let mut text = lines.join("\n");
        text = match key {
            "timeout" => text.replace("      timeout:", "      device: /dev/xvdb\n      timeout:"),
            "metadata" => text.replace("#publish:", "publish:"),
            "attach" => text.replace("      attach:", "      ebs: vol-5afc0745\n      attach:"),
            "takeover" => {
                text.replace("      takeover:", "      ebs: vol-5afc0745\n      attach: true\n      takeover:")
            }
            "force-after" => text.replace(
                "      force-after:",
                "      ebs: vol-5afc0745\n      attach: true\n      takeover: force\n      force-after:",
            ),
            _ => text,
        };
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        fs::write(&file, text).unwrap();
        if let Err(problems) = config::load(&Root::default(), &[file.path().to_owned()]) {
            panic!("with `{}`: {problems}", line.trim());
        }
    }
}

#[test]
fn the_demo_s_second_config_makes_its_volume_larger() {
    let size = |files: &[&str]| match load(files).volumes.remove(0).source {
        schema::Source::Image { size, .. } => size,
        other => panic!("{other:?}"),
    };
    assert!(size(&["packaging/demo.yaml"]) < size(&["packaging/demo.yaml", "packaging/demo-larger.yaml"]));
}

/// Each block of YAML in the README that has volumes in it.
#[test]
fn the_configs_in_the_documentation_are_right() {
    let readme = fs::read_to_string(path("README.md")).unwrap();
    let blocks = readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let configs: Vec<&str> = blocks.filter(|block| block.starts_with("volumes:")).collect();
    assert!(!configs.is_empty());
    for text in configs {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        config::load(&Root::default(), &[file.path().to_owned()])
            .unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"));
    }
}
