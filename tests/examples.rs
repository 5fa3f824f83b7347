//! The configs that ship, and those in the documentation, are taken by the config's own rules. Reads files only.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_yaml::Value;
use volinit::cli::{Cli, Command, Names};
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

/// Each block of YAML in the README that has volumes in it, and the config in each user-data.
#[test]
fn the_configs_in_the_documentation_are_right() {
    let readme = fs::read_to_string(path("README.md")).unwrap();
    let mut configs: Vec<String> = readme
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .filter(|block| block.starts_with("volumes:"))
        .collect();
    assert!(!configs.is_empty());
    for entry in fs::read_dir(path("cloud-config")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            let before = configs.len();
            configs.extend(configs_in(&user_data(&file)));
            assert!(configs.len() > before, "{} has no config", file.display());
        }
    }
    for text in configs {
        checked(&text);
    }
}

/// The config, where `volinit check` finds nothing wrong with it.
fn checked(text: &str) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    config::load(&Root::default(), &[file.path().to_owned()])
        .unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"))
}

/// A file of user-data, or that of the instance in a CloudFormation template, as the instance gets it.
fn user_data(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap();
    if text.starts_with("#cloud-config\n") {
        return serde_yaml::from_str(&text).unwrap();
    }
    let template: Value = serde_yaml::from_str(&text).unwrap();
    let given = &template["Resources"]["Node"]["Properties"]["UserData"]["Fn::Base64"];
    let Value::Tagged(sub) = given else { panic!("{} has no !Sub in its user-data", file.display()) };
    assert_eq!(sub.tag, "!Sub");
    let mut text = sub.value.as_str().unwrap().to_owned();
    for (name, value) in
        [("DataVolume", "vol-0123456789abcdef0"), ("Interface", "eni-0123456789abcdef0"), ("AWS::StackName", "prod")]
    {
        assert!(name.contains("::") || !template["Resources"][name].is_null(), "no resource {name}");
        text = text.replace(&format!("${{{name}}}"), value);
    }
    assert!(text.starts_with("#cloud-config\n") && !text.contains("${"), "{text}");
    serde_yaml::from_str(&text).unwrap()
}

fn configs_in(user_data: &Value) -> Vec<String> {
    let written = user_data["write_files"].as_sequence().unwrap();
    let ours = written.iter().filter(|file| file["path"].as_str().unwrap().starts_with("/etc/volinit/"));
    ours.map(|file| file["content"].as_str().unwrap().to_owned()).collect()
}

/// cfn-hup reads the two files as INI, with these keys; its hook is a command of volinit's for a volume of the config.
#[test]
fn cfn_hup_grows_a_volume_of_the_config() {
    let data = user_data(&path("cloud-config/cfn-hup.yaml"));
    let written = |name: &str| {
        let files = data["write_files"].as_sequence().unwrap();
        let file = files.iter().find(|file| file["path"] == name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(file["permissions"], "0400", "{name}");
        let (section, lines) = file["content"].as_str().unwrap().split_once('\n').unwrap();
        let pairs = lines.lines().map(|line| line.split_once('=').unwrap());
        (section.to_owned(), pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Vec<_>>())
    };
    let keys = |pairs: &[(String, String)]| pairs.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    let (section, main) = written("/etc/cfn/cfn-hup.conf");
    assert_eq!((section.as_str(), keys(&main)), ("[main]", ["stack", "region", "interval"].map(String::from).into()));
    let (section, hook) = written("/etc/cfn/hooks.d/volinit-grow.conf");
    assert_eq!(section, "[volinit-grow]");
    assert_eq!(keys(&hook), ["triggers", "path", "action", "runas"]);
    let value = |key| &hook.iter().find(|(name, _)| name == key).unwrap().1;
    assert_eq!((value("triggers").as_str(), value("runas").as_str()), ("post.update", "root"));
    // The volume's logical id in the template that goes with it.
    assert_eq!(value("path"), "Resources.DataVolume");

    let cli = Cli::try_parse_from(value("action").split(' ')).unwrap_or_else(|error| panic!("{error}"));
    let Command::Grow(Names { names }) = cli.command else { panic!("{:?}", cli.command) };
    let config = checked(&configs_in(&data)[0]);
    let grown = config.volumes.iter().find(|volume| names == [volume.name.as_str()]).unwrap();
    // Else nobody is asked for the size, and `grow` is done before the kernel shows it.
    assert!(matches!(grown.source, schema::Source::Ebs(schema::Ebs { attach: true, .. })), "{grown:?}");
}

/// The stack keeps what is on the volume, waits for volinit, and gives its things the tag that the policy asks for.
#[test]
fn the_cloudformation_template_goes_with_the_config_and_the_policies() {
    let file = path("cloud-config/cloudformation.yaml");
    let template: Value = serde_yaml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let resources = &template["Resources"];
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        assert_eq!(resources["DataVolume"][policy], "Snapshot");
    }
    let config = checked(&configs_in(&user_data(&file))[0]);
    let [schema::Signal::Stack { resource, .. }] = &config.signals[..] else { panic!("{:?}", config.signals) };
    assert_eq!(resources[resource.as_str()]["Type"], "AWS::EC2::Instance");
    assert_eq!(resources[resource.as_str()]["CreationPolicy"]["ResourceSignal"]["Count"], 1);

    let policy = fs::read_to_string(path("packaging/iam/attach.json")).unwrap();
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    for statement in policy["Statement"].as_array().unwrap() {
        let conditions = statement["Condition"]["StringEquals"].as_object().unwrap();
        for (key, value) in conditions {
            let key = key.strip_prefix("aws:ResourceTag/").unwrap();
            for name in ["DataVolume", "Interface", "Node"] {
                let tags = resources[name]["Properties"]["Tags"].as_sequence().unwrap();
                let has = |tag: &Value| tag["Key"] == key && tag["Value"] == *value.as_str().unwrap();
                assert!(tags.iter().any(has), "{name} has no tag {key}={value}");
            }
        }
    }
}
