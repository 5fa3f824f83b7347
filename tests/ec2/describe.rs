//! What is asked and not changed: by id, by filter, page by page, and perhaps a little late.

use std::time::Duration;

use super::clock::date;
use super::form::{Form, Refused, Xml};
use super::links::no_interface;
use super::rules::{Result, created, no_instance, no_volume};
use super::state::{Attachment, Instance, Interface, Kept, Link, Modification, State, Tags, Volume};

const OWNER: &str = "111122223333";

fn tag_set(xml: &mut Xml, tags: &Tags) {
    xml.items("tagSet", tags, |xml, (key, value)| {
        xml.text("key", key).text("value", value);
    });
}

fn tag_facts(tags: Option<&Tags>, name: &str) -> Option<Vec<String>> {
    let tags = tags.into_iter();
    match name.strip_prefix("tag:") {
        Some(key) => Some(tags.filter_map(|tags| tags.get(key)).cloned().collect()),
        None if name == "tag-key" => Some(tags.flat_map(Tags::keys).cloned().collect()),
        None if name == "tag-value" => Some(tags.flat_map(Tags::values).cloned().collect()),
        None => None,
    }
}

/// Those that hold every filter. `facts` gives None for a filter that this action does not know.
fn filtered<'a, T>(
    form: &Form,
    all: Vec<&'a T>,
    facts: impl Fn(Option<&T>, &str) -> Option<Vec<String>>,
) -> Result<Vec<&'a T>> {
    let filters = form.filters();
    if let Some(unknown) = filters.iter().find(|filter| facts(None, &filter.name).is_none()) {
        // aws/aws-cli#2516
        let text = format!("The filter '{}' is invalid", unknown.name);
        return Err(Refused::new("InvalidParameterValue", text));
    }
    let holds =
        |one: &&T| filters.iter().all(|filter| filter.holds(&facts(Some(one), &filter.name).unwrap_or_default()));
    Ok(all.into_iter().filter(holds).collect())
}

/// One page and the token of the next. `set` is how AWS names the list of ids, which excludes `MaxResults`.
fn page<'a, T>(
    state: &State,
    form: &Form,
    ids: &[String],
    set: &str,
    found: Vec<&'a T>,
) -> Result<(Vec<&'a T>, Option<String>)> {
    let asked = form.get("MaxResults").map(|text| text.parse::<usize>().unwrap_or(0));
    if asked.is_some() && !ids.is_empty() {
        let text = format!("The parameter {set} cannot be used with the parameter maxResults");
        return Err(Refused::new("InvalidParameterCombination", text));
    }
    if let Some(number) = asked.filter(|number| !(5..=1000).contains(number)) {
        let text = format!("Value ( {number} ) for parameter maxResults is invalid. Expecting a value greater than 5.");
        return Err(Refused::new("InvalidParameterValue", text));
    }
    let from = match form.get("NextToken") {
        None => 0,
        Some(token) => {
            let number = token.strip_prefix("token-").and_then(|number| number.parse().ok());
            let text = || "The provided NextToken is invalid.";
            number.ok_or_else(|| Refused::new("InvalidParameterValue", text()))?
        }
    };
    let paged = asked.is_some() || form.get("NextToken").is_some();
    let most = asked.unwrap_or(1000).min(state.page.unwrap_or(1000));
    let total = found.len();
    let most = if paged { most } else { total };
    let next = (from + most < total).then(|| format!("token-{}", from + most));
    Ok((found.into_iter().skip(from).take(most).collect(), next))
}

fn finish(xml: &mut Xml, next: Option<String>) {
    if let Some(token) = next {
        xml.text("nextToken", token);
    }
}

pub fn attachment(xml: &mut Xml, volume: &str, held: &Attachment) {
    xml.text("volumeId", volume).text("instanceId", &held.instance).text("device", &held.device);
    xml.text("status", held.hold.word()).text("attachTime", date(held.at));
    xml.text("deleteOnTermination", held.delete_on_termination);
}

