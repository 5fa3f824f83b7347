//! Who this instance is, by the instance metadata service (`IMDSv2` only), and a client for its region.
//!
//! Everything can be said the AWS way: `AWS_ENDPOINT_URL`, `AWS_PROFILE`, `AWS_REGION`,
//! `AWS_EC2_METADATA_SERVICE_ENDPOINT` and `…_MODE=IPv6`
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>).

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::anyhow;
use aws_config::imds::Client as Imds;
use aws_config::meta::region::ProvideRegion;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::error::DisplayErrorContext;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use log::{info, warn};

use super::{Api, Ec2, Me};
use crate::error::Failure;

/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);
/// The metadata service is on the host itself.
const METADATA: Duration = Duration::from_secs(2);

pub(super) async fn connect() -> Result<Ec2, Failure> {
    let http = http();
    let provider = ProviderConfig::without_region().with_http_client(http.clone());
    let imds = Imds::builder().configure(&provider).connect_timeout(METADATA).read_timeout(METADATA).build();
    let me = me(&imds).await?;
    info!("this is {} in {}", me.instance, me.zone);
    let config = config(http, me.region.clone()).await;
    let api = Api(aws_sdk_ec2::Client::new(&config));
    Ok(Ec2 { imds: Some(imds), config: Some(config), ..Ec2::new(api, me) })
}

/// What the calls to every service go by.
pub(super) async fn config(http: SharedHttpClient, region: String) -> SdkConfig {
    // What is said (AWS_REGION, a profile) comes before what the instance knows.
    let provider = ProviderConfig::without_region().with_http_client(http.clone());
    let said = aws_config::environment::EnvironmentVariableRegionProvider::new().region().await;
    let said = match said {
        None => aws_config::profile::region::Builder::default().configure(&provider).build().region().await,
        said => said,
    };
    let region = said.unwrap_or_else(|| Region::new(region));
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(region)
        .retry_config(retries())
        .timeout_config(timeouts())
        .app_name(AppName::new("volinit").expect("it is a name"))
        .load()
        .await
}

/// As [`wait`](super::wait) goes on after that, this is about a single call: adaptive, full jitter.
pub fn retries() -> RetryConfig {
    RetryConfig::adaptive().with_max_attempts(6).with_initial_backoff(Duration::from_secs(1))
}

/// A socket that is dead is known to be so after a while.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).connect_timeout(CONNECT).build()
}

/// A client that reads the system's certificates, 150 files on Debian, when the first https:// is asked for. The
/// metadata service is none.
pub fn http() -> SharedHttpClient {
    SharedHttpClient::new(Lazy { plain: client(false), secure: Arc::new(LazyLock::new(|| client(true))) })
}

fn client(secure: bool) -> SharedHttpClient {
    Builder::new().tls_provider(PROVIDER).tls_context(tls(secure)).build_https()
}

/// A connection of its own, for what no SDK client does.
pub(super) fn connector(secure: bool) -> Connector {
    Connector::builder().tls_provider(PROVIDER).tls_context(tls(secure)).build()
}

/// Ring in place of aws-lc: no C compiler and assembler are needed to build it, and it is a megabyte smaller.
const PROVIDER: Provider = Provider::Rustls(CryptoMode::Ring);

/// Where the system has no certificates, the SDK says nothing (a debug build of it panics) and later knows no issuer.
fn tls(secure: bool) -> TlsContext {
    static ANY: LazyLock<bool> = LazyLock::new(|| {
        let any = !rustls_native_certs::load_native_certs().certs.is_empty();
        if !any {
            warn!("this system has no CA certificates, so no https:// can be trusted: install ca-certificates");
        }
        any
    });
    let trust = TrustStore::empty().with_native_roots(secure && *ANY);
    TlsContext::builder().with_trust_store(trust).build().expect("nothing of it is checked here")
}

/// Two clients, each with connections of its own: the second one is made when it is needed.
#[derive(Clone, Debug)]
struct Lazy {
    plain: SharedHttpClient,
    secure: Arc<LazyLock<SharedHttpClient>>,
}

impl HttpClient for Lazy {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let (client, settings, components) = (self.clone(), settings.clone(), components.clone());
        SharedHttpConnector::new(Connecting { client, settings, components })
    }
}

/// One of the two, once it is known what is asked for.
#[derive(Debug)]
struct Connecting {
    client: Lazy,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpConnector for Connecting {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = if is_secure(request.uri()) { &**self.client.secure } else { &self.client.plain };
        client.http_connector(&self.settings, &self.components).call(request)
    }
}

/// Whether TLS is needed for it.
pub(super) fn is_secure(uri: &str) -> bool {
    uri.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

async fn me(imds: &Imds) -> Result<Me, Failure> {
    let get = async |path: &str| match imds.get(format!("/latest/meta-data/{path}")).await {
        Ok(text) => Ok(text.as_ref().trim().to_owned()),
        Err(error) => Err(Failure::Absent(anyhow!(
            "the instance metadata service does not say {path}: {}. This is no EC2 instance, or the service is off, or \
             (in a container) its hop limit is 1; volumes that are attached already need none of it",
            DisplayErrorContext(&error)
        ))),
    };
    let instance = get("instance-id").await?;
    let zone = get("placement/availability-zone").await?;
    let region = get("placement/region").await?;
    Ok(Me { instance, zone, region })
}

/// The value of the instance's own tag.
pub(super) async fn instance_tag(imds: &Imds, key: &str) -> Result<String, Failure> {
    match imds.get(format!("/latest/meta-data/tags/instance/{key}")).await {
        Ok(value) => Ok(value.as_ref().to_owned()),
        Err(error) => Err(Failure::Failed(anyhow!(
            "this instance does not tell its tag {key}: {}. Give it the tag, and let it tell its tags \
             (`InstanceMetadataTags=enabled`)",
            DisplayErrorContext(&error)
        ))),
    }
}
