//! What EC2's errors mean, each with what follows from it. Pure.
//!
//! Codes: <https://docs.aws.amazon.com/ec2/latest/APIReference/errors-overview.html>. Some stand for several things
//! that only the message tells apart; the messages are as others have met them (the CSI driver, rexray, terraform).

use std::fmt;

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ApiError {
    /// The action, `AttachVolume`.
    pub action: &'static str,
    /// EC2's code, where it answered.
    pub code: Option<String>,
    /// EC2's message, or what became of the request.
    pub message: String,
    /// What it means.
    pub means: Means,
}

/// What an error means for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// No answer that can be relied on: it may have been done.
    Unknown,
    /// Later: EC2 has more to do than it takes from this account.
    Throttled,
    /// Somebody has it: look who.
    InUse,
    /// Not in this state: it changes.
    NotNow,
    /// This device name, or device index, is taken on this instance.
    SlotTaken,
    /// There is no such volume, interface or instance.
    Missing,
    /// It is not attached, or not there.
    NotAttached,
    /// This account may not do it.
    Forbidden,
    /// It will never be done: another zone, too many attachments, a wrong request.
    Never,
}

impl ApiError {
    /// An answer of EC2's.
    pub fn answered(action: &'static str, code: &str, message: &str) -> ApiError {
        ApiError { action, code: Some(code.to_owned()), message: message.to_owned(), means: meaning(code, message) }
    }

    /// No answer, or none that could be read.
    pub fn lost(action: &'static str, message: String) -> ApiError {
        ApiError { action, code: None, message, means: Means::Unknown }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApiError { action, code, message, means } = self;
        match (code, means) {
            (Some(_), Means::Forbidden) => write!(
                f,
                "{}:{action} is not allowed: give the instance's role this action (packaging/iam has the least \
                 policy). AWS says: {message}",
                service(action)
            ),
            (Some(code), _) => write!(f, "{action}: {code}: {message}"),
            (None, _) => write!(f, "{action}: {message}"),
        }
    }
}

/// The service, as policies name it.
fn service(action: &str) -> &'static str {
    match action {
        "SignalResource" => "cloudformation",
        "CompleteLifecycleAction" => "autoscaling",
        _ => "ec2",
    }
}

fn meaning(code: &str, message: &str) -> Means {
    match code {
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "RequestThrottled"
        | "SlowDown"
        | "EC2ThrottledException"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete" => Means::Throttled,
        "InternalError"
        | "InternalFailure"
        | "Unavailable"
        | "ServiceUnavailable"
        | "Server.Unavailable"
        | "Server.InternalError" => Means::Unknown,
        "VolumeInUse" | "InvalidNetworkInterface.InUse" | "InvalidInterface.InUse" => Means::InUse,
        // Of a detach (hashicorp/terraform#9023); the missing space is AWS's.
        "IncorrectState" if message.contains("is in the 'available' state") => Means::NotAttached,
        "IncorrectState" | "IncorrectInstanceState" | "InvalidState" => Means::NotNow,
        // A volume that is being modified, until it is `optimizing` (amazon.aws#1558).
        "OperationNotPermitted" if message.contains("modification state") => Means::NotNow,
        "InvalidParameterValue" if message.contains("already in use") => Means::SlotTaken,
        "InvalidParameterValue" if message.contains("already has an interface attached") => Means::SlotTaken,
        "InvalidDevice.InUse" | "InvalidNetworkInterfaceDeviceIndex.InUse" => Means::SlotTaken,
        "InvalidAttachment.NotFound" | "InvalidAttachmentID.NotFound" => Means::NotAttached,
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => Means::Forbidden,
        _ if code.ends_with(".NotFound") => Means::Missing,
        _ => Means::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_meaning() {
        let in_use = "Invalid value '/dev/xvdb' for unixDevice. Attachment point /dev/xvdb is already in use";
        let wrong = "Value (/dev/sdk1) for parameter device is invalid. /dev/sdk1 is not a valid EBS device name.";
        let index = "Instance 'i-0a' already has an interface attached at device index '1'.";
        for (code, message, means) in [
            ("VolumeInUse", "vol-1 is already attached to an instance", Means::InUse),
            ("IncorrectState", "vol-1 is not 'available'.", Means::NotNow),
            ("InvalidParameterValue", in_use, Means::SlotTaken),
            ("InvalidParameterValue", wrong, Means::Never),
            ("InvalidParameterValue", index, Means::SlotTaken),
            ("InvalidVolume.ZoneMismatch", "The volume 'vol-1' is not in the same availability zone", Means::Never),
            ("AttachmentLimitExceeded", "You may attach up to 27 devices", Means::Never),
            ("InvalidVolume.NotFound", "The volume 'vol-1' does not exist.", Means::Missing),
            ("InvalidAttachment.NotFound", "", Means::NotAttached),
            ("IncorrectState", "Volume 'vol-1'is in the 'available' state.", Means::NotAttached),
            ("IncorrectInstanceState", "Unable to detach volume 'vol-1' from instance 'i-0a'.", Means::NotNow),
            ("RequestLimitExceeded", "Request limit exceeded.", Means::Throttled),
            ("Server.Unavailable", "", Means::Unknown),
            ("UnauthorizedOperation", "You are not authorized to perform this operation.", Means::Forbidden),
            (
                "OperationNotPermitted",
                "Cannot attach volume vol-1 when it is in modification state: MODIFYING",
                Means::NotNow,
            ),
            ("IncorrectState", "Instance 'i-0a' is not 'running'.", Means::NotNow),
            ("SomethingNew", "", Means::Never),
        ] {
            assert_eq!(ApiError::answered("AttachVolume", code, message).means, means, "{code}");
        }
    }

    #[test]
    fn a_missing_right_is_named() {
        let error = ApiError::answered("DetachVolume", "UnauthorizedOperation", "You are not authorized").to_string();
        assert!(error.starts_with("ec2:DetachVolume is not allowed: "), "{error}");
    }
}
