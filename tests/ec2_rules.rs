//! The tests' own EC2 keeps the rules it was made for, each once: asked without a network by `answer`. What is of the
//! wire is in `ec2_wire.rs`; what AWS says to each is named in `ec2/rules.rs`.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod ec2;

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ec2::{Answer, Cloud, Event, Fault, Form, Hold, Life, Limits, Reply, When, Wire};

const A: &str = "eu-central-1a";
const B: &str = "eu-central-1b";

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Two instances in one zone, one in another, and a free volume.
fn cloud() -> Cloud {
    let cloud = Cloud::new();
    cloud.instance("i-0a", A).held("/dev/sdb");
    cloud.instance("i-0b", A);
    cloud.instance("i-0c", B);
    cloud.volume("vol-1", A, 10).tag("cluster", "kafka");
    cloud
}

fn ask(cloud: &Cloud, seconds: u64, action: &str, fields: &[(&str, &str)]) -> Answer {
    cloud.answer(at(seconds), &Form::ec2(action, fields))
}

fn attach(cloud: &Cloud, seconds: u64, volume: &str, instance: &str, device: &str) -> Answer {
    ask(cloud, seconds, "AttachVolume", &[("VolumeId", volume), ("InstanceId", instance), ("Device", device)])
}

fn detach(cloud: &Cloud, seconds: u64, fields: &[(&str, &str)]) -> Answer {
    ask(cloud, seconds, "DetachVolume", &[&[("VolumeId", "vol-1")], fields].concat())
}

fn link(cloud: &Cloud, seconds: u64, interface: &str, instance: &str, index: &str) -> Answer {
    let fields = [("NetworkInterfaceId", interface), ("InstanceId", instance), ("DeviceIndex", index)];
    ask(cloud, seconds, "AttachNetworkInterface", &fields)
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, message: &str) {
    assert_eq!((answer.status, answer.code(), answer.message()), (status, code, message));
}

#[test]
fn an_attach_is_slow_and_a_hook_hears_of_its_end() {
    let cloud = cloud();
    cloud.attach_takes(at(3));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    cloud.on_event(move |event| told.lock().unwrap().push(event.clone()));
    let answer = attach(&cloud, 0, "vol-1", "i-0a", "/dev/sdf");
    assert_eq!((answer.status, answer.text("status")), (200, Some("attaching")));
    let describe = |seconds| ask(&cloud, seconds, "DescribeVolumes", &[("VolumeId.1", "vol-1")]);
    assert_eq!(describe(2).texts("status"), ["in-use", "attaching"]);
    assert!(heard.lock().unwrap().is_empty());
    assert_eq!(describe(3).texts("status"), ["in-use", "attached"]);
    let event = Event::Attached { volume: "vol-1".into(), instance: "i-0a".into(), device: "/dev/sdf".into() };
    assert_eq!(*heard.lock().unwrap(), [event]);
    assert_eq!(cloud.owner("vol-1").as_deref(), Some("i-0a"));
}

#[test]
fn what_cannot_be_attached_is_refused_with_the_code_of_aws() {
    let cloud = cloud();
    cloud.volume("vol-2", A, 1).status("creating");
    let no = "The instance ID 'i-9' does not exist";
    refused(
        &attach(&cloud, 0, "vol-9", "i-0a", "/dev/sdf"),
        400,
        "InvalidVolume.NotFound",
        "The volume 'vol-9' does not exist.",
    );
    refused(&attach(&cloud, 0, "vol-1", "i-9", "/dev/sdf"), 400, "InvalidInstanceID.NotFound", no);
    let zone = "The volume 'vol-1' is not in the same availability zone as instance 'i-0c'";
    refused(&attach(&cloud, 0, "vol-1", "i-0c", "/dev/sdf"), 400, "InvalidVolume.ZoneMismatch", zone);
    refused(&attach(&cloud, 0, "vol-2", "i-0a", "/dev/sdf"), 400, "IncorrectState", "vol-2 is not 'available'.");
    for name in ["/dev/sdk1", "/dev/nvme1n1", "sdF", "/dev/xvdzz", "sd"] {
        let text = format!("Value ({name}) for parameter device is invalid. {name} is not a valid EBS device name.");
        refused(&attach(&cloud, 0, "vol-1", "i-0a", name), 400, "InvalidParameterValue", &text);
    }
    for life in [Life::Pending, Life::ShuttingDown, Life::Terminated] {
        cloud.with(|state| (state.times.terminate, state.times.stop) = (at(99), at(99)));
        cloud.set_life("i-0b", life);
        let text = "Instance 'i-0b' is not 'running'.";
        refused(&attach(&cloud, 0, "vol-1", "i-0b", "/dev/sdf"), 400, "IncorrectState", text);
    }
    let missing = ask(&cloud, 0, "AttachVolume", &[("VolumeId", "vol-1"), ("InstanceId", "i-0a")]);
    refused(&missing, 400, "MissingParameter", "The request must contain the parameter Device");
    assert_eq!(cloud.owner("vol-1"), None);
    // A stopped one takes a volume.
    cloud.set_life("i-0b", Life::Stopped);
    assert_eq!(attach(&cloud, 0, "vol-1", "i-0b", "/dev/sdf").status, 200);
}

