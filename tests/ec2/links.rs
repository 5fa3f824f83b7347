//! The rules for network interfaces.

use std::time::Duration;

use super::form::{Form, Refused, Xml};
use super::rules::{Result, instance_takes, no_instance};
use super::state::{Hold, Interface, Kept, Link, State};

/// The text: seen in a Terraform report of a released address, `The networkInterface ID 'eni-…' does not exist`.
pub fn no_interface(id: &str) -> Refused {
    Refused::new("InvalidNetworkInterfaceID.NotFound", format!("The networkInterface ID '{id}' does not exist"))
}

pub fn attach(state: &mut State, now: Duration, form: &Form) -> Result<Xml> {
    let (id, instance) = (form.need("NetworkInterfaceId")?, form.need("InstanceId")?);
    let number = |name: &str, text: &str| {
        let invalid = || format!("Value ({text}) for parameter {name} is invalid.");
        text.parse::<u32>().map_err(|_| Refused::new("InvalidParameterValue", invalid()))
    };
    let index = number("deviceIndex", form.need("DeviceIndex")?)?;
    let card = number("networkCardIndex", form.get("NetworkCardIndex").unwrap_or("0"))?;
    let interface = state.interfaces.get(id).map(Kept::now).ok_or_else(|| no_interface(id))?;
    let zone = state.instance(instance).map(|instance| instance.zone.as_str()).ok_or_else(|| no_instance(instance))?;
    if interface.zone != zone {
        // No report with this text was found.
        let text =
            "You may not attach a network interface to an instance if they are not in the same availability zone";
        return Err(Refused::new("InvalidParameterCombination", text));
    }
    if interface.link.is_some() {
        // aws/aws-parallelcluster#4063, hashicorp/terraform-provider-aws#27513: of RunInstances, for the same cause.
        return Err(Refused::new("InvalidNetworkInterface.InUse", format!("Interface: [{id}] in use.")));
    }
    let holder = instance_takes(state, instance)?;
    let (volumes, interfaces) = state.held_by(instance);
    let at = |link: &Link| link.index == index && link.card == card;
    // The one it was launched with, at index 0, stands nowhere here unless a test put it.
    if index == 0 || interfaces.iter().any(|interface| interface.link.as_ref().is_some_and(at)) {
        // lstoll/k8s-vpcnet#71, cilium/cilium#42512
        let text = format!("Instance '{instance}' already has an interface attached at device index '{index}'.");
        return Err(Refused::new("InvalidParameterValue", text));
    }
    let launched = usize::from(!interfaces.iter().any(|one| one.link.as_ref().is_some_and(|link| link.index == 0)));
    let count = interfaces.len() + launched;
    if count >= holder.interface_limit {
        // cilium/cilium#15877: the count is what it would come to.
        let text = format!("Interface count {} exceeds the limit for m5.large", count + 1);
        return Err(Refused::new("AttachmentLimitExceeded", text));
    }
    if volumes.len() + interfaces.len() + holder.held.len() >= holder.limit {
        let text = format!("You may attach up to {} devices to this instance", holder.limit);
        return Err(Refused::new("AttachmentLimitExceeded", text));
    }
    let instance = instance.to_owned();
    let attachment = format!("eni-attach-{:017x}", state.next());
    let link = Link {
        id: attachment.clone(),
        instance,
        index,
        card,
        hold: Hold::Attaching,
        since: now,
        at: now,
        delete_on_termination: false,
    };
    state.interfaces.get_mut(id).expect("found above").change(now, |interface| interface.link = Some(link));
    let mut xml = Xml::default();
    xml.text("attachmentId", attachment).text("networkCardIndex", card);
    Ok(xml)
}

fn by_attachment<'a>(state: &'a mut State, attachment: &str) -> Result<&'a mut Kept<Interface>> {
    let ours = |kept: &Kept<Interface>| kept.now().link.as_ref().is_some_and(|link| link.id == attachment);
    let text = || format!("The interface attachment ID '{attachment}' does not exist");
    let found = state.interfaces.values_mut().find(|kept| ours(kept));
    found.ok_or_else(|| Refused::new("InvalidAttachmentID.NotFound", text()))
}

pub fn detach(state: &mut State, now: Duration, form: &Form) -> Result<Xml> {
    let kept = by_attachment(state, form.need("AttachmentId")?)?;
    let link = kept.now().link.as_ref().expect("found by it");
    if link.index == 0 {
        // Not from a report.
        let text = "The network interface at device index 0 cannot be detached.";
        return Err(Refused::new("OperationNotPermitted", text));
    }
    if link.hold != Hold::Detaching {
        kept.change(now, |interface| {
            let link = interface.link.as_mut().expect("found by it");
            (link.hold, link.since) = (Hold::Detaching, now);
        });
    }
    let mut xml = Xml::default();
    xml.text("return", true);
    Ok(xml)
}

pub fn modify(state: &mut State, now: Duration, form: &Form) -> Result<Xml> {
    let id = form.need("NetworkInterfaceId")?;
    let kept = state.interfaces.get_mut(id).ok_or_else(|| no_interface(id))?;
    if let Some(attachment) = form.get("Attachment.AttachmentId") {
        if kept.now().link.as_ref().is_none_or(|link| link.id != attachment) {
            let text = format!("The interface attachment ID '{attachment}' does not exist");
            return Err(Refused::new("InvalidAttachmentID.NotFound", text));
        }
        let delete = form.get("Attachment.DeleteOnTermination") == Some("true");
        kept.change(now, |interface| {
            interface.link.as_mut().expect("seen above").delete_on_termination = delete;
        });
    }
    let mut xml = Xml::default();
    xml.text("return", true);
    Ok(xml)
}