pub fn volumes(state: &State, now: Duration, form: &Form) -> Result<Xml> {
    let when = now.saturating_sub(state.times.describe_lags);
    let ids = form.list("VolumeId");
    if let Some(missing) = ids.iter().find(|id| !state.volumes.contains_key(*id)) {
        return Err(no_volume(missing));
    }
    let all = state.volumes.values().map(|kept| kept.as_of(when));
    let all = all.filter(|volume| ids.is_empty() || ids.contains(&volume.id)).collect();
    let found = filtered(form, all, volume_facts)?;
    let (found, next) = page(state, form, &ids, "volumes", found)?;
    let mut xml = Xml::default();
    xml.items("volumeSet", found, |xml, volume| {
        xml.text("volumeId", &volume.id)
            .text("size", volume.gib)
            .text("snapshotId", volume.snapshot.as_deref().unwrap_or(""));
        xml.text("availabilityZone", &volume.zone).text("status", volume.status()).text("createTime", created(volume));
        xml.items("attachmentSet", &volume.attachment, |xml, held| attachment(xml, &volume.id, held));
        tag_set(xml, &volume.tags);
        xml.text("volumeType", "gp3").text("iops", 3000).text("throughput", 125);
        xml.text("encrypted", false).text("multiAttachEnabled", false);
    });
    finish(&mut xml, next);
    Ok(xml)
}

fn volume_facts(volume: Option<&Volume>, name: &str) -> Option<Vec<String>> {
    let of = |get: &dyn Fn(&Volume) -> Option<String>| Some(volume.and_then(get).into_iter().collect());
    let held = |get: &dyn Fn(&Attachment) -> String| of(&|volume| volume.attachment.as_ref().map(get));
    match name {
        "status" => of(&|volume| Some(volume.status().into())),
        "availability-zone" => of(&|volume| Some(volume.zone.clone())),
        "volume-id" => of(&|volume| Some(volume.id.clone())),
        "size" => of(&|volume| Some(volume.gib.to_string())),
        "snapshot-id" => of(&|volume| volume.snapshot.clone()),
        "volume-type" => of(&|_| Some("gp3".into())),
        "encrypted" | "multi-attach-enabled" => of(&|_| Some("false".into())),
        "create-time" => of(&|volume| Some(created(volume))),
        "attachment.instance-id" => held(&|held| held.instance.clone()),
        "attachment.device" => held(&|held| held.device.clone()),
        "attachment.status" => held(&|held| held.hold.word().into()),
        "attachment.attach-time" => held(&|held| date(held.at)),
        "attachment.delete-on-termination" => held(&|held| held.delete_on_termination.to_string()),
        _ => tag_facts(volume.map(|volume| &volume.tags), name),
    }
}

pub fn instances(state: &State, now: Duration, form: &Form) -> Result<Xml> {
    let when = now.saturating_sub(state.times.describe_lags);
    let ids = form.list("InstanceId");
    let missing: Vec<&String> = ids.iter().filter(|id| !state.instances.contains_key(*id)).collect();
    if let Some(first) = missing.first() {
        return Err(no_instance(first));
    }
    let all = state.instances.values().map(|kept| kept.as_of(when));
    let all = all.filter(|instance| ids.is_empty() || ids.contains(&instance.id)).collect();
    let found = filtered(form, all, instance_facts)?;
    let (found, next) = page(state, form, &ids, "instancesSet", found)?;
    let mut xml = Xml::default();
    xml.items("reservationSet", found, |xml, instance| {
        xml.text("reservationId", instance.id.replacen('i', "r", 1)).text("ownerId", OWNER);
        xml.items("instancesSet", [instance], |xml, instance| one_instance(xml, state, when, instance));
    });
    finish(&mut xml, next);
    Ok(xml)
}