#[test]
fn a_volume_has_one_owner_who_also_hears_that_it_is_in_use() {
    let cloud = cloud();
    assert_eq!(attach(&cloud, 0, "vol-1", "i-0a", "/dev/sdf").status, 200);
    for instance in ["i-0a", "i-0b"] {
        let answer = attach(&cloud, 1, "vol-1", instance, "/dev/sdg");
        refused(&answer, 400, "VolumeInUse", "vol-1 is already attached to an instance");
    }
}

#[test]
fn sdf_and_xvdf_are_one_slot_and_the_image_holds_names_that_nobody_shows() {
    let cloud = cloud();
    cloud.volume("vol-2", A, 1);
    assert_eq!(attach(&cloud, 0, "vol-1", "i-0a", "/dev/sdf").status, 200);
    for name in ["/dev/sdf", "/dev/xvdf", "xvdf", "/dev/sdb", "/dev/sda1", "/dev/xvda"] {
        let text = format!("Invalid value '{name}' for unixDevice. Attachment point {name} is already in use");
        refused(&attach(&cloud, 0, "vol-2", "i-0a", name), 400, "InvalidParameterValue", &text);
    }
    let shown = ask(&cloud, 0, "DescribeInstances", &[("InstanceId.1", "i-0a")]);
    assert_eq!(shown.texts("deviceName"), ["/dev/sdf"]);
    cloud.with(|state| state.twin_names_hang = true);
    assert_eq!(attach(&cloud, 0, "vol-2", "i-0a", "/dev/xvdf").status, 200);
    cloud.settle(at(3600));
    assert_eq!(cloud.see_volume("vol-2").attachment.unwrap().hold, Hold::Attaching);
}

#[test]
fn an_instance_takes_only_so_many() {
    let cloud = cloud();
    cloud.instance("i-0d", A).limit(2).interface_limit(2);
    cloud.volume("vol-2", A, 1);
    cloud.interface("eni-1", A);
    assert_eq!(attach(&cloud, 0, "vol-1", "i-0d", "/dev/sdf").status, 200);
    let text = "You may attach up to 2 devices to this instance";
    refused(&attach(&cloud, 0, "vol-2", "i-0d", "/dev/sdg"), 400, "AttachmentLimitExceeded", text);
    refused(&link(&cloud, 0, "eni-1", "i-0d", "1"), 400, "AttachmentLimitExceeded", text);
}

#[test]
fn a_detach_is_slow_and_a_mounted_volume_stays_busy_until_it_is_forced() {
    let cloud = cloud();
    cloud.detach_takes(at(2));
    let hold = |seconds| {
        cloud.settle(at(seconds));
        cloud.see_volume("vol-1").attachment.map(|attachment| attachment.hold)
    };
    attach(&cloud, 0, "vol-1", "i-0a", "/dev/sdf");
    assert_eq!(detach(&cloud, 1, &[]).text("status"), Some("detaching"));
    assert_eq!((hold(2), hold(3)), (Some(Hold::Detaching), None));
    attach(&cloud, 4, "vol-1", "i-0a", "/dev/sdf");
    cloud.edit_volume("vol-1", |volume| volume.mounted = true);
    detach(&cloud, 5, &[("InstanceId", "i-0a")]);
    assert_eq!((hold(6), hold(8), hold(900)), (Some(Hold::Detaching), Some(Hold::Busy), Some(Hold::Busy)));
    assert_eq!(detach(&cloud, 901, &[]).text("status"), Some("busy"));
    assert_eq!(detach(&cloud, 902, &[("Force", "true")]).text("status"), Some("detaching"));
    assert_eq!((hold(903), hold(904)), (Some(Hold::Detaching), None));
    // Unmounted by the guest, it goes by itself.
    attach(&cloud, 910, "vol-1", "i-0a", "/dev/sdf");
    cloud.edit_volume("vol-1", |volume| volume.mounted = true);
    detach(&cloud, 911, &[]);
    assert_eq!(hold(920), Some(Hold::Busy));
    cloud.edit_volume("vol-1", |volume| volume.mounted = false);
    assert_eq!(hold(923), None);
}

