//! The rules for volumes, as AWS keeps them, and which action is which.
//! The codes: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>. The texts are from reports
//! of people who met them, named at each; where none was found it says so.

use std::time::Duration;

use super::clock;
use super::describe;
use super::form::{Form, Refused, Xml};
use super::links;
use super::state::{Attachment, Hold, Instance, Kept, Life, Modification, State, Tags, Volume};

pub type Result<T> = std::result::Result<T, Refused>;

/// Does what a request asks for, or says why not.
pub fn act(state: &mut State, now: Duration, form: &Form) -> Result<Xml> {
    match form.action() {
        "DescribeVolumes" => describe::volumes(state, now, form),
        "DescribeInstances" => describe::instances(state, now, form),
        "DescribeNetworkInterfaces" => describe::interfaces(state, now, form),
        "DescribeVolumesModifications" => describe::modifications(state, form),
        "DescribeTags" => describe::tags(state, form),
        "AttachVolume" => attach(state, now, form),
        "DetachVolume" => detach(state, now, form),
        "ModifyVolume" => modify(state, now, form),
        "CreateTags" | "DeleteTags" => tag(state, now, form),
        "AttachNetworkInterface" => links::attach(state, now, form),
        "DetachNetworkInterface" => links::detach(state, now, form),
        "ModifyNetworkInterfaceAttribute" => links::modify(state, now, form),
        // CloudFormation's and Auto Scaling's: recorded by the call log, which is all that is asked of them.
        "SignalResource" => need(form, &["StackName", "LogicalResourceId", "UniqueId", "Status"]),
        "CompleteLifecycleAction" => {
            need(form, &["AutoScalingGroupName", "LifecycleHookName", "LifecycleActionResult", "InstanceId"])
        }
        other => {
            let text = format!("The action {other} is not valid for this web service.");
            Err(Refused::new("InvalidAction", text))
        }
    }
}

fn need(form: &Form, names: &[&str]) -> Result<Xml> {
    names.iter().try_for_each(|name| form.need(name).map(drop))?;
    Ok(Xml::default())
}

/// The text: aws/aws-sdk-java#1339.
pub fn no_volume(id: &str) -> Refused {
    Refused::new("InvalidVolume.NotFound", format!("The volume '{id}' does not exist."))
}

