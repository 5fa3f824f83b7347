//! Who waits for this node is told how it ended: CloudFormation (`SignalResource`) and Auto Scaling
//! (`CompleteLifecycleAction`), one signed request each.
//!
//! By hand and not by their crates: aws-sdk-cloudformation and aws-sdk-autoscaling would be two more SDKs to compile and
//! 180 kB in the binary (release, opt-level z, fat LTO, beside aws-config), for one form each, whose answer is a status.

use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use aws_config::SdkConfig;
use aws_sdk_ec2::config::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use log::info;

use super::answer::{ApiError, Means};
use super::wait::Patience;
use super::{Me, connect};
use crate::config::Signal;
use crate::error::Failure;

/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(15);
/// How long it is tried: CloudFormation's own timeouts are minutes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How it ended, for who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All stands.
    Well,
    /// Not all does: what, in a few words.
    Badly(String),
}

/// Sends `signal`.
///
/// # Errors
/// [`Failure::Absent`] where there is no answer in two minutes.
pub async fn send(config: &SdkConfig, me: &Me, signal: &Signal, ended: &Ended) -> Result<(), Failure> {
    let call = Call::of(signal, me, ended);
    let mut patience = Patience::new(TIMEOUT);
    loop {
        match call.attempt(config, me).await {
            Ok(()) => {
                info!("told {}", call.to_whom);
                return Ok(());
            }
            // An earlier one came through, though its answer was lost.
            Err(Attempt::Api(error)) if error.message.contains("already exists") => return Ok(()),
            Err(Attempt::Api(error)) if matches!(error.means, Means::Unknown | Means::Throttled) => {
                patience.note(&error);
                patience.pause(&format!("{} gives no answer", call.to_whom)).await?;
            }
            Err(Attempt::Api(error)) => return Err(error.into()),
            Err(Attempt::Failed(error)) => return Err(error.into()),
        }
    }
}

enum Attempt {
    Api(ApiError),
    Failed(anyhow::Error),
}

struct Call {
    /// For a person.
    to_whom: String,
    /// The service's name in credentials' scopes and in host names.
    service: &'static str,
    /// The environment's variable for its endpoint.
    variable: &'static str,
    action: &'static str,
    form: Vec<(&'static str, String)>,
}

impl Call {
    fn of(signal: &Signal, me: &Me, ended: &Ended) -> Call {
        let instance = me.instance.clone();
        match signal {
            Signal::Stack { stack, resource } => Call {
                to_whom: format!("CloudFormation of {resource} in the stack {stack}"),
                service: "cloudformation",
                variable: "AWS_ENDPOINT_URL_CLOUDFORMATION",
                action: "SignalResource",
                form: vec![
                    ("Action", "SignalResource".into()),
                    ("Version", "2010-05-15".into()),
                    ("StackName", stack.clone()),
                    ("LogicalResourceId", resource.clone()),
                    ("UniqueId", unique_id(instance, ended)),
                    ("Status", if *ended == Ended::Well { "SUCCESS" } else { "FAILURE" }.into()),
                ],
            },
            Signal::Lifecycle { group, hook } => Call {
                to_whom: format!("Auto Scaling of the hook {hook} of the group {group}"),
                service: "autoscaling",
                variable: "AWS_ENDPOINT_URL_AUTO_SCALING",
                action: "CompleteLifecycleAction",
                form: vec![
                    ("Action", "CompleteLifecycleAction".into()),
                    ("Version", "2011-01-01".into()),
                    ("AutoScalingGroupName", group.clone()),
                    ("LifecycleHookName", hook.clone()),
                    ("InstanceId", instance),
                    ("LifecycleActionResult", if *ended == Ended::Well { "CONTINUE" } else { "ABANDON" }.into()),
                ],
            },
        }
    }

    fn endpoint(&self, config: &SdkConfig, region: &str) -> String {
        let said = std::env::var(self.variable).ok().or_else(|| config.endpoint_url().map(str::to_owned));
        said.unwrap_or_else(|| {
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://{}.{region}.amazonaws.com{china}", self.service)
        })
    }

