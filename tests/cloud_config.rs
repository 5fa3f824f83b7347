//! cloud-config/: each file is taken by a tool that knows its format, each unit in it by systemd, each config in it by
//! volinit; and what two files say of one thing is the same. `docker stack deploy` is in tests/swarm.
//!
//! For two formats no tool is to be had here. Marathon's app is looked at as JSON. Butane's file is held against the
//! Ignition config, which Ignition's own validator takes, by a translation of the few keys that are in it.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod rig;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use serde_yaml::Value;
use volinit::cli::{Cli, Command as Asked, Names};
use volinit::config::{self, Config, schema};
use volinit::root::Root;

use rig::{VOLINIT, tool};

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cloud-config").join(file)
}

fn text(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn yaml(file: &str) -> Value {
    serde_yaml::from_str(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A tool that packaging/checkers.sh has put into the target folder.
fn checker(name: &str) -> String {
    let mut programs =
        Path::new(env!("CARGO_TARGET_TMPDIR")).ancestors().map(|one| one.join("checkers/bin").join(name));
    let program = programs.find(|program| program.exists());
    let program = program.unwrap_or_else(|| panic!("this test needs {name}: `make deps` installs it"));
    program.to_str().unwrap().to_owned()
}

/// What CloudFormation and Terraform put in the place of their words.
const IDS: [(&str, &str); 2] = [("volume", "vol-0123456789abcdef0"), ("interface", "eni-0123456789abcdef0")];

/// Every user-data for cloud-init, as an instance gets it.
fn user_data() -> Vec<(&'static str, String)> {
    let files = [
        "cloud-init/user-data.yaml",
        "cloudformation/cfn-hup.yaml",
        "dcos/user-data.yaml",
        "fleet/user-data.yaml",
        "swarm/user-data.yaml",
    ];
    let mut all: Vec<_> = files.into_iter().map(|file| (file, text(file))).collect();
    all.push(("cloudformation/node.yaml", from_stack()));
    all.push(("terraform/main.tf", from_terraform()));
    for (name, text) in &all {
        assert!(text.starts_with("#cloud-config\n") && !text.contains("${"), "{name}: {text}");
    }
    all
}

fn from_stack() -> String {
    let template = yaml("cloudformation/node.yaml");
    let given = &template["Resources"]["Node"]["Properties"]["UserData"]["Fn::Base64"];
    let Value::Tagged(sub) = given else { panic!("no !Sub in the user-data") };
    assert_eq!(sub.tag, "!Sub");
    let mut text = sub.value.as_str().unwrap().to_owned();
    for (name, value) in [("DataVolume", IDS[0].1), ("Interface", IDS[1].1), ("AWS::StackName", "prod")] {
        assert!(name.contains("::") || !template["Resources"][name].is_null(), "no resource {name}");
        text = text.replace(&format!("${{{name}}}"), value);
    }
    text
}

/// The Terraform file as JSON; python-hcl2 leaves the quotes around what was in quotes.
fn terraform() -> serde_json::Value {
    let json = tool([checker("hcl2tojson"), path("terraform/main.tf").to_str().unwrap().to_owned()]);
    serde_json::from_str(&json).unwrap()
}

/// A resource of a kind of which there is one.
fn resource<'a>(terraform: &'a serde_json::Value, kind: &str) -> &'a serde_json::Value {
    let all = terraform["resource"].as_array().unwrap();
    let found = all.iter().find_map(|one| one.get(format!("\"{kind}\""))).unwrap_or_else(|| panic!("no {kind}"));
    found.as_object().unwrap().values().next().unwrap()
}

fn from_terraform() -> String {
    let terraform = terraform();
    let given = resource(&terraform, "aws_instance")["user_data"].as_str().unwrap();
    let lines = given.strip_prefix("\"<<-END\n").and_then(|rest| rest.strip_suffix("  END\"")).unwrap();
    // `<<-` takes away what all lines begin with.
    let indent = lines.lines().map(|line| line.len() - line.trim_start().len()).min().unwrap();
    let text: String = lines.lines().flat_map(|line| [&line[indent..], "\n"]).collect();
    let text = text.replace("${aws_ebs_volume.postgres.id}", IDS[0].1);
    text.replace("${aws_network_interface.postgres.id}", IDS[1].1)
}

#[test]
fn each_folder_is_looked_at() {
    let mut names: Vec<String> = Vec::new();
    for folder in fs::read_dir(path("")).unwrap() {
        let folder = folder.unwrap();
        for file in fs::read_dir(folder.path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            names.push(format!("{}/{name}", folder.file_name().into_string().unwrap()));
        }
    }
    names.sort();
    let looked_at = [
        "cloud-init/user-data.yaml",
        "cloudformation/cfn-hup.yaml",
        "cloudformation/node.yaml",
        "dcos/postgres.json",
        "dcos/user-data.yaml",
        "fleet/postgres@.service",
        "fleet/user-data.yaml",
        "ignition/config.bu",
        "ignition/config.ign",
        "swarm/stack.yaml",
        "swarm/user-data.yaml",
        "terraform/main.tf",
    ];
    assert_eq!(names, looked_at);
}

#[test]
fn cloud_init_takes_each_user_data() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("user-data.yaml");
    let schema = || Command::new(checker("cloud-init")).args(["schema", "--config-file"]).arg(&file).output().unwrap();
    for (name, text) in user_data() {
        fs::write(&file, &text).unwrap();
        let output = schema();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::write(&file, "#cloud-config\nwrite_files:\n  - pth: /etc/volinit/volinit.yaml\n").unwrap();
    assert!(!schema().status.success(), "it finds what is wrong");
}

/// The volinit configs in a user-data or in what Ignition writes.
fn configs(name: &str) -> Vec<String> {
    let files: Vec<(String, String)> = if name == "ignition/config.bu" {
        let files = yaml(name)["storage"]["files"].as_sequence().unwrap().clone();
        let pair = |file: &Value| {
            (file["path"].as_str().unwrap().to_owned(), file["contents"]["inline"].as_str().unwrap().to_owned())
        };
        files.iter().map(pair).collect()
    } else {
        let text = user_data().into_iter().find(|(one, _)| *one == name).unwrap().1;
        written(&serde_yaml::from_str(&text).unwrap())
    };
    files.into_iter().filter(|(path, _)| path.starts_with("/etc/volinit/")).map(|(_, text)| text).collect()
}

fn written(data: &Value) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let files = data["write_files"].as_sequence().unwrap();
    files.iter().map(|file| (word(&file["path"]), word(&file["content"]))).collect()
}