fn one_instance(xml: &mut Xml, state: &State, when: Duration, instance: &Instance) {
    let (code, word) = instance.life.code_and_word();
    xml.text("instanceId", &instance.id).text("imageId", "ami-0123456789abcdef0").text("instanceType", "m5.large");
    xml.within("instanceState", |xml| {
        xml.text("code", code).text("name", word);
    });
    xml.text("launchTime", date(Duration::ZERO));
    xml.within("placement", |xml| {
        xml.text("availabilityZone", &instance.zone).text("tenancy", "default");
    });
    xml.text("rootDeviceType", "ebs").text("rootDeviceName", "/dev/xvda");
    let volumes = state.volumes.values().map(|kept| kept.as_of(when));
    let held = volumes.filter(|volume| volume.holder() == Some(&instance.id));
    xml.items(
        "blockDeviceMapping",
        held.filter_map(|volume| Some((volume, volume.attachment.as_ref()?))),
        |xml, one| {
            let (volume, held) = one;
            xml.text("deviceName", &held.device).within("ebs", |xml| {
                xml.text("volumeId", &volume.id).text("status", held.hold.word()).text("attachTime", date(held.at));
                xml.text("deleteOnTermination", held.delete_on_termination);
            });
        },
    );
    let interfaces = state.interfaces.values().map(|kept| kept.as_of(when));
    let linked = interfaces.filter_map(|interface| Some((interface, interface.link.as_ref()?)));
    let ours = linked.filter(|(_, link)| link.instance == instance.id);
    xml.items("networkInterfaceSet", ours, |xml, (interface, link)| {
        xml.text("networkInterfaceId", &interface.id).text("macAddress", &interface.mac).text("status", "in-use");
        xml.text("privateIpAddress", &interface.ip).text("subnetId", &interface.subnet);
        xml.within("attachment", |xml| one_link(xml, link));
    });
    tag_set(xml, &instance.tags);
}

fn instance_facts(instance: Option<&Instance>, name: &str) -> Option<Vec<String>> {
    let of = |get: &dyn Fn(&Instance) -> String| Some(instance.map(get).into_iter().collect());
    match name {
        "instance-state-name" => of(&|instance| instance.life.code_and_word().1.into()),
        "instance-id" => of(&|instance| instance.id.clone()),
        "availability-zone" => of(&|instance| instance.zone.clone()),
        _ => tag_facts(instance.map(|instance| &instance.tags), name),
    }
}

pub fn interfaces(state: &State, now: Duration, form: &Form) -> Result<Xml> {
    let when = now.saturating_sub(state.times.describe_lags);
    let ids = form.list("NetworkInterfaceId");
    if let Some(missing) = ids.iter().find(|id| !state.interfaces.contains_key(*id)) {
        return Err(no_interface(missing));
    }
    let all = state.interfaces.values().map(|kept| kept.as_of(when));
    let all = all.filter(|interface| ids.is_empty() || ids.contains(&interface.id)).collect();
    let found = filtered(form, all, interface_facts)?;
    let (found, next) = page(state, form, &ids, "networkInterfaces", found)?;
    let mut xml = Xml::default();
    xml.items("networkInterfaceSet", found, |xml, interface| {
        xml.text("networkInterfaceId", &interface.id).text("subnetId", &interface.subnet).text("vpcId", "vpc-1");
        xml.text("availabilityZone", &interface.zone).text("ownerId", OWNER).text("macAddress", &interface.mac);
        xml.text("status", status(interface)).text("privateIpAddress", &interface.ip);
        xml.text("interfaceType", "interface").text("sourceDestCheck", true);
        xml.items("privateIpAddressesSet", [&interface.ip], |xml, ip| {
            xml.text("privateIpAddress", ip).text("primary", true);
        });
        if let Some(link) = &interface.link {
            xml.within("attachment", |xml| one_link(xml, link));
        }
        tag_set(xml, &interface.tags);
    });
    finish(&mut xml, next);
    Ok(xml)
}

fn one_link(xml: &mut Xml, link: &Link) {
    xml.text("attachmentId", &link.id).text("instanceId", &link.instance).text("instanceOwnerId", OWNER);
    xml.text("deviceIndex", link.index).text("networkCardIndex", link.card).text("status", link.hold.word());
    xml.text("attachTime", date(link.at)).text("deleteOnTermination", link.delete_on_termination);
}

