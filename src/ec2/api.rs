//! The calls that are made, one function each, and what EC2 says as plain values. Nothing is decided here.
//!
//! Each call is retried by the SDK, adaptively and with full jitter, where it is throttled or its answer is lost:
//! one that was lost may have been done, so whoever calls looks again before it believes an error. A detach is tried
//! once: by the time of another attempt the instance that had been looked at may run again.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
pub use aws_sdk_ec2::types::{
    AttachmentStatus, InstanceStateName, VolumeAttachmentState as AttachmentState, VolumeModificationState, VolumeState,
};
use aws_sdk_ec2::types::{Filter, NetworkInterface, Reservation, Tag};

use super::answer::{ApiError, Means};
use crate::bytes::Bytes;
use crate::config::VolumeId;

type Result<T> = std::result::Result<T, ApiError>;

/// EC2, in one region.
#[derive(Clone, Debug)]
pub struct Api(pub Client);

/// A volume, as EC2 has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// Its size; after a modification the new one.
    pub size: Bytes,
    /// Its availability zone.
    pub zone: String,
    /// What may be done with it now.
    pub state: VolumeState,
    /// The snapshot that it was made from.
    pub snapshot: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// To which instances it is attached: one, but for Multi-Attach.
    pub attachments: Vec<Attachment>,
}

/// A volume's attachment to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The instance.
    pub instance: String,
    /// The device name, `/dev/sdf`.
    pub device: String,
    /// How far it is.
    pub state: AttachmentState,
}

/// A network interface, as EC2 has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Its id, `eni-…`.
    pub id: String,
    /// Its MAC address, lower case with colons, as the kernel writes it.
    pub mac: String,
    /// Its primary private IPv4 address.
    pub address: String,
    /// Its availability zone.
    pub zone: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// To which instance it is attached.
    pub attachment: Option<NicAttachment>,
}

/// A network interface's attachment to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicAttachment {
    /// Its own id, `eni-attach-…`, by which it is detached.
    pub id: String,
    /// The instance; empty where it is a service of AWS's.
    pub instance: String,
    /// How far it is.
    pub status: AttachmentStatus,
}

/// Which volumes or interfaces are asked for.
#[derive(Clone, Debug)]
pub enum Which<'a> {
    /// The one of this id.
    Id(&'a str),
    /// All that have these tags.
    Tags(&'a BTreeMap<String, String>),
}

impl Which<'_> {
    /// Filters for ids too: what is asked without any draws from a smaller bucket of requests, and one id that is gone
    /// would be an error for all
    /// (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>).
    fn filters(&self, id: &str) -> Vec<Filter> {
        let filter = |name: String, value: &str| Filter::builder().name(name).values(filtered(value)).build();
        match self {
            Which::Id(value) => vec![filter(id.to_owned(), value)],
            Which::Tags(tags) => tags.iter().map(|(key, value)| filter(format!("tag:{key}"), value)).collect(),
        }
    }

    /// Whether these are the tags that are asked for; a filter's wildcards may have caught others.
    fn means(&self, tags: &BTreeMap<String, String>) -> bool {
        match self {
            Which::Id(_) => true,
            Which::Tags(wanted) => wanted.iter().all(|(key, value)| tags.get(key) == Some(value)),
        }
    }
}

/// `*` and `?` are wildcards in a filter, and `\` takes that away
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Filter.html>), but not for everyone who speaks EC2. So any
/// one character may stand in their place here, and what is told is compared.
fn filtered(value: &str) -> String {
    value.replace(['*', '?', '\\'], "?")
}

impl Api {
    /// `DescribeVolumes`: by tags, all pages of it.
    pub async fn volumes(&self, which: &Which<'_>) -> Result<Vec<Volume>> {
        const ACTION: &str = "DescribeVolumes";
        let call = self.0.describe_volumes().set_filters(Some(which.filters("volume-id")));
        let told = call.into_paginator().items().send().try_collect().await.map_err(|error| failed(ACTION, &error))?;
        let volumes = told.iter().map(|told| volume(told).ok_or_else(|| nonsense(ACTION, told)));
        let mut volumes = volumes.collect::<Result<Vec<_>>>()?;
        volumes.retain(|volume| which.means(&volume.tags));
        Ok(volumes)
    }

    /// `DescribeNetworkInterfaces`: by tags, all pages of it.
    pub async fn interfaces(&self, which: &Which<'_>) -> Result<Vec<Nic>> {
        const ACTION: &str = "DescribeNetworkInterfaces";
        let call = self.0.describe_network_interfaces().set_filters(Some(which.filters("network-interface-id")));
        let told = call.into_paginator().items().send().try_collect().await.map_err(|error| failed(ACTION, &error))?;
        let nics = told.iter().map(|told| nic(told).ok_or_else(|| nonsense(ACTION, told)));
        let mut nics = nics.collect::<Result<Vec<_>>>()?;
        nics.retain(|nic| which.means(&nic.tags));
        Ok(nics)
    }