fn config(name: &str) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, &configs(name)[0]).unwrap();
    config::load(&Root::default(), &[file.path().to_owned()]).unwrap_or_else(|problems| panic!("{name}: {problems}"))
}

#[test]
fn volinit_takes_each_config() {
    let mut names: Vec<&str> = user_data().into_iter().map(|(name, _)| name).collect();
    names.push("ignition/config.bu");
    for name in names {
        let [text] = &configs(name)[..] else { panic!("{name} has one config") };
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        tool([VOLINIT, "check", file.path().to_str().unwrap()]);
    }
}

/// Where units are, of themselves or as a user-data writes them: name to text.
fn units() -> Vec<(String, String)> {
    let mut units = vec![("postgres@.service".to_owned(), text("fleet/postgres@.service"))];
    let coreos = yaml("fleet/user-data.yaml");
    let butane = yaml("ignition/config.bu");
    for (list, key) in [(&coreos["coreos"]["units"], "content"), (&butane["systemd"]["units"], "contents")] {
        for unit in list.as_sequence().unwrap() {
            if let Some(text) = unit[key].as_str() {
                units.push((unit["name"].as_str().unwrap().to_owned(), text.to_owned()));
            }
        }
    }
    for (_, data) in user_data() {
        let files = written(&serde_yaml::from_str(&data).unwrap());
        let ours = files.into_iter().filter(|(path, _)| path.starts_with("/etc/systemd/system/"));
        units.extend(ours.map(|(path, text)| (path.rsplit('/').next().unwrap().to_owned(), text)));
    }
    units
}

/// systemd's word on one of these units, by the name of an instance where it is a template.
fn verify(units: &[(String, String)], name: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in units {
        let line = |line: &str| match line.strip_prefix("Exec").and_then(|rest| rest.split_once('=')) {
            // The program is on the machine that the unit is for, and need not be on this one.
            Some((kind, command)) => {
                let arguments = command.split_once(' ').map(|(_, arguments)| arguments).unwrap_or_default();
                let minus = if command.starts_with('-') { "-" } else { "" };
                format!("Exec{kind}={minus}/bin/true {arguments}\n")
            }
            None => format!("{line}\n"),
        };
        fs::write(folder.path().join(name), text.lines().map(line).collect::<String>()).unwrap();
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", name])
        .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()))
        .output()
        .expect("this test needs systemd-analyze");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { said } else { format!("{said}systemd-analyze failed") }
}