    async fn attempt(&self, config: &SdkConfig, me: &Me) -> Result<(), Attempt> {
        let request = self.signed(config, me).await.map_err(Attempt::Failed)?;
        let lost = |message: String| Attempt::Api(ApiError::lost(self.action, message));
        let answer = tokio::time::timeout(ATTEMPT, async {
            let connector = connect::connector(connect::is_secure(request.uri()));
            let response = connector.call(request).await.map_err(|error| lost(format!("{error:?}")))?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|error| lost(error.to_string()))?;
            Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        });
        let (status, body) = answer.await.map_err(|_| lost(format!("no answer after {} s", ATTEMPT.as_secs())))??;
        match (status, element(&body, "Code")) {
            (200..=299, _) => Ok(()),
            (_, Some(code)) => {
                let message = element(&body, "Message").unwrap_or_default();
                Err(Attempt::Api(ApiError::answered(self.action, code, message)))
            }
            (status, None) => Err(lost(format!("status {status} and no error in it"))),
        }
    }

    async fn signed(&self, config: &SdkConfig, me: &Me) -> anyhow::Result<HttpRequest> {
        let signing = || format!("signing {}", self.action);
        let provider = config.credentials_provider().ok_or_else(|| anyhow!("there are no credentials"))?;
        let credentials = provider.provide_credentials().await.with_context(signing)?.into();
        let region = config.region().map_or(me.region.as_str(), AsRef::as_ref);
        let endpoint = self.endpoint(config, region);
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.form).finish();
        let mut request = HttpRequest::new(SdkBody::from(form.as_str()));
        request.set_method("POST").with_context(signing)?;
        request.set_uri(format!("{}/", endpoint.trim_end_matches('/'))).with_context(signing)?;
        request.headers_mut().insert("content-type", "application/x-www-form-urlencoded");

        let params = SigningParams::builder()
            .identity(&credentials)
            .region(region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .with_context(signing)?;
        let headers = request.headers().iter();
        let signable = SignableRequest::new("POST", request.uri(), headers, SignableBody::Bytes(form.as_bytes()))
            .with_context(signing)?;
        let (instructions, _) = sign(signable, &params.into()).with_context(signing)?.into_parts();
        for (name, value) in instructions.headers() {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Ok(request)
    }
}

/// `SignalResource` takes no reason, but the stack's events show this id. 64 characters at most.
fn unique_id(instance: String, ended: &Ended) -> String {
    match ended {
        Ended::Well => instance,
        Ended::Badly(why) => format!("{instance} {why}").chars().take(64).collect(),
    }
}

/// The text of the first element of this name: an error's answer has one `Code` and one `Message`.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_in_its_own_words() {
        let me = Me { instance: "i-0abc".into(), zone: "z1".into(), region: "z".into() };
        let stack = Signal::Stack { stack: "prod".into(), resource: "Node1".into() };
        let badly = Ended::Badly(format!("refused: {}", "x".repeat(100)));
        let value = |call: &Call, key| call.form.iter().find(|(name, _)| *name == key).unwrap().1.clone();
        assert_eq!(value(&Call::of(&stack, &me, &Ended::Well), "UniqueId"), "i-0abc");
        let call = Call::of(&stack, &me, &badly);
        assert_eq!((value(&call, "Status").as_str(), value(&call, "UniqueId").len()), ("FAILURE", 64));
        let hook = Signal::Lifecycle { group: "kafka".into(), hook: "volumes".into() };
        assert_eq!(value(&Call::of(&hook, &me, &badly), "LifecycleActionResult"), "ABANDON");
    }

    #[test]
    fn an_error_s_code_and_message() {
        let xml = "<ErrorResponse><Error><Code>ValidationError</Code><Message>no such stack</Message></Error>";
        assert_eq!((element(xml, "Code"), element(xml, "Message")), (Some("ValidationError"), Some("no such stack")));
        assert_eq!(element("<html>", "Code"), None);
    }
}
