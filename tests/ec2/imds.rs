//! An instance's metadata service, version 2 only, on a port of its own.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::Cloud;
use super::clock::iso;
use super::state::State;
use super::wire::{Listener, Request, Send};

/// How one IMDS behaves; [`Options::default`] is a healthy one.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "switches, each on its own")]
pub struct Options {
    /// Accepts, and never answers.
    pub dead: bool,
    /// Waits before each answer.
    pub slow: Duration,
    /// The first so many requests get a 503.
    pub errors: u32,
    /// `InstanceMetadataTags=enabled`.
    pub tags: bool,
    /// No role: `iam/` is a 404.
    pub no_role: bool,
    /// `autoscaling/target-lifecycle-state`, where the instance is in a group.
    pub lifecycle: Option<String>,
    /// The longest a token lives, whatever was asked for.
    pub token_lives: Option<Duration>,
    /// On `[::1]`, as `[fd00:ec2::254]` is on Nitro.
    pub ipv6: bool,
}

/// One request to an IMDS.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub token: bool,
    pub status: u16,
}

pub struct Imds {
    listener: Listener,
    inner: Arc<Inner>,
}

struct Inner {
    cloud: Cloud,
    instance: String,
    options: Mutex<Options>,
    tokens: Mutex<BTreeMap<String, Instant>>,
    asked: Mutex<Vec<Asked>>,
}

impl Imds {
    pub fn start(cloud: &Cloud, instance: &str, options: Options) -> Imds {
        let address = if options.ipv6 { "[::1]:0" } else { "127.0.0.1:0" };
        let inner = Arc::new(Inner {
            cloud: cloud.clone(),
            instance: instance.into(),
            options: Mutex::new(options),
            tokens: Mutex::default(),
            asked: Mutex::default(),
        });
        let serving = Arc::clone(&inner);
        Imds { listener: Listener::start(address, move |request| serving.serve(request)), inner }
    }