#[test]
fn systemd_takes_each_unit() {
    let units = units();
    let names: Vec<&str> = units.iter().map(|(name, _)| name.as_str()).collect();
    let known = [
        "postgres@.service",
        "volinit.service",
        "volinit-up.service",
        "postgres.service",
        "redis-on-volume.service",
        "cfn-hup.service",
    ];
    assert_eq!(names, known);
    for name in names {
        assert_eq!(verify(&units, &name.replace('@', "@vol-5afc0745")), "", "{name}");
    }
    let lacks = ("lacks.service".to_owned(), "[Unit]\nRequires=no-such.service\n[Service]\nExecStart=x\n".to_owned());
    assert_ne!(verify(&[lacks], "lacks.service"), "", "it finds what is wrong");
}

/// The first story: the disk, the metadata and the template go together, as fleet reads them.
#[test]
fn the_template_goes_where_the_volume_is() {
    let config = config("fleet/user-data.yaml");
    let [volume] = &config.volumes[..] else { panic!("{config:?}") };
    assert_eq!(config.publish, [schema::Target::Fleet]);
    assert_eq!(volume.metadata.iter().next().unwrap(), (&"postgres".to_owned(), &"vol-5afc0745".to_owned()));
    let template = text("fleet/postgres@.service");
    let (_, fleet) = template.split_once("[X-Fleet]\n").unwrap();
    let lines: Vec<&str> = fleet.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["MachineMetadata=postgres=%i", "Conflicts=postgres@*.service"]);
    assert!(template.contains(&format!("RequiresMountsFor={}\n", volume.mount.at)), "{template}");
    let update = &yaml("fleet/user-data.yaml")["coreos"]["update"];
    assert_eq!(update["reboot-strategy"], "off", "in quotes, or it is false to YAML");
}

/// cfn-hup reads the two files as INI, with these keys; its hook is a command of volinit's for a volume of the config.
#[test]
fn cfn_hup_grows_a_volume_of_the_config() {
    let data = yaml("cloudformation/cfn-hup.yaml");
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
    let Asked::Grow(Names { names }) = cli.command else { panic!("{:?}", cli.command) };
    let config = config("cloudformation/cfn-hup.yaml");
    let grown = config.volumes.iter().find(|volume| names == [volume.name.as_str()]).unwrap();
    // Else nobody is asked for the size, and `grow` is done before the kernel shows it.
    assert!(matches!(grown.source, schema::Source::Ebs(schema::Ebs { attach: true, .. })), "{grown:?}");
}

/// The stack keeps what is on the volume, waits for volinit, and gives its things the tag that the policy asks for.
#[test]
fn the_cloudformation_template_goes_with_the_config_and_the_policies() {
    let file = path("cloudformation/node.yaml");
    let lint = [&checker("cfn-lint"), "--regions", "eu-central-1", "--template", file.to_str().unwrap()];
    assert_eq!(tool(lint), "");
    let template = yaml("cloudformation/node.yaml");
    let resources = &template["Resources"];
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        assert_eq!(resources["DataVolume"][policy], "Snapshot");
    }
    let config = config("cloudformation/node.yaml");
    let [schema::Signal::Stack { resource, .. }] = &config.signals[..] else { panic!("{:?}", config.signals) };
    assert_eq!(resources[resource.as_str()]["Type"], "AWS::EC2::Instance");
    assert_eq!(resources[resource.as_str()]["CreationPolicy"]["ResourceSignal"]["Count"], 1);
    for (key, value) in asked_for() {
        for name in ["DataVolume", "Interface", "Node"] {
            let tags = resources[name]["Properties"]["Tags"].as_sequence().unwrap();
            let has = |tag: &Value| tag["Key"] == *key && tag["Value"] == *value;
            assert!(tags.iter().any(has), "{name} has no tag {key}={value}");
        }
    }
}

/// The tags without which packaging/iam/attach.json allows nothing.
fn asked_for() -> Vec<(String, String)> {
    let policy = fs::read_to_string(path("../packaging/iam/attach.json")).unwrap();
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    let conditions = policy["Statement"].as_array().unwrap().iter();
    let pairs = conditions.flat_map(|statement| statement["Condition"]["StringEquals"].as_object().unwrap());
    let pairs: Vec<_> =
        pairs.map(|(key, value)| (key.replace("aws:ResourceTag/", ""), value.as_str().unwrap().to_owned())).collect();
    assert!(!pairs.is_empty());
    pairs
}

/// The same for Terraform, which must neither attach what volinit does, nor destroy the volume.
#[test]
fn terraform_s_things_go_with_the_policies() {
    let terraform = terraform();
    let volume = resource(&terraform, "aws_ebs_volume");
    assert_eq!(volume["lifecycle"][0]["prevent_destroy"], true);
    for kind in ["aws_ebs_volume", "aws_network_interface", "aws_instance"] {
        let tags = &resource(&terraform, kind)["tags"];
        for (key, value) in asked_for() {
            assert_eq!(tags[&key], format!("\"{value}\""), "{kind}");
        }
    }
    let kinds: Vec<&String> =
        terraform["resource"].as_array().unwrap().iter().flat_map(|one| one.as_object().unwrap().keys()).collect();
    assert_eq!(kinds, ["\"aws_ebs_volume\"", "\"aws_network_interface\"", "\"aws_instance\""]);
    let config = config("terraform/main.tf");
    assert_eq!(config.interfaces[0].eni, schema::Eni::Id(IDS[1].1.into()));
}