#[test]
fn what_cannot_be_detached_is_refused() {
    let cloud = cloud();
    refused(&detach(&cloud, 0, &[]), 400, "IncorrectState", "Volume 'vol-1'is in the 'available' state.");
    attach(&cloud, 0, "vol-1", "i-0a", "/dev/sdf");
    let text = "The volume 'vol-1' is not attached to instance 'i-0b'";
    refused(&detach(&cloud, 0, &[("InstanceId", "i-0b")]), 400, "InvalidAttachment.NotFound", text);
    cloud.terminate_takes(at(60), at(10));
    cloud.terminate("i-0a");
    let answer = detach(&cloud, 1, &[]);
    assert_eq!(answer.code(), "IncorrectInstanceState");
    let text = "Unable to detach volume 'vol-1' from instance 'i-0a'. The instance is not in a state in which volumes \
                can be detached.";
    assert_eq!(answer.message(), text);
}

#[test]
fn a_terminated_instance_lets_go_after_a_while_and_a_stopped_one_does_not() {
    let cloud = cloud();
    cloud.volume("vol-2", A, 1).attached("i-0b", "/dev/sdf").mounted();
    cloud.volume("vol-3", A, 1).attached("i-0a", "/dev/sdg").mounted();
    cloud.edit_volume("vol-1", |volume| volume.unattached = "available".into());
    cloud.interface("eni-1", A).attached("i-0a", 1);
    cloud.terminate_takes(at(60), at(10));
    cloud.detach_takes(at(5));
    cloud.stop_takes(at(30));
    cloud.settle(at(100));
    cloud.terminate("i-0a");
    cloud.stop("i-0b");
    let life = |instance: &str| cloud.see_instance(instance).unwrap().life;
    cloud.settle(at(129));
    assert_eq!((life("i-0a"), life("i-0b")), (Life::ShuttingDown, Life::Stopping));
    cloud.settle(at(169));
    assert_eq!((life("i-0a"), life("i-0b")), (Life::Terminated, Life::Stopped));
    assert_eq!(cloud.see_volume("vol-3").attachment.unwrap().hold, Hold::Attached);
    cloud.settle(at(174));
    assert_eq!(cloud.see_volume("vol-3").attachment.unwrap().hold, Hold::Detaching);
    cloud.settle(at(175));
    assert_eq!((cloud.owner("vol-3"), cloud.owner("eni-1")), (None, None));
    assert_eq!(cloud.owner("vol-2").as_deref(), Some("i-0b"));
    assert_eq!(detach(&cloud, 200, &[]).code(), "IncorrectState");
    assert_eq!(ask(&cloud, 200, "DetachVolume", &[("VolumeId", "vol-2")]).status, 200);
    cloud.settle(at(205));
    assert_eq!(cloud.owner("vol-2"), None);
    cloud.forget("i-0a");
    assert_eq!(ask(&cloud, 205, "DescribeInstances", &[("InstanceId.1", "i-0a")]).code(), "InvalidInstanceID.NotFound");
}