/// The text: aws/aws-sdk-java#911.
pub fn no_instance(id: &str) -> Refused {
    Refused::new("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
}

/// Zone, then life, then the number of what it holds.
pub fn instance_takes(state: &State, id: &str) -> Result<Instance> {
    let instance = state.instance(id).ok_or_else(|| no_instance(id))?;
    match instance.life {
        Life::Running | Life::Stopped => Ok(instance.clone()),
        // "Instance 'i-…' is not 'running'.", seen for pending (ansible-collections/amazon.aws#497,
        // fpco/terraform-aws-foundation#280). That a terminated one gives the same text is assumed.
        Life::Pending | Life::ShuttingDown | Life::Terminated | Life::Stopping => {
            Err(Refused::new("IncorrectState", format!("Instance '{id}' is not 'running'.")))
        }
    }
}

fn attach(state: &mut State, now: Duration, form: &Form) -> Result<Xml> {
    let (id, instance, device) = (form.need("VolumeId")?, form.need("InstanceId")?, form.need("Device")?);
    let volume = state.volumes.get(id).map(Kept::now).ok_or_else(|| no_volume(id))?;
    let zone = state.instance(instance).map(|instance| instance.zone.as_str()).ok_or_else(|| no_instance(instance))?;
    let slot = slot(device).ok_or_else(|| {
        // base2genomics/batchit#15
        let text =
            format!("Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name.");
        Refused::new("InvalidParameterValue", text)
    })?;
    if volume.zone != zone {
        // linuxkit/linuxkit#2388
        let text = format!("The volume '{id}' is not in the same availability zone as instance '{instance}'");
        return Err(Refused::new("InvalidVolume.ZoneMismatch", text));
    }
    match volume.status() {
        "available" => {}
        // hashicorp/terraform-provider-aws#8565. The instance that has it gets the same.
        "in-use" => return Err(Refused::new("VolumeInUse", format!("{id} is already attached to an instance"))),
        // andsens/build-debian-cloud#85
        _ => return Err(Refused::new("IncorrectState", format!("{id} is not 'available'."))),
    }
    if state.modifications.get(id).and_then(|history| history.last()).is_some_and(|last| last.status == "modifying") {
        // ansible-collections/amazon.aws#1558, hashicorp/terraform#24610; of optimizing nobody says so.
        let text = format!("Cannot attach volume {id} when it is in modification state: MODIFYING");
        return Err(Refused::new("OperationNotPermitted", text));
    }
    let holder = instance_takes(state, instance)?;
    let (volumes, interfaces) = state.held_by(instance);
    let attached = volumes.iter().filter_map(|volume| volume.attachment.as_ref());
    let names: Vec<String> = attached.map(|held| held.device.clone()).chain(holder.held.iter().cloned()).collect();
    let twin = names.iter().find(|name| self::slot(name) == Some(slot));
    let hangs = state.twin_names_hang && twin.is_some_and(|name| bare(name) != bare(device));
    if twin.is_some() && !hangs {
        // nanovms/ops#1189, kopeio/etcd-manager#323
        let text = format!("Invalid value '{device}' for unixDevice. Attachment point {device} is already in use");
        return Err(Refused::new("InvalidParameterValue", text));
    }
    // What the image holds under a name counts too; so does each interface, the first one included.
    if names.len() + interfaces.len() >= holder.limit {
        let text = format!("You may attach up to {} devices to this instance", holder.limit);
        return Err(Refused::new("AttachmentLimitExceeded", text));
    }
    let held = Attachment {
        instance: instance.into(),
        device: device.into(),
        hold: Hold::Attaching,
        since: now,
        at: now,
        delete_on_termination: false,
        forced: false,
    };
    let mut xml = Xml::default();
    describe::attachment(&mut xml, id, &held);
    let kept = state.volumes.get_mut(id).expect("found above");
    kept.change(now, |volume| {
        volume.attachment = Some(held);
        volume.stuck |= hangs;
    });
    Ok(xml)
}

fn bare(device: &str) -> &str {
    device.trim_start_matches("/dev/")
}

/// `f` for /dev/sdf, sdf and xvdf: one slot under two names. None for what is no name for EBS, such as /dev/sdk1
/// and /dev/nvme1n1. <https://docs.aws.amazon.com/ebs/latest/userguide/device_naming.html>
pub fn slot(device: &str) -> Option<&str> {
    let name = bare(device);
    if name == "sda1" {
        return Some("a");
    }
    let letter = |byte: &u8| byte.is_ascii_lowercase();
    if let Some(rest) = name.strip_prefix("sd") {
        return (rest.len() == 1 && rest.as_bytes().iter().all(letter)).then_some(rest);
    }
    let rest = name.strip_prefix("xvd")?;
    let two = rest.len() == 2 && (b'b'..=b'd').contains(&rest.as_bytes()[0]);
    ((rest.len() == 1 || two) && rest.as_bytes().iter().all(letter)).then_some(rest)
}

fn detach(state: &mut State, now: Duration, form: &Form) -> Result<Xml> {
    let id = form.need("VolumeId")?;
    let force = form.get("Force") == Some("true");
    let volume = state.volumes.get(id).map(Kept::now).ok_or_else(|| no_volume(id))?;
    let Some(held) = &volume.attachment else {
        // hashicorp/terraform#9023, hashicorp/terraform-provider-aws#1011; the missing space is AWS's.
        let text = format!("Volume '{id}'is in the '{}' state.", volume.status());
        return Err(Refused::new("IncorrectState", text));
    };
    let other_instance = form.get("InstanceId").is_some_and(|instance| instance != held.instance);
    if other_instance || form.get("Device").is_some_and(|device| device != held.device) {
        // The code is documented; no report with the text was found.
        let instance = form.get("InstanceId").unwrap_or(&held.instance);
        let text = format!("The volume '{id}' is not attached to instance '{instance}'");
        return Err(Refused::new("InvalidAttachment.NotFound", text));
    }
    if state.instance(&held.instance).is_some_and(|instance| instance.life == Life::ShuttingDown) {
        // hashicorp/terraform#18965
        let text = format!(
            "Unable to detach volume '{id}' from instance '{}'. The instance is not in a state in which volumes can be \
             detached.",
            held.instance
        );
        return Err(Refused::new("IncorrectInstanceState", text));
    }
    let kept = state.volumes.get_mut(id).expect("found above");
    kept.change(now, |volume| {
        let held = volume.attachment.as_mut().expect("seen above");
        // A second plain detach changes nothing. That it is no error is assumed.
        if matches!(held.hold, Hold::Attaching | Hold::Attached) || (force && !held.forced) {
            (held.hold, held.since) = (Hold::Detaching, now);
        }
        held.forced |= force;
    });
    let mut xml = Xml::default();
    describe::attachment(&mut xml, id, kept.now().attachment.as_ref().expect("seen above"));
    Ok(xml)
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolume.html>: never smaller, one at a time, four
/// within 24 hours. The texts of the first and the last are not from a report.
fn modify(state: &mut State, now: Duration, form: &Form) -> Result<Xml> {
    const DAY: Duration = Duration::from_secs(86_400);
    let id = form.need("VolumeId")?;
    let volume = state.volumes.get(id).map(Kept::now).ok_or_else(|| no_volume(id))?;
    let from = volume.gib;
    let to = form.get("Size").and_then(|size| size.parse().ok()).unwrap_or(from);
    let history = state.modifications.entry(id.into()).or_default();
    if to < from {
        let text = "New size cannot be smaller than existing size";
        return Err(Refused::new("InvalidParameterValue", text));
    }
    if let Some(last) = history.last().filter(|last| last.status != "completed" && last.status != "failed") {
        // sodafoundation/strato#1120
        let text = format!("Volume {id} cannot be modified in modification state {}", last.status.to_uppercase());
        return Err(Refused::new("IncorrectModificationState", text));
    }
    if history.iter().filter(|one| one.start + DAY > now).count() >= 4 {
        let text = "You've reached the maximum modification rate per volume limit.";
        return Err(Refused::new("VolumeModificationRateExceeded", text));
    }
    let modification = Modification { from, to, status: "modifying", since: now, start: now };
    let mut xml = Xml::default();
    xml.within("volumeModification", |xml| describe::modification(xml, id, &modification));
    history.push(modification);
    Ok(xml)
}

fn tag(state: &mut State, now: Duration, form: &Form) -> Result<Xml> {
    let numbers = (1..).take_while(|number| form.get(&format!("Tag.{number}.Key")).is_some());
    let field = |number: u32, name: &str| form.get(&format!("Tag.{number}.{name}"));
    let tags: Vec<(&str, Option<&str>)> =
        numbers.map(|number| (field(number, "Key").expect("seen above"), field(number, "Value"))).collect();
    let create = form.action() == "CreateTags";
    let write = |held: &mut Tags| {
        for (key, value) in &tags {
            if create {
                held.insert((*key).into(), value.unwrap_or("").into());
            } else if value.is_none() || held.get(*key).map(String::as_str) == *value {
                held.remove(*key);
            }
        }
    };
    let ids = form.list("ResourceId");
    for id in &ids {
        let known =
            state.volumes.contains_key(id) || state.instances.contains_key(id) || state.interfaces.contains_key(id);
        if !known {
            return Err(match id.split('-').next() {
                Some("vol") => no_volume(id),
                Some("i") => no_instance(id),
                _ => links::no_interface(id),
            });
        }
    }
    for id in &ids {
        if let Some(kept) = state.volumes.get_mut(id) {
            kept.change(now, |volume| write(&mut volume.tags));
        }
        if let Some(kept) = state.instances.get_mut(id) {
            kept.change(now, |instance| write(&mut instance.tags));
        }
        if let Some(kept) = state.interfaces.get_mut(id) {
            kept.change(now, |interface| write(&mut interface.tags));
        }
    }
    let mut xml = Xml::default();
    xml.text("return", true);
    Ok(xml)
}

/// What each answer begins and ends with, by the service that gives it.
pub fn envelope(form: &Form, request: u64, result: &Result<Xml>) -> String {
    const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let (action, id) = (form.action(), format!("{request:08x}-0000-4000-8000-000000000000"));
    let namespace = match form.get("Version") {
        Some("2010-05-15") => "http://cloudformation.amazonaws.com/doc/2010-05-15/",
        Some("2011-01-01") => "http://autoscaling.amazonaws.com/doc/2011-01-01/",
        _ => "http://ec2.amazonaws.com/doc/2016-11-15/",
    };
    let ec2 = namespace.contains("//ec2.");
    let mut xml = Xml::default();
    match result {
        Ok(inside) if ec2 => {
            let text = format!("<{action}Response xmlns=\"{namespace}\"><requestId>{id}</requestId>{}", inside.0);
            return format!("{HEAD}{text}</{action}Response>");
        }
        Ok(inside) => {
            xml.within(&format!("{action}Result"), |xml| xml.0.push_str(&inside.0));
            xml.within("ResponseMetadata", |xml| {
                xml.text("RequestId", &id);
            });
            return format!("{HEAD}<{action}Response xmlns=\"{namespace}\">{}</{action}Response>", xml.0);
        }
        Err(refused) if ec2 => {
            xml.within("Response", |xml| {
                xml.within("Errors", |xml| {
                    xml.within("Error", |xml| {
                        xml.text("Code", &refused.code).text("Message", &refused.message);
                    });
                });
                xml.text("RequestID", &id);
            });
        }
        Err(refused) => {
            let side = if refused.status < 500 { "Sender" } else { "Receiver" };
            xml.within("ErrorResponse", |xml| {
                xml.within("Error", |xml| {
                    xml.text("Type", side).text("Code", &refused.code).text("Message", &refused.message);
                });
                xml.text("RequestId", &id);
            });
        }
    }
    format!("{HEAD}{}", xml.0)
}

/// When a volume was made, as describes say it.
pub fn created(volume: &Volume) -> String {
    clock::date(volume.created)
}