/// The third story: the app goes where the volume's attribute is, and takes the disk that is mounted there.
#[test]
fn the_marathon_app_goes_where_the_volume_is() {
    let app: serde_json::Value = serde_json::from_str(&text("dcos/postgres.json")).unwrap();
    let config = config("dcos/user-data.yaml");
    let [volume] = &config.volumes[..] else { panic!("{config:?}") };
    assert_eq!(config.publish, [schema::Target::Mesos]);
    let schema::Source::Ebs(schema::Ebs { volume: schema::EbsVolume::Id(id), .. }) = &volume.source else {
        panic!("{volume:?}")
    };
    assert_eq!(volume.metadata["postgres"], "{volume-id}");
    assert_eq!(app["constraints"][0], serde_json::json!(["postgres", "IS", id.to_string()]));
    let [disk, folder] = &app["container"]["volumes"].as_array().unwrap()[..] else { panic!("{app}") };
    assert_eq!((&disk["containerPath"], &folder["hostPath"]), (&"pgdata".into(), &"pgdata".into()));
    let path = serde_json::json!(["path", "LIKE", volume.mount.at.to_string()]);
    assert_eq!(disk["persistent"]["constraints"], serde_json::json!([path]));
    // make_disk_resources.py takes no other.
    assert!(volume.mount.at.to_string().strip_prefix("/dcos/volume").unwrap().parse::<u32>().is_ok());
    let strategy = &app["upgradeStrategy"];
    assert_eq!((&strategy["maximumOverCapacity"], &strategy["minimumHealthCapacity"]), (&0.into(), &0.into()));
}

/// The fourth story.
#[test]
fn the_stack_goes_where_the_volume_is() {
    let stack = yaml("swarm/stack.yaml");
    let config = config("swarm/user-data.yaml");
    let [volume] = &config.volumes[..] else { panic!("{config:?}") };
    let service = &stack["services"]["stateful"];
    let schema::Source::Ebs(schema::Ebs { volume: schema::EbsVolume::Id(id), .. }) = &volume.source else {
        panic!("{volume:?}")
    };
    assert_eq!(volume.metadata["redis"], "{volume-id}");
    assert_eq!(service["deploy"]["placement"]["constraints"][0], format!("engine.labels.redis == {id}"));
    assert_eq!(service["volumes"][0]["source"], volume.name.as_str());
    assert_eq!(stack["volumes"][volume.name.as_str()]["external"], true);
}

#[test]
fn ignition_takes_its_config_and_butane_s_file_says_the_same() {
    let validate = |file: &Path| Command::new(checker("ignition-validate")).arg(file).output().unwrap();
    let output = validate(&path("ignition/config.ign"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    let wrong = tempfile::NamedTempFile::new().unwrap();
    fs::write(&wrong, text("ignition/config.ign").replace("volinit-up.service", "volinit-up.srvice")).unwrap();
    assert!(!validate(wrong.path()).status.success(), "it finds what is wrong");

    let butane = yaml("ignition/config.bu");
    assert_eq!((butane["variant"].as_str(), butane["version"].as_str()), (Some("flatcar"), Some("1.0.0")));
    // As Butane's config/flatcar/v1_0 has it, this is the version of the Ignition config.
    let mut config = serde_json::json!({ "ignition": { "version": "3.3.0" } });
    config["storage"]["files"] = butane["storage"]["files"].as_sequence().unwrap().iter().map(file).collect();
    config["systemd"]["units"] = serde_json::to_value(&butane["systemd"]["units"]).unwrap();
    let ignition: serde_json::Value = serde_json::from_str(&text("ignition/config.ign")).unwrap();
    assert_eq!(config, ignition, "{config:#}");
}

/// A file of Butane's as Ignition has it: its text is a data URL.
fn file(file: &Value) -> serde_json::Value {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let text = file["contents"]["inline"].as_str().unwrap();
    let escape = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let source: String = text.bytes().map(escape).collect();
    let mut file = serde_json::to_value(file).unwrap();
    // 0644 is a number to YAML 1.1, which Butane reads, and a text to 1.2.
    file["mode"] = u32::from_str_radix(file["mode"].as_str().unwrap(), 8).unwrap().into();
    file["contents"] = serde_json::json!({ "compression": "", "source": format!("data:,{source}") });
    file
}