#[test]
fn filters_and_pages() {
    let cloud = cloud();
    for number in 2..=12 {
        cloud
            .volume(&format!("vol-{number}"), if number % 2 == 0 { A } else { B }, number)
            .tag("n", &number.to_string());
    }
    cloud.volume("vol-s", A, 1).snapshot("snap-1").attached("i-0a", "/dev/sdz");
    let ids = |filters: &[(&str, &[&str])]| {
        let mut fields = Vec::new();
        for (number, (name, values)) in filters.iter().enumerate() {
            fields.push((format!("Filter.{}.Name", number + 1), (*name).to_owned()));
            for (which, value) in values.iter().enumerate() {
                fields.push((format!("Filter.{}.Value.{}", number + 1, which + 1), (*value).to_owned()));
            }
        }
        let mut form = Form::ec2("DescribeVolumes", &[]);
        form.fields.extend(fields);
        let answer = cloud.answer(at(0), &form);
        let mut ids: Vec<String> = answer.texts("volumeId").iter().map(|&id| id.to_owned()).collect();
        ids.dedup();
        if answer.status == 200 { Ok(ids) } else { Err(answer.message().to_owned()) }
    };
    let found = |ids: &[&str]| Ok(ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>());
    assert_eq!(ids(&[("tag:cluster", &["kafka"])]), found(&["vol-1"]));
    assert_eq!(ids(&[("tag:cluster", &["Kafka"])]), found(&[]));
    assert_eq!(ids(&[("tag:n", &["1?", "3"]), ("availability-zone", &[B])]), found(&["vol-11", "vol-3"]));
    assert_eq!(ids(&[("tag-key", &["clus*"])]), found(&["vol-1"]));
    assert_eq!(ids(&[("status", &["in-use"])]), found(&["vol-s"]));
    assert_eq!(ids(&[("snapshot-id", &["snap-1"]), ("attachment.instance-id", &["i-0a"])]), found(&["vol-s"]));
    assert_eq!(ids(&[("attachment.device", &["/dev/sdz"]), ("attachment.status", &["attached"])]), found(&["vol-s"]));
    assert_eq!(ids(&[("size", &["7"]), ("volume-id", &["vol-7"])]), found(&["vol-7"]));
    assert_eq!(ids(&[("colour", &["red"])]), Err("The filter 'colour' is invalid".into()));
    let mut seen = 0;
    let mut token = String::new();
    loop {
        let mut fields = vec![("MaxResults", "5")];
        if !token.is_empty() {
            fields.push(("NextToken", &token));
        }
        let page = ask(&cloud, 0, "DescribeVolumes", &fields);
        seen += page.texts("createTime").len();
        let Some(next) = page.text("nextToken").map(str::to_owned) else { break };
        token = next;
    }
    assert_eq!((seen, cloud.count("DescribeVolumes")), (13, 12));
    // A page that ends with the last one has no token.
    let even = [("MaxResults", "6"), ("Filter.1.Name", "availability-zone"), ("Filter.1.Value.1", A)];
    let whole = ask(&cloud, 0, "DescribeVolumes", &[("MaxResults", "13")]);
    assert_eq!(
        (ask(&cloud, 0, "DescribeVolumes", &even).texts("createTime").len(), whole.text("nextToken")),
        (6, None)
    );
    assert_eq!(ask(&cloud, 0, "DescribeVolumes", &[("MaxResults", "4")]).code(), "InvalidParameterValue");
    let both = [("MaxResults", "5"), ("VolumeId.1", "vol-1")];
    assert_eq!(ask(&cloud, 0, "DescribeVolumes", &both).code(), "InvalidParameterCombination");
    let missing = ask(&cloud, 0, "DescribeVolumes", &[("VolumeId.1", "vol-nil")]);
    refused(&missing, 400, "InvalidVolume.NotFound", "The volume 'vol-nil' does not exist.");
}

#[test]
fn a_describe_may_lag_behind_and_an_attach_does_not() {
    let cloud = cloud();
    cloud.describe_lags(at(5));
    cloud.settle(at(10));
    attach(&cloud, 10, "vol-1", "i-0a", "/dev/sdf");
    let status = |seconds| ask(&cloud, seconds, "DescribeVolumes", &[]).text("status").map(str::to_owned);
    assert_eq!(status(14).as_deref(), Some("available"));
    assert_eq!(attach(&cloud, 14, "vol-1", "i-0b", "/dev/sdf").code(), "VolumeInUse");
    assert_eq!(status(15).as_deref(), Some("in-use"));
}