    /// For `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.address)
    }

    /// An endpoint where nothing listens.
    pub fn nowhere() -> String {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", socket.local_addr().unwrap())
    }

    pub fn asked(&self) -> Vec<Asked> {
        locked(&self.inner.asked).clone()
    }

    /// How often somebody asked without a token, as version 1 did.
    pub fn v1_spoken(&self) -> usize {
        locked(&self.inner.asked).iter().filter(|asked| asked.method == "GET" && !asked.token).count()
    }

    pub fn change(&self, change: impl FnOnce(&mut Options)) {
        change(&mut locked(&self.inner.options));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn serve(&self, request: &Request) -> Send {
        let options = locked(&self.options).clone();
        thread::sleep(options.slow);
        let (status, headers, body) = if options.errors > 0 {
            locked(&self.options).errors -= 1;
            (503, Vec::new(), "Service Unavailable".into())
        } else if options.dead {
            (0, Vec::new(), String::new())
        } else {
            self.say(request, &options)
        };
        let token = request.header("x-aws-ec2-metadata-token").is_some();
        let (method, path) = (request.method.clone(), request.path.clone());
        locked(&self.asked).push(Asked { method, path, token, status });
        if status == 0 { Send::Hang } else { Send::Answer(status, headers, body) }
    }

    fn say(&self, request: &Request, options: &Options) -> (u16, Vec<(&'static str, String)>, String) {
        let plain = |status: u16, text: &str| (status, vec![("Content-Type", "text/plain".into())], text.to_owned());
        match (request.method.as_str(), request.path.as_str()) {
            // "PUT requests that contain an X-Forwarded-For header are rejected": a proxy's.
            ("PUT", "/latest/api/token") if request.header("x-forwarded-for").is_some() => plain(403, "Forbidden"),
            ("PUT", "/latest/api/token") => {
                let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|ttl| ttl.parse().ok());
                let Some(ttl) = ttl.filter(|ttl| (1..=21_600).contains(ttl)) else { return plain(400, "Bad Request") };
                let lives = Duration::from_secs(ttl).min(options.token_lives.unwrap_or(Duration::MAX));
                let token = format!("AQAEA{:016x}{:016x}==", random(), random());
                locked(&self.tokens).insert(token.clone(), Instant::now() + lives);
                self.cloud.with(|state| state.imds_tokens.push(token.clone()));
                (200, vec![("x-aws-ec2-metadata-token-ttl-seconds", ttl.to_string())], token)
            }
            ("GET", path) => {
                let token = request.header("x-aws-ec2-metadata-token").unwrap_or("");
                let valid = locked(&self.tokens).get(token).is_some_and(|end| Instant::now() < *end);
                if !valid {
                    return plain(401, "Unauthorized");
                }
                let text = path.strip_prefix("/latest/").and_then(|path| self.look(path, options));
                text.map_or_else(|| plain(404, "Not Found"), |text| plain(200, &text))
            }
            _ => plain(405, "Method Not Allowed"),
        }
    }

    /// A leaf, or the list of what is under a folder.
    fn look(&self, path: &str, options: &Options) -> Option<String> {
        // Also gives the instance its key, which locks the state: not under `with` below.
        let credentials = self.credentials(options);
        let leaves = self.cloud.with(|state| self.leaves(state, options, credentials));
        let path = path.trim_end_matches('/');
        if let Some(leaf) = leaves.get(path) {
            return Some(leaf.clone());
        }
        let under = leaves.keys().filter_map(|leaf| leaf.strip_prefix(path)?.strip_prefix('/'));
        let mut names: Vec<String> = under
            .map(|rest| rest.split_once('/').map_or_else(|| rest.to_owned(), |(first, _)| format!("{first}/")))
            .collect();
        names.dedup();
        (!names.is_empty()).then(|| names.join("\n"))
    }

    fn leaves(&self, state: &State, options: &Options, credentials: Option<String>) -> BTreeMap<String, String> {
        let instance = state.instance(&self.instance);
        let zone = instance.map_or("eu-central-1a", |instance| instance.zone.as_str());
        let region = zone.trim_end_matches(|last: char| last.is_ascii_lowercase());
        let mut leaves: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |path: &str, value: &str| drop(leaves.insert(format!("meta-data/{path}"), value.into()));
        set("instance-id", &self.instance);
        set("instance-type", "m5.large");
        set("ami-id", "ami-0123456789abcdef0");
        set("local-ipv4", "10.0.0.10");
        set("mac", "02:00:00:00:00:01");
        set("placement/availability-zone", zone);
        set("placement/region", region);
        set("services/domain", "amazonaws.com");
        set("services/partition", "aws");
        set("network/interfaces/macs/02:00:00:00:00:01/device-number", "0");
        set("network/interfaces/macs/02:00:00:00:00:01/local-ipv4s", "10.0.0.10");
        for interface in state.held_by(&self.instance).1 {
            let link = interface.link.as_ref().expect("held");
            let folder = format!("network/interfaces/macs/{}", interface.mac);
            set(&format!("{folder}/device-number"), &link.index.to_string());
            set(&format!("{folder}/interface-id"), &interface.id);
            set(&format!("{folder}/local-ipv4s"), &interface.ip);
            set(&format!("{folder}/subnet-id"), &interface.subnet);
        }
        if let Some(lifecycle) = &options.lifecycle {
            set("autoscaling/target-lifecycle-state", lifecycle);
        }
        if let (true, Some(instance)) = (options.tags, instance) {
            instance.tags.iter().for_each(|(key, value)| set(&format!("tags/instance/{key}"), value));
        }
        if let Some(credentials) = credentials {
            // Newer SDKs ask for the extended path first.
            set("iam/security-credentials/node", &credentials);
            set("iam/security-credentials-extended/node", &credentials);
        }
        let document = format!(
            "{{\"accountId\": \"111122223333\", \"architecture\": \"x86_64\", \"availabilityZone\": \"{zone}\", \
             \"imageId\": \"ami-0123456789abcdef0\", \"instanceId\": \"{}\", \"instanceType\": \"m5.large\", \
             \"privateIp\": \"10.0.0.10\", \"region\": \"{region}\", \"version\": \"2017-09-30\"}}",
            self.instance
        );
        leaves.insert("dynamic/instance-identity/document".into(), document);
        leaves
    }

    /// Good for six hours from now, by the wall clock: the SDK compares with its own.
    fn credentials(&self, options: &Options) -> Option<String> {
        const SIX_HOURS: Duration = Duration::from_secs(21_600);
        let given = (!options.no_role).then(|| self.cloud.credentials(&self.instance))?;
        Some(format!(
            "{{\"Code\": \"Success\", \"Type\": \"AWS-HMAC\", \"LastUpdated\": \"{}\", \"AccessKeyId\": \"{}\", \
             \"SecretAccessKey\": \"{}\", \"Token\": \"{}\", \"Expiration\": \"{}\", \"AccountId\": \"111122223333\"}}",
            iso(SystemTime::now()),
            given.key_id,
            given.secret,
            given.token,
            iso(SystemTime::now() + SIX_HOURS)
        ))
    }
}

/// std's own source of randomness: a new hasher is seeded anew. Good enough for a token of a test's.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