fn status(interface: &Interface) -> &'static str {
    if interface.link.is_some() { "in-use" } else { "available" }
}

fn interface_facts(interface: Option<&Interface>, name: &str) -> Option<Vec<String>> {
    let of = |get: &dyn Fn(&Interface) -> Option<String>| Some(interface.and_then(get).into_iter().collect());
    let linked = |get: &dyn Fn(&Link) -> String| of(&|interface| interface.link.as_ref().map(get));
    match name {
        "status" => of(&|interface| Some(status(interface).into())),
        "availability-zone" => of(&|interface| Some(interface.zone.clone())),
        "network-interface-id" => of(&|interface| Some(interface.id.clone())),
        "subnet-id" => of(&|interface| Some(interface.subnet.clone())),
        "mac-address" => of(&|interface| Some(interface.mac.clone())),
        "private-ip-address" | "addresses.private-ip-address" => of(&|interface| Some(interface.ip.clone())),
        "attachment.instance-id" => linked(&|link| link.instance.clone()),
        "attachment.status" => linked(&|link| link.hold.word().into()),
        "attachment.device-index" => linked(&|link| link.index.to_string()),
        "attachment.attachment-id" => linked(&|link| link.id.clone()),
        _ => tag_facts(interface.map(|interface| &interface.tags), name),
    }
}

pub fn modification(xml: &mut Xml, volume: &str, one: &Modification) {
    xml.text("volumeId", volume).text("modificationState", one.status);
    xml.text("originalSize", one.from).text("targetSize", one.to);
    let progress = if one.status == "completed" { 100 } else { 0 };
    xml.text("progress", progress).text("startTime", date(one.start));
}

/// The latest of each volume; AWS shows no others.
pub fn modifications(state: &State, form: &Form) -> Result<Xml> {
    let ids = form.list("VolumeId");
    if let Some(missing) = ids.iter().find(|id| !state.volumes.contains_key(*id)) {
        return Err(no_volume(missing));
    }
    let latest = |id: &String| state.modifications.get(id).and_then(|history| history.last());
    if let Some(never) = ids.iter().find(|id| latest(id).is_none()) {
        let text = format!("Modification for volume '{never}' does not exist.");
        return Err(Refused::new("InvalidVolumeModification.NotFound", text));
    }
    let found = state.modifications.iter().filter(|(id, _)| ids.is_empty() || ids.contains(id));
    let mut xml = Xml::default();
    xml.items("volumeModificationSet", found.filter_map(|(id, history)| Some((id, history.last()?))), |xml, one| {
        modification(xml, one.0, one.1);
    });
    Ok(xml)
}

pub fn tags(state: &State, form: &Form) -> Result<Xml> {
    type Row<'a> = (&'a str, &'static str, &'a String, &'a String);
    fn rows<'a>(id: &'a str, kind: &'static str, tags: &'a Tags) -> Vec<Row<'a>> {
        tags.iter().map(|(key, value)| (id, kind, key, value)).collect()
    }
    let mut all: Vec<Row> = Vec::new();
    all.extend(state.volumes.values().map(Kept::now).flat_map(|one| rows(&one.id, "volume", &one.tags)));
    all.extend(state.instances.values().map(Kept::now).flat_map(|one| rows(&one.id, "instance", &one.tags)));
    all.extend(state.interfaces.values().map(Kept::now).flat_map(|one| rows(&one.id, "network-interface", &one.tags)));
    let facts = |row: Option<&Row>, name: &str| {
        let column = ["resource-id", "resource-type", "key", "value"].iter().position(|column| *column == name)?;
        let pick = |row: &Row| [row.0, row.1, row.2, row.3][column].to_owned();
        Some(row.map(pick).into_iter().collect())
    };
    let found = filtered(form, all.iter().collect(), facts)?;
    let mut xml = Xml::default();
    xml.items("tagSet", found, |xml, (id, kind, key, value)| {
        xml.text("resourceId", id).text("resourceType", kind).text("key", key).text("value", value);
    });
    Ok(xml)
}