#[test]
fn a_volume_grows_never_shrinks_and_has_its_size_at_optimizing() {
    let cloud = cloud();
    cloud.modify_takes(at(10), at(100));
    let modify = |seconds, size: &str| ask(&cloud, seconds, "ModifyVolume", &[("VolumeId", "vol-1"), ("Size", size)]);
    let state = |seconds| ask(&cloud, seconds, "DescribeVolumesModifications", &[("VolumeId.1", "vol-1")]);
    let never = state(0);
    refused(&never, 400, "InvalidVolumeModification.NotFound", "Modification for volume 'vol-1' does not exist.");
    assert_eq!(modify(0, "9").code(), "InvalidParameterValue");
    assert_eq!(modify(0, "20").text("modificationState"), Some("modifying"));
    let text = "Volume vol-1 cannot be modified in modification state MODIFYING";
    refused(&modify(5, "30"), 400, "IncorrectModificationState", text);
    let text = "Cannot attach volume vol-1 when it is in modification state: MODIFYING";
    refused(&attach(&cloud, 5, "vol-1", "i-0a", "/dev/sdf"), 400, "OperationNotPermitted", text);
    assert_eq!((modify(5, "30").code(), cloud.see_volume("vol-1").gib), ("IncorrectModificationState", 10));
    assert_eq!(state(10).text("modificationState"), Some("optimizing"));
    assert_eq!(cloud.see_volume("vol-1").gib, 20);
    assert_eq!(state(110).text("modificationState"), Some("completed"));
    for number in 1..=3 {
        assert_eq!(modify(number * 200, "30").status, 200);
    }
    assert_eq!(modify(900, "40").code(), "VolumeModificationRateExceeded");
    assert_eq!(modify(86_401, "40").status, 200);
}

#[test]
fn interfaces_have_one_owner_and_one_index() {
    let cloud = cloud();
    for (id, zone) in [("eni-1", A), ("eni-2", A), ("eni-3", A), ("eni-b", B)] {
        cloud.interface(id, zone).tag("slot", id);
    }
    cloud.attach_takes(at(2));
    let ups = Arc::new(Mutex::new(0));
    let count = Arc::clone(&ups);
    cloud.on_event(move |event| *count.lock().unwrap() += u32::from(matches!(event, Event::LinkUp { .. })));
    let first = link(&cloud, 0, "eni-1", "i-0a", "1");
    assert_eq!((first.status, first.text("networkCardIndex")), (200, Some("0")));
    let id = first.text("attachmentId").unwrap();
    refused(&link(&cloud, 0, "eni-1", "i-0b", "1"), 400, "InvalidNetworkInterface.InUse", "Interface: [eni-1] in use.");
    let text = "Instance 'i-0a' already has an interface attached at device index '1'.";
    refused(&link(&cloud, 0, "eni-2", "i-0a", "1"), 400, "InvalidParameterValue", text);
    assert_eq!(link(&cloud, 0, "eni-b", "i-0a", "2").code(), "InvalidParameterCombination");
    let text = "The networkInterface ID 'eni-9' does not exist";
    refused(&link(&cloud, 0, "eni-9", "i-0a", "2"), 400, "InvalidNetworkInterfaceID.NotFound", text);
    assert_eq!(link(&cloud, 0, "eni-2", "i-0a", "2").status, 200);
    let text = "Interface count 4 exceeds the limit for m5.large";
    refused(&link(&cloud, 0, "eni-3", "i-0a", "3"), 400, "AttachmentLimitExceeded", text);
    let filter = [("Filter.1.Name", "tag:slot"), ("Filter.1.Value.1", "eni-1")];
    let shown = ask(&cloud, 2, "DescribeNetworkInterfaces", &filter);
    assert_eq!(shown.texts("status"), ["in-use", "attached"]);
    assert_eq!((shown.text("attachmentId"), *ups.lock().unwrap()), (Some(id), 2));
    let fields =
        [("NetworkInterfaceId", "eni-1"), ("Attachment.AttachmentId", id), ("Attachment.DeleteOnTermination", "true")];
    assert_eq!(ask(&cloud, 2, "ModifyNetworkInterfaceAttribute", &fields).status, 200);
    assert!(cloud.see_interface("eni-1").link.unwrap().delete_on_termination);
    assert_eq!(ask(&cloud, 3, "DetachNetworkInterface", &[("AttachmentId", id)]).status, 200);
    assert_eq!(cloud.owner("eni-1"), None);
    assert_eq!(
        ask(&cloud, 3, "DetachNetworkInterface", &[("AttachmentId", id)]).code(),
        "InvalidAttachmentID.NotFound"
    );
}