    /// `DescribeInstances`: the states of those that EC2 still knows. By a filter, since an id that is gone would be
    /// an error for all of them. At most 200.
    pub async fn instance_states(&self, ids: Vec<String>) -> Result<BTreeMap<String, InstanceStateName>> {
        let filter = Filter::builder().name("instance-id").set_values(Some(ids)).build();
        let call = self.0.describe_instances().filters(filter);
        let answer = call.send().await.map_err(|error| failed("DescribeInstances", &error))?;
        let instances = answer.reservations().iter().flat_map(Reservation::instances);
        let state = |instance: &aws_sdk_ec2::types::Instance| {
            Some((instance.instance_id()?.to_owned(), instance.state()?.name()?.clone()))
        };
        Ok(instances.filter_map(state).collect())
    }

    /// `DescribeVolumesModifications`, for one: the state of the last modification, where there is one.
    pub async fn modification(&self, id: &VolumeId) -> Result<Option<VolumeModificationState>> {
        let filter = Filter::builder().name("volume-id").values(id.to_string()).build();
        let call = self.0.describe_volumes_modifications().filters(filter);
        match call.send().await.map_err(|error| failed("DescribeVolumesModifications", &error)) {
            // AWS gives the latest only; others all of them, the latest last.
            Ok(answer) => Ok(answer.volumes_modifications().last().and_then(|last| last.modification_state().cloned())),
            Err(error) if error.means == Means::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `AttachVolume`.
    pub async fn attach(&self, id: &VolumeId, instance: &str, device: &str) -> Result<()> {
        let call = self.0.attach_volume().volume_id(id.to_string()).instance_id(instance).device(device);
        call.send().await.map(drop).map_err(|error| failed("AttachVolume", &error))
    }

    /// `DetachVolume`, from this instance and no other.
    pub async fn detach(&self, id: &VolumeId, instance: &str, force: bool) -> Result<()> {
        let call = self.0.detach_volume().volume_id(id.to_string()).instance_id(instance);
        let call = if force { call.force(true) } else { call };
        let call = call.customize().config_override(once());
        call.send().await.map(drop).map_err(|error| failed("DetachVolume", &error))
    }

    /// `AttachNetworkInterface`. The card is named, since some instances have several and no default
    /// (cilium#42512).
    pub async fn attach_interface(&self, id: &str, instance: &str, index: u8) -> Result<()> {
        let call = self.0.attach_network_interface().network_interface_id(id).instance_id(instance);
        let call = call.device_index(index.into()).network_card_index(0);
        call.send().await.map(drop).map_err(|error| failed("AttachNetworkInterface", &error))
    }

    /// `DetachNetworkInterface`, by the attachment's id.
    pub async fn detach_interface(&self, attachment: &str) -> Result<()> {
        let call = self.0.detach_network_interface().attachment_id(attachment);
        let call = call.customize().config_override(once());
        call.send().await.map(drop).map_err(|error| failed("DetachNetworkInterface", &error))
    }
}

/// No retries of the SDK's.
fn once() -> aws_sdk_ec2::config::Builder {
    aws_sdk_ec2::Config::builder().retry_config(RetryConfig::disabled())
}

fn failed<E, R>(action: &'static str, error: &SdkError<E, R>) -> ApiError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    if let SdkError::ServiceError(context) = error
        && let Some(code) = context.err().code()
    {
        return ApiError::answered(action, code, context.err().message().unwrap_or_default());
    }
    ApiError::lost(action, DisplayErrorContext(error).to_string())
}

fn nonsense(action: &'static str, thing: &dyn std::fmt::Debug) -> ApiError {
    let message = format!("EC2's answer lacks what it always has: {thing:?}");
    ApiError { action, code: None, message, means: Means::Unknown }
}

fn tags(tags: &[Tag]) -> BTreeMap<String, String> {
    let pair = |tag: &Tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()));
    tags.iter().filter_map(pair).collect()
}

fn volume(volume: &aws_sdk_ec2::types::Volume) -> Option<Volume> {
    let attachments = volume.attachments().iter().map(|attachment| {
        Some(Attachment {
            instance: attachment.instance_id().unwrap_or_default().to_owned(),
            device: attachment.device().unwrap_or_default().to_owned(),
            state: attachment.state()?.clone(),
        })
    });
    Some(Volume {
        id: VolumeId::parse(volume.volume_id()?)?,
        size: Bytes::gib(u64::try_from(volume.size()?).ok()?),
        zone: volume.availability_zone()?.to_owned(),
        state: volume.state()?.clone(),
        snapshot: volume.snapshot_id().filter(|id| !id.is_empty()).map(str::to_owned),
        tags: tags(volume.tags()),
        // What has been detached may be listed for a while.
        attachments: attachments
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .filter(|attachment| attachment.state != AttachmentState::Detached)
            .collect(),
    })
}

fn nic(nic: &NetworkInterface) -> Option<Nic> {
    let attachment = nic.attachment().filter(|attachment| attachment.status() != Some(&AttachmentStatus::Detached));
    let attachment = attachment.map(|attachment| {
        Some(NicAttachment {
            id: attachment.attachment_id()?.to_owned(),
            instance: attachment.instance_id().unwrap_or_default().to_owned(),
            status: attachment.status()?.clone(),
        })
    });
    Some(Nic {
        id: nic.network_interface_id()?.to_owned(),
        mac: nic.mac_address()?.to_lowercase(),
        address: nic.private_ip_address()?.to_owned(),
        zone: nic.availability_zone()?.to_owned(),
        tags: tags(nic.tag_set()),
        attachment: match attachment {
            Some(attachment) => Some(attachment?),
            None => None,
        },
    })
}
