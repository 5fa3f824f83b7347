//! A node that boots, with the real client of the SDK, in virtual time: where all tasks wait, the clock jumps to the
//! next that is due. What it sends goes to [`Cloud`] without a socket, and comes back as the cloud's script says.

use std::fmt;
use std::future::pending;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryPartition;
use aws_sdk_ec2::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::{Full, Limited};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};
use volinit::config::{Takeover, VolumeId};
use volinit::ec2::claim::{self, Claimed, Missed};
use volinit::ec2::wait::Patience;
use volinit::ec2::{Api, Ec2, Me, connect};
use volinit::error::Failure;

use crate::ec2::{Cloud, Event, Form, Wire};

pub const A: &str = "eu-central-1a";
pub const B: &str = "eu-central-1b";

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Runs a test to its end, without waiting for anything.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// A cloud, and the clock that it and all of its nodes go by.
#[derive(Clone)]
pub struct World {
    pub cloud: Cloud,
    began: Instant,
    events: Arc<Mutex<Vec<Event>>>,
}

impl World {
    pub fn new() -> World {
        let (cloud, events) = (Cloud::new(), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&events);
        cloud.on_event(move |event| heard.lock().unwrap().push(event.clone()));
        World { cloud, began: Instant::now(), events }
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whose volume or interface it is by now.
    pub fn owner(&self, id: &str) -> Option<String> {
        self.cloud.settle(self.now());
        self.cloud.owner(id)
    }

    /// What guests have noticed so far.
    pub fn events(&self) -> Vec<Event> {
        self.cloud.settle(self.now());
        self.events.lock().unwrap().clone()
    }

    /// The calls so far, in their order: `AttachVolume`, `AttachVolume VolumeInUse`.
    pub fn said(&self) -> Vec<String> {
        let calls = self.cloud.calls();
        calls.iter().map(|call| format!("{} {}", call.action, call.code).trim().to_owned()).collect()
    }

    /// An instance that boots, at the end of a line without delay.
    pub fn node(&self, instance: &str) -> Ec2 {
        self.far_node(instance, Duration::ZERO..Duration::ZERO)
    }

    /// One whose requests and answers take some time out of `delay`, each.
    pub fn far_node(&self, instance: &str, delay: Range<Duration>) -> Ec2 {
        let zone = self.cloud.see_instance(instance).unwrap_or_else(|| panic!("no instance {instance}")).zone;
        let me = Me { instance: instance.into(), zone, region: "eu-central-1".into() };
        Ec2::new(Api(self.client(instance, delay)), me)
    }

    fn client(&self, instance: &str, delay: Range<Duration>) -> Client {
        // The SDK keeps what it learns of throttling by partition, in the process: each node is a machine of its own.
        static NODES: AtomicUsize = AtomicUsize::new(0);
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let keys = self.cloud.credentials(instance);
        let random = Mutex::new(fastrand::Rng::with_seed(number as u64));
        let line = Line(Arc::new(Ends { world: self.clone(), instance: instance.into(), delay, random }));
        let connector = SharedHttpConnector::new(line);
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new(keys.key_id, keys.secret, Some(keys.token), None, "test"))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .sleep_impl(TokioSleep::new())
            .time_source(Clock(self.began))
            .retry_partition(RetryPartition::new(format!("node {number}")))
            .retry_config(connect::retries())
            .timeout_config(connect::timeouts());
        Client::from_conf(config.build())
    }
}

/// The SDK's clock: signatures and its retries go by it.
#[derive(Debug)]
struct Clock(Instant);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + secs(1_767_225_600) + self.0.elapsed()
    }
}

/// What is between a node and the cloud.
#[derive(Clone)]
struct Line(Arc<Ends>);

struct Ends {
    world: World,
    instance: String,
    delay: Range<Duration>,
    random: Mutex<fastrand::Rng>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the line of {}", self.0.instance)
    }
}

impl Ends {
    async fn delay(&self) {
        let Range { start, end } = self.delay;
        if end > start {
            let part = self.random.lock().unwrap().f64();
            sleep(start.mul_f64(1.0 - part) + end.mul_f64(part)).await;
        }
    }

    async fn carry(&self, form: Form) -> Result<HttpResponse, ConnectorError> {
        self.delay().await;
        let reply = self.world.cloud.reply(self.world.now(), Some(&self.instance), &form);
        sleep(reply.wait).await;
        self.delay().await;
        let body = match reply.wire {
            Wire::Whole => SdkBody::from(reply.answer.body),
            // All of it is there, and half of it may be read.
            Wire::Cut => {
                let half = reply.answer.body.len() / 2;
                SdkBody::from_body_1_x(Limited::new(Full::from(reply.answer.body), half))
            }
            Wire::Closed => return Err(ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionReset).into())),
            Wire::Silent => return pending().await,
        };
        Ok(HttpResponse::new(reply.answer.status.try_into().unwrap(), body))
    }
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let signed = request.headers().get("authorization").is_some_and(|text| text.starts_with("AWS4-HMAC-SHA256 "));
        assert!(signed, "a request that nobody signed");
        let form = Form::decode(std::str::from_utf8(request.body().bytes().unwrap()).unwrap());
        let ends = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move { ends.carry(form).await })
    }
}

pub fn volume_id(id: &str) -> VolumeId {
    VolumeId::parse(id).unwrap_or_else(|| panic!("{id} is no volume id"))
}

/// Claims a volume by its id, as `up` does.
pub async fn claim(node: &Ec2, id: &str, policy: Takeover, timeout: Duration) -> Result<Claimed, Failure> {
    claim::hold(node, &volume_id(id), policy, &mut Patience::new(timeout)).await.map_err(Missed::into)
}

/// The error's class, and its words.
#[track_caller]
pub fn failed<T: fmt::Debug>(result: Result<T, impl Into<Failure>>) -> (u8, String) {
    let failure: Failure = result.expect_err("it should have failed").into();
    (failure.exit_code(), failure.to_string())
}