#[test]
fn tags_are_written_and_read() {
    let cloud = cloud();
    let create = [("ResourceId.1", "vol-1"), ("ResourceId.2", "i-0a"), ("Tag.1.Key", "slot"), ("Tag.1.Value", "7")];
    assert_eq!(ask(&cloud, 0, "CreateTags", &create).status, 200);
    assert_eq!((cloud.tags_of("vol-1")["slot"].as_str(), cloud.tags_of("i-0a")["slot"].as_str()), ("7", "7"));
    let filter = [("Filter.1.Name", "key"), ("Filter.1.Value.1", "slot")];
    assert_eq!(ask(&cloud, 0, "DescribeTags", &filter).texts("resourceId"), ["vol-1", "i-0a"]);
    let delete = [("ResourceId.1", "vol-1"), ("Tag.1.Key", "slot"), ("Tag.1.Value", "8")];
    ask(&cloud, 0, "DeleteTags", &delete);
    assert!(cloud.tags_of("vol-1").contains_key("slot"));
    ask(&cloud, 0, "DeleteTags", &delete[..2]);
    assert!(!cloud.tags_of("vol-1").contains_key("slot"));
}

#[test]
fn rights_that_are_missing_say_which() {
    let cloud = cloud();
    cloud.deny("AttachVolume");
    let answer = attach(&cloud, 0, "vol-1", "i-0a", "/dev/sdf");
    assert_eq!((answer.status, answer.code()), (403, "UnauthorizedOperation"));
    assert!(answer.message().starts_with("You are not authorized to perform this operation. User: arn:aws:sts::"));
    assert!(answer.message().ends_with("because no identity-based policy allows the ec2:AttachVolume action"));
    let dry = ask(&cloud, 0, "DetachVolume", &[("VolumeId", "vol-1"), ("DryRun", "true")]);
    assert_eq!((dry.status, dry.code()), (412, "DryRunOperation"));
}

#[test]
fn buckets_are_those_that_aws_publishes() {
    let cloud = cloud();
    cloud.throttle(Limits::published());
    let passed = |seconds, action: &str, fields: &[(&str, &str)]| {
        let calls = (0..200).map(|_| ask(&cloud, seconds, action, fields));
        calls.filter(|answer| answer.code() != "RequestLimitExceeded").count()
    };
    let filter = [("Filter.1.Name", "status"), ("Filter.1.Value.1", "available")];
    assert_eq!((passed(0, "DescribeVolumes", &filter), passed(1, "DescribeVolumes", &filter)), (100, 20));
    // Without a filter or a page: a bucket of its own, and a smaller one.
    let id = [("VolumeId.1", "vol-1")];
    assert_eq!((passed(1, "DescribeVolumes", &id), passed(2, "DescribeVolumes", &id)), (50, 10));
    assert_eq!((passed(2, "DescribeVolumesModifications", &[]), passed(2, "AttachVolume", &[])), (100, 50));
    assert_eq!((passed(3, "AttachVolume", &[]), passed(3, "DetachVolume", &[])), (5, 50));
    assert_eq!((passed(3, "CreateTags", &[]), passed(1000, "CreateTags", &[])), (100, 100));
    let last = ask(&cloud, 1000, "CreateTags", &[]);
    refused(&last, 503, "RequestLimitExceeded", "Request limit exceeded.");
}

#[test]
fn faults_come_when_they_are_told_to() {
    let cloud = cloud();
    let form = Form::ec2("DescribeVolumes", &[]);
    let reply = || cloud.reply(at(0), None, &form);
    cloud.fault("DescribeVolumes", When::Nth(2), Fault::throttled());
    cloud.fault("DescribeVolumes", When::Nth(3), Fault::internal());
    let statuses: Vec<u16> = (0..4).map(|_| reply().answer.status).collect();
    assert_eq!(statuses, [200, 503, 500, 200]);
    cloud.heal();
    for (fault, wire) in [
        (Fault::Lost, Wire::Closed),
        (Fault::Cut, Wire::Cut),
        (Fault::Dead, Wire::Silent),
        (Fault::Reset, Wire::Closed),
    ] {
        cloud.fault("*", When::First(1), fault);
        assert_eq!((reply().wire, reply().wire), (wire, Wire::Whole));
        cloud.heal();
    }
    cloud.fault("AttachVolume", When::Every, Fault::DoneBut500);
    assert_eq!(attach(&cloud, 0, "vol-1", "i-0a", "/dev/sdf").status, 500);
    assert_eq!(cloud.owner("vol-1").as_deref(), Some("i-0a"));
    let codes: Vec<String> =
        cloud.calls().iter().map(|call| call.code.clone()).filter(|code| !code.is_empty()).collect();
    let words = ["RequestLimitExceeded", "InternalError", "lost", "cut", "silent", "reset", "InternalError"];
    assert_eq!(codes, words);
    let Reply { wait, .. } = {
        cloud.fault("DescribeVolumes", When::Every, Fault::Slow(at(1)));
        reply()
    };
    assert_eq!(wait, at(1));
}

