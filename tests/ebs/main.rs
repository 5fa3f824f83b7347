//! The source `ebs`, whole: the binary that ships, an EC2 and an instance metadata service of the tests' own over real
//! HTTP, and real disks.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

#[path = "../ec2/mod.rs"]
mod ec2;
mod moto;
mod node;
#[path = "../rig/mod.rs"]
mod rig;

use std::time::Duration;

use node::{Region, ZONE};

const VOL: &str = "vol-0123456789abcdef0";

const POOL: &str = "volumes:
  kafka:
    source: { ebs: { pool: { tags: { cluster: kafka } }, slot-tag: slot }, timeout: 20s }
    mount: /data/kafka
    metadata: { broker: \"{slot}\", address: \"{address}\" }
interfaces:
  eth1: { eni: { slot-of: kafka } }
publish: [fleet]
";

fn config(source: &str) -> String {
    format!(
        "volumes:
  postgres:
    source: {{ ebs: {source}, attach: true, timeout: 20s }}
    mount: /data/postgres
    metadata: {{ postgres: \"{{volume-id}}\", zone: \"{{zone}}\" }}
publish: [fleet]
"
    )
}

#[test]
fn a_blank_volume_is_attached_formatted_mounted_and_told_of_and_then_nobody_is_asked() {
    let region = Region::new();
    region.cloud.attach_takes(Duration::from_millis(300));
    region.volume(VOL);
    let node = region.node("i-0a");
    node.rig.config(&config(VOL));

    let ran = node.volinit(&["-v", "up"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("formatted as ext4, mounted at"), "{ran:?}");
    assert_eq!(region.cloud.owner(VOL).as_deref(), Some("i-0a"));
    assert_eq!(region.cloud.count("AttachVolume"), 1);
    let fleet = node.rig.read("/etc/fleet/fleet.conf");
    assert!(fleet.contains(&format!("postgres={VOL}")) && fleet.contains(&format!("zone={ZONE}")), "{fleet}");

    let (asked, calls) = (node.imds.asked().len(), region.cloud.calls().len());
    let trace = node.rig.path("/trace");
    let root = node.rig.root();
    let words = ["strace", "-f", "-o", trace.to_str().unwrap(), "-e", "trace=socket,clone,clone3,execve"];
    let words = [&words[..], &[rig::VOLINIT, "--root", root.to_str().unwrap(), "up"]].concat();
    let again = node.rig.run(&mut node.inside(&words));
    assert!(again.out.contains("nothing to do"), "{again:?}");
    assert_eq!((node.imds.asked().len(), region.cloud.calls().len()), (asked, calls), "somebody was asked");
    let trace = node.rig.read("/trace");
    assert!(!trace.contains("socket(") && !trace.contains("clone"), "{trace}");
    assert_eq!(node.imds.v1_spoken(), 0);
}

#[test]
fn what_ec2_says_it_made_of_zeros_is_sampled_and_not_made_zero_again() {
    const OTHER: &str = "vol-0fedcba9876543210";
    const MIB: u64 = 1 << 20;
    let region = Region::new();
    let node = region.node("i-0a");
    for id in [VOL, OTHER] {
        region.cloud.volume(id, ZONE, 100).attached("i-0a", "/dev/sdf");
        std::fs::File::create(region.file(id)).unwrap().set_len(100 << 30).unwrap();
        region.plug("i-0a", id, true);
    }
    node.rig.config(&format!(
        "volumes:
  asked: {{ source: {{ ebs: {VOL}, attach: true, timeout: 20s }}, mount: /data/asked }}
  found: {{ source: {{ ebs: {OTHER} }}, mount: /data/found }}
"
    ));
    let moved = || {
        [VOL, OTHER].map(|id| {
            let file = region.file(id);
            let device =
                rig::tool(["losetup", "--noheadings", "--output", "NAME", "--associated", file.to_str().unwrap()]);
            let stat = std::fs::read_to_string(format!("/sys/block/{}/stat", &device.trim()[5..])).unwrap();
            stat.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap() * 512
        })
    };
    let before = moved();
    let ran = node.volinit(&["up"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let after = moved();
    let read = [after[0] - before[0], after[1] - before[1]];
    assert!(read[0] < 64 * MIB && read[1] > 512 * MIB, "{read:?}");
    // The kernel leaves the first one's inode tables alone, and makes the other's zero in the background.
    let [asked, found] = [VOL, OTHER].map(|id| {
        let file = region.file(id);
        let groups = rig::tool(["dumpe2fs", file.to_str().unwrap()]);
        let groups = groups.lines().filter(|line| line.contains(": (Blocks "));
        let (done, left): (Vec<_>, Vec<_>) = groups.partition(|group| group.contains("ITABLE_ZEROED"));
        (done.len(), left.len())
    });
    assert!(asked == (800, 0) && found.1 > 0, "{asked:?} {found:?}");
}

#[test]
fn core1_dies_core2_boots_and_the_data_is_on_core2() {
    let region = Region::new();
    region.volume(VOL);
    let core1 = region.node("i-core1");
    core1.rig.config(&config(VOL));
    assert_eq!(core1.volinit(&["up"]).code, Some(0));
    core1.shell(&format!("echo 42 >{0}/rows; sync -f {0}/rows", core1.at("/data/postgres")));

    let core2 = region.node("i-core2");
    core2.rig.config(&config(VOL));
    let ran = core2.volinit(&["up"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.out.contains("is attached to i-core1, which is running"), "{ran:?}");

    core1.dies();
    region.cloud.terminate("i-core1");
    let ran = core2.volinit(&["-v", "up"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(core2.shell(&format!("cat {}/rows", core2.at("/data/postgres"))), "42\n");
    assert_eq!(region.cloud.owner(VOL).as_deref(), Some("i-core2"));
}

#[test]
fn a_volume_made_from_a_snapshot_is_not_blank_whatever_it_reads_like() {
    let region = Region::new();
    region.volume(VOL).snapshot("snap-0123456789abcdef0");
    let before = rig::fingerprint(&region.file(VOL));
    let node = region.node("i-0a");
    node.rig.config(&config(VOL));
    let ran = node.volinit(&["up"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.out.contains("EC2 made it from the snapshot snap-0123456789abcdef0"), "{ran:?}");
    // It is attached now, and that is no way past it.
    let again = node.volinit(&["up"]);
    assert!(again.code == Some(3) && again.out.contains("made it from the snapshot"), "{again:?}");
    assert_eq!(rig::fingerprint(&region.file(VOL)), before);
    let erased = node.volinit(&["up", "postgres", "--erase", VOL]);
    assert_eq!(erased.code, Some(0), "{erased:?}");
}

#[test]
fn without_a_metadata_service_a_volume_that_has_to_be_attached_is_absent() {
    let region = Region::new();
    region.volume(VOL);
    let node = region.node("i-0a");
    node.rig.config(&config(VOL));
    let mut command = node.command(&["up"]);
    let ran = node.rig.run(command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", ec2::imds::Imds::nowhere()));
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.out.contains("the instance metadata service does not say instance-id"), "{ran:?}");
    let ran = node.volinit(&["plan"]);
    assert!(ran.code == Some(4) && ran.out.contains("`volinit up` asks EC2 for it"), "{ran:?}");
}

#[test]
fn certificates_are_asked_for_where_the_endpoint_is_https_and_nowhere_else() {
    let region = Region::new();
    region.volume(VOL);
    let node = region.node("i-0a");
    node.rig.config(&config(VOL).replace("20s", "2s"));
    let up = |endpoint: &str| {
        let mut command = node.command(&["up"]);
        command.env("AWS_ENDPOINT_URL", endpoint);
        node.rig.run(command.env("SSL_CERT_FILE", "/nonexistent").env_remove("SSL_CERT_DIR"))
    };
    let ran = up(&region.endpoint.replace("http:", "https:"));
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.err.contains("this system has no CA certificates, so no https:// can be trusted"), "{ran:?}");
    // By its name, of which the machine's own rules say what it is.
    let ran = up(&region.endpoint.replace("127.0.0.1", "localhost"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.err.contains("certificates"), "{ran:?}");
}

#[test]
fn a_slot_is_a_volume_and_an_interface_and_is_told_of() {
    let region = Region::new();
    let tagged = |slot: &str| {
        let id = format!("vol-0123456789abcde{slot}");
        region.volume(&id).tag("cluster", "kafka").tag("slot", slot);
        let nic = region.cloud.interface(&format!("eni-0123456789abcde{slot}"), ZONE);
        nic.tag("cluster", "kafka").tag("slot", slot).ip(&format!("10.0.0.{slot}"));
    };
    tagged("11");
    tagged("12");
    let node = region.node("i-0a");
    node.rig.config(POOL);
    let ran = node.volinit(&["-v", "up"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let fleet = node.rig.read("/etc/fleet/fleet.conf");
    let slot = ["11", "12"].into_iter().find(|slot| fleet.contains(&format!("broker={slot}"))).unwrap();
    assert!(fleet.contains(&format!("address=10.0.0.{slot}")), "{fleet}");
    assert_eq!(region.cloud.owner(&format!("eni-0123456789abcde{slot}")).as_deref(), Some("i-0a"));
    let calls = region.cloud.calls().len();
    let again = node.volinit(&["up"]);
    assert!(again.out.contains("nothing to do") && region.cloud.calls().len() == calls, "{again:?}");
    assert_eq!(node.rig.read("/etc/fleet/fleet.conf"), fleet);
}

#[test]
fn a_volume_with_the_tag_that_the_instance_has() {
    let region = Region::new();
    region.volume(VOL).tag("Name", "pg-1");
    region.volume("vol-0123456789abcdef1").tag("Name", "pg-2");
    let node = region.node("i-0a");
    node.rig.config(&config("{ tags: { Name: \"{instance-tag:Name}\" } }"));
    let ran = node.volinit(&["up"]);
    assert!(ran.code == Some(1) && ran.out.contains("does not tell its tag Name"), "{ran:?}");
    region.cloud.edit_instance("i-0a", |instance| drop(instance.tags.insert("Name".into(), "pg-2".into())));
    node.imds.change(|options| options.tags = true);
    let ran = node.volinit(&["up"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(region.cloud.owner("vol-0123456789abcdef1").as_deref(), Some("i-0a"));
}

#[test]
fn a_release_gives_back_what_was_taken_and_another_node_has_it() {
    let region = Region::new();
    region.cloud.with(|state| state.times.detach = Duration::from_millis(300));
    region.volume("vol-0123456789abcde11").tag("cluster", "kafka").tag("slot", "11");
    let nic = "eni-0123456789abcde11";
    region.cloud.interface(nic, ZONE).tag("cluster", "kafka").tag("slot", "11").ip("10.0.0.11");
    let node = region.node("i-0a");
    node.rig.config(POOL);
    assert_eq!(node.volinit(&["up"]).code, Some(0));
    node.shell(&format!("echo 42 >{}/rows", node.at("/data/kafka")));

    let mut user = node.inside(&["sh", "-c", &format!("cd {}; echo; exec sleep 60", node.at("/data/kafka"))]);
    let mut user = user.stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(user.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let ran = node.volinit(&["release"]);
    assert!(ran.code == Some(1) && ran.out.contains("is in use by sleep ("), "{ran:?}");
    assert_eq!(region.cloud.owner("vol-0123456789abcde11").as_deref(), Some("i-0a"));
    user.kill().unwrap();
    user.wait().unwrap();

    let ran = node.volinit(&["release"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for words in ["unmounted from /data/kafka", "vol-0123456789abcde11 detached", "eni-0123456789abcde11 detached"] {
        assert!(ran.out.contains(words), "{words}: {ran:?}");
    }
    assert_eq!((region.cloud.owner("vol-0123456789abcde11"), region.cloud.owner(nic)), (None, None));
    assert!(!node.rig.read("/etc/fleet/fleet.conf").contains("broker="));
    let again = node.volinit(&["release"]);
    assert!(again.code == Some(0) && again.out.contains("kafka: nothing to do"), "{again:?}");

    let other = region.node("i-0b");
    other.rig.config(POOL);
    assert_eq!(other.volinit(&["up"]).code, Some(0));
    assert_eq!(other.shell(&format!("cat {}/rows", other.at("/data/kafka"))), "42\n");
}

#[test]
fn grow_waits_until_the_kernel_shows_the_size_that_ec2_gave() {
    let region = Region::new();
    region.volume(VOL);
    let node = region.node("i-0a");
    node.rig.config(&config(VOL).replace("mount:", "filesystem: { type: xfs }\n    mount:"));
    assert_eq!(node.volinit(&["up"]).code, Some(0));
    region.cloud.edit_volume(VOL, |volume| volume.gib = 2);
    let mut slow = node.rig.read("/etc/volinit/volinit.yaml");
    slow = slow.replace("timeout: 20s", "timeout: 2s");
    node.rig.config(&slow);
    let ran = node.volinit(&["grow"]);
    assert!(ran.code == Some(1) && ran.out.contains("has 2 GiB by EC2's word, but"), "{ran:?}");

    region.grows(VOL, 2 << 30);
    let ran = node.volinit(&["grow"]);
    assert!(ran.code == Some(0) && ran.out.contains("grown to 2 GiB"), "{ran:?}");
}

#[test]
fn who_waits_is_told_once() {
    let region = Region::new();
    region.volume(VOL);
    let node = region.node("i-0a");
    node.rig.config(
        &(config(VOL) + "signal:\n- { stack: prod, resource: Node1 }\n- { lifecycle: { group: pg, hook: up } }\n"),
    );
    assert_eq!(node.volinit(&["up"]).code, Some(0));
    let told = region.cloud.calls_of("SignalResource");
    assert_eq!(told.len(), 1, "{told:?}");
    let params = ["StackName", "LogicalResourceId", "UniqueId", "Status"].map(|name| told[0].param(name).unwrap());
    assert_eq!(params, ["prod", "Node1", "i-0a", "SUCCESS"]);
    assert_eq!(region.cloud.calls_of("CompleteLifecycleAction")[0].param("LifecycleActionResult").unwrap(), "CONTINUE");
    let calls = region.cloud.calls().len();
    assert_eq!(node.volinit(&["up"]).code, Some(0));
    assert_eq!(region.cloud.calls().len(), calls);
}

#[test]
fn a_failure_is_told_with_its_reason() {
    let region = Region::new();
    region.volume(VOL).snapshot("snap-0123456789abcdef0");
    let node = region.node("i-0a");
    node.rig.config(&(config(VOL) + "signal: { stack: prod, resource: Node1 }\n"));
    assert_eq!(node.volinit(&["up"]).code, Some(3));
    let told = &region.cloud.calls_of("SignalResource")[0];
    assert_eq!(told.param("Status").unwrap(), "FAILURE");
    assert!(told.param("UniqueId").unwrap().starts_with("i-0a refused: "), "{told:?}");
}

/// Story 5: a stack's node as cloud-config/cloudformation has it. Its volume was made from a snapshot of a smaller one;
/// then the stack makes it larger once more, and cfn-hup runs its hook while the service writes.
#[test]
fn a_stack_s_volume_comes_from_a_snapshot_and_grows_while_it_is_in_use() {
    let region = Region::new();
    region.volume(VOL).snapshot("snap-0123456789abcdef0");
    let file = region.file(VOL);
    rig::tool(["mkfs.xfs", "-q", "-d", "size=512m", file.to_str().unwrap()]);
    let eni = "eni-0123456789abcdef0";
    region.cloud.interface(eni, ZONE);
    let node = region.node("i-0a");
    let template = include_str!("../../cloud-config/cloudformation/node.yaml");
    let config = template.split("content: |\n").nth(1).unwrap().split("runcmd:").next().unwrap();
    let config = config.replace("${DataVolume}", VOL).replace("${Interface}", eni);
    node.rig.config(&config.replace("${AWS::StackName}", "prod"));

    let up = node.volinit(&["up"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert!(up.out.contains("mounted at ") && up.out.contains("grown to 1 GiB"), "{up:?}");
    assert_eq!(region.cloud.owner(eni).as_deref(), Some("i-0a"));
    let told = &region.cloud.calls_of("SignalResource")[0];
    assert_eq!(told.param("Status").unwrap(), "SUCCESS");

    let at = node.at("/data/postgres");
    let mount = |node: &node::Node<'_>| node.shell(&format!("grep ' {at} ' /proc/self/mountinfo"));
    let before = mount(&node);
    // Writes until it is told to end, and says how many rows it has written.
    let script = format!("exec 3>>{at}/rows; n=0; while [ ! -e {at}/end ]; do echo $((n += 1)) >&3; done; echo $n");
    let service = node.inside(&["bash", "-ec", &script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    node.shell(&format!("until [ -s {at}/rows ]; do sleep 0.1; done"));

    let hook = include_str!("../../cloud-config/cloudformation/cfn-hup.yaml");
    let action = hook.split("action=").nth(1).unwrap().lines().next().unwrap();
    let action: Vec<&str> = action.split(' ').skip(1).collect();
    // ModifyVolume, as the stack's update does it. The kernel is yet to see it: the hook fails, and cfn-hup tries again.
    region.cloud.edit_volume(VOL, |volume| volume.gib = 2);
    let config = node.rig.read("/etc/volinit/volinit.yaml");
    node.rig.config(&config.replace("attach: true", "attach: true, timeout: 2s"));
    assert_eq!(node.volinit(&action).code, Some(1));
    node.rig.config(&config);
    region.grows(VOL, 2 << 30);
    let grow = node.volinit(&action);
    assert!(grow.code == Some(0) && grow.out.contains("grown to 2 GiB"), "{grow:?}");
    assert_eq!(mount(&node), before, "it was mounted anew");

    node.shell(&format!("touch {at}/end"));
    let ended = service.wait_with_output().unwrap();
    let wrote = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success());
    assert_eq!(node.shell(&format!("tail -n 1 {at}/rows")), wrote);
    assert_eq!(node.shell(&format!("wc -l <{at}/rows")), wrote);
    let size = node.shell(&format!("df --block-size=1M --output=size {at} | tail -n 1"));
    assert!(size.trim().parse::<u64>().unwrap() > 1900, "{size}");
}

#[test]
fn no_secret_is_in_any_log() {
    let region = Region::new();
    region.volume(VOL);
    let node = region.node("i-0a");
    node.rig.config(&config(VOL));
    let mut command = node.command(&["-vvv", "up"]);
    let ran = node.rig.run(command.env("RUST_LOG", "trace"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let secrets = region.cloud.secrets();
    assert!(!secrets.is_empty());
    for secret in secrets {
        assert!(!ran.err.contains(&secret) && !ran.out.contains(&secret), "{secret}: {}", ran.err);
    }
    assert_eq!(node.imds.v1_spoken(), 0);
}