#[test]
fn fifty_threads_race_and_each_volume_has_one_owner() {
    let cloud = Cloud::new();
    for number in 0..50 {
        cloud.volume(&format!("vol-{number}"), A, 1);
        cloud.instance(&format!("i-{number}"), A);
    }
    let won: usize = thread::scope(|scope| {
        let race = |number: usize| {
            let cloud = cloud.clone();
            move || {
                let me = format!("i-{number}");
                let mut order = (0..50).map(|step| format!("vol-{}", (number * 7 + step) % 50));
                usize::from(order.any(|volume| attach(&cloud, 0, &volume, &me, "/dev/sdf").status == 200))
            }
        };
        let racing: Vec<_> = (0..50).map(|number| scope.spawn(race(number))).collect();
        racing.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let mut owners: Vec<_> = (0..50).map(|number| cloud.owner(&format!("vol-{number}")).unwrap()).collect();
    owners.sort();
    owners.dedup();
    assert_eq!((won, owners.len()), (50, 50));
}

/// What the boot storm leans on: a thousand nodes in virtual time, none of them waiting for this EC2 itself.
#[test]
fn a_thousand_nodes_ask_without_a_network() {
    let cloud = Cloud::new();
    cloud.attach_takes(at(2));
    for number in 0..1000 {
        cloud.volume(&format!("vol-{number}"), A, 1).tag("pool", "p").tag("slot", &number.to_string());
        cloud.interface(&format!("eni-{number}"), A).tag("slot", &number.to_string());
        cloud.instance(&format!("i-{number}"), A);
    }
    cloud.throttle(Limits::published());
    let (mut waiting, mut second) = ((0..1000).collect::<Vec<usize>>(), 0);
    while !waiting.is_empty() {
        waiting.retain(|number| {
            let (volume, instance) = (format!("vol-{number}"), format!("i-{number}"));
            attach(&cloud, second, &volume, &instance, "/dev/sdf").code() == "RequestLimitExceeded"
        });
        second += 1;
    }
    // 50 in the first second, and 5 in each after it: what AWS's published bucket makes of a thousand attaches.
    assert_eq!(second, 1 + (1000 - 50) / 5);
    assert_eq!(cloud.calls_of("AttachVolume").iter().filter(|call| call.status == 200).count(), 1000);
}

/// One cloud skips what it believes to be quiet; its twin looks at everything each time. They say the same.
#[test]
fn nothing_that_is_due_is_slept_through() {
    let make = || {
        let cloud = cloud();
        cloud.volume("vol-2", A, 1).attached("i-0b", "/dev/sdf").mounted();
        cloud.interface("eni-1", A).attached("i-0b", 1);
        cloud.attach_takes(at(3));
        cloud.detach_takes(at(4));
        cloud.modify_takes(at(5), at(6));
        cloud.terminate_takes(at(7), at(8));
        cloud.terminate("i-0b");
        cloud
    };
    let (quiet, awake) = (make(), make());
    for second in 0..60 {
        awake.with(|state| state.quiet_until = Duration::ZERO);
        for cloud in [&quiet, &awake] {
            match second {
                2 => drop(attach(cloud, second, "vol-1", "i-0a", "/dev/sdf")),
                9 => drop(ask(cloud, second, "ModifyVolume", &[("VolumeId", "vol-1"), ("Size", "12")])),
                30 => drop(detach(cloud, second, &[])),
                _ => {}
            }
        }
        for action in
            ["DescribeVolumes", "DescribeInstances", "DescribeNetworkInterfaces", "DescribeVolumesModifications"]
        {
            let bodies = [&quiet, &awake].map(|cloud| ask(cloud, second, action, &[]).body);
            assert_eq!(bodies[0], bodies[1], "{action} after {second} s");
        }
    }
    assert_eq!((quiet.owner("vol-1"), quiet.owner("vol-2"), quiet.owner("eni-1")), (None, None, None));
}
