//! The tests' own EC2 over HTTP, as raw bytes: signatures, faults of the socket, and the metadata service.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod ec2;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use ec2::http::Server;
use ec2::imds::{Imds, Options};
use ec2::{Cloud, Fault, Form, When};

const A: &str = "eu-central-1a";
const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds: 60";

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cloud() -> Cloud {
    let cloud = Cloud::new();
    cloud.instance("i-0a", A);
    cloud.volume("vol-1", A, 10);
    cloud
}

/// Sends as it is, and reads until the server closes.
fn raw(url: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a server that was sent `text` says nothing, and keeps the connection.
fn silent(url: &str, text: &str) -> bool {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// A request as the SDK signs it, but for the signature's truth.
fn sign(key: &str, token: &str, service: &str, body: &str) -> String {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={key}/20260101/eu-central-1/{service}/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature={}",
        "0a".repeat(32)
    );
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}", body.len());
    let token = format!("x-amz-date: 20260101T000000Z\r\nx-amz-security-token: {token}");
    format!("{head}\r\nAuthorization: {authorization}\r\n{token}\r\n\r\n{body}")
}

fn signed(url: &str, key: &str, token: &str, service: &str, body: &str) -> String {
    raw(url, &sign(key, token, service, body))
}

#[test]
fn over_http_a_request_is_signed_and_its_caller_known() {
    let cloud = cloud();
    let server = Server::start(&cloud, 60.0);
    let body = Form::ec2("DescribeVolumes", &[("VolumeId.1", "vol-1")]).encode();
    let unsigned = raw(
        &server.url(),
        &format!("POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
    );
    assert!(unsigned.starts_with("HTTP/1.1 401 ") && unsigned.contains("<Code>AuthFailure</Code>"), "{unsigned}");
    let own = cloud.credentials("i-0a");
    let wrong = signed(&server.url(), &own.key_id, "another", "ec2", &body);
    assert!(wrong.starts_with("HTTP/1.1 401 "), "{wrong}");
    let other = signed(&server.url(), &own.key_id, &own.token, "s3", &body);
    assert!(other.starts_with("HTTP/1.1 401 "), "{other}");
    let right = signed(&server.url(), &own.key_id, &own.token, "ec2", &body);
    assert!(right.starts_with("HTTP/1.1 200 ") && right.contains("<volumeId>vol-1</volumeId>"), "{right}");
    let last = cloud.calls().pop().unwrap();
    assert_eq!((last.caller.as_deref(), last.param("VolumeId.1")), (Some("i-0a"), Some("vol-1")));
    let signal =
        "Action=SignalResource&Version=2010-05-15&StackName=prod&LogicalResourceId=Node&UniqueId=i-0a&Status=SUCCESS";
    let answer = signed(&server.url(), &own.key_id, &own.token, "cloudformation", signal);
    assert!(answer.contains("<SignalResourceResponse xmlns="), "{answer}");
    let lifecycle = "Action=CompleteLifecycleAction&Version=2011-01-01&LifecycleHookName=h&AutoScalingGroupName=g\
                     &LifecycleActionResult=CONTINUE&InstanceId=i-0a";
    let answer = signed(&server.url(), &own.key_id, &own.token, "autoscaling", lifecycle);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(cloud.calls_of("SignalResource")[0].param("Status"), Some("SUCCESS"));
    assert_eq!(cloud.count("CompleteLifecycleAction"), 1);
}

#[test]
fn over_http_time_passes_by_itself_and_faults_are_of_the_socket() {
    let cloud = cloud();
    cloud.attach_takes(at(60));
    let (tell, told) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    cloud.on_attach(move |volume, _, device| tell.lock().unwrap().send(format!("{volume} {device}")).unwrap());
    let server = Server::start(&cloud, 600.0);
    let send = |action: &str, fields: &[(&str, &str)]| {
        signed(&server.url(), "AKIATEST", "", "ec2", &Form::ec2(action, fields).encode())
    };
    cloud.fault("AttachVolume", When::Nth(1), Fault::Lost);
    let fields = [("VolumeId", "vol-1"), ("InstanceId", "i-0a"), ("Device", "/dev/sdf")];
    assert_eq!(send("AttachVolume", &fields), "");
    assert_eq!(told.recv_timeout(at(5)).unwrap(), "vol-1 /dev/sdf");
    cloud.fault("DescribeVolumes", When::Nth(1), Fault::Cut);
    cloud.fault("DescribeVolumes", When::Nth(2), Fault::Garbage);
    cloud.fault("DescribeVolumes", When::Nth(3), Fault::Html);
    cloud.fault("DescribeVolumes", When::Nth(4), Fault::Dead);
    let cut = send("DescribeVolumes", &[]);
    assert!(cut.contains("<DescribeVolumesResponse") && !cut.contains("</DescribeVolumesResponse>"), "{cut}");
    assert!(send("DescribeVolumes", &[]).contains("</nope"));
    assert!(send("DescribeVolumes", &[]).contains("Content-Type: text/html"));
    assert!(silent(&server.url(), &sign("AKIATEST", "", "ec2", &Form::ec2("DescribeVolumes", &[]).encode())));
    assert!(send("DescribeVolumes", &[]).contains("<status>attached</status>"));
}

fn get(imds: &Imds, path: &str, token: &str) -> String {
    raw(&imds.url(), &format!("GET /latest/{path} HTTP/1.1\r\nConnection: close\r\n{token}\r\n\r\n"))
}

fn put(imds: &Imds, headers: &str) -> String {
    raw(&imds.url(), &format!("PUT /latest/api/token HTTP/1.1\r\nConnection: close\r\n{headers}\r\n\r\n"))
}

#[test]
fn imds_speaks_version_2_only() {
    let cloud = cloud();
    cloud.instance("i-0a", A).tag("Name", "core 1");
    let imds = Imds::start(&cloud, "i-0a", Options::default());
    assert!(get(&imds, "meta-data/instance-id", "X-Y: z").starts_with("HTTP/1.1 401 "));
    assert_eq!(imds.v1_spoken(), 1);
    assert!(put(&imds, "X-Y: z").starts_with("HTTP/1.1 400 "));
    assert!(put(&imds, "X-aws-ec2-metadata-token-ttl-seconds: 21601").starts_with("HTTP/1.1 400 "));
    assert!(put(&imds, &format!("{TTL}\r\nX-Forwarded-For: 10.0.0.1")).starts_with("HTTP/1.1 403 "));
    let token = |answer: String| format!("x-aws-ec2-metadata-token: {}", answer.rsplit("\r\n").next().unwrap());
    let ours = token(put(&imds, TTL));
    let body = |path: &str| get(&imds, path, &ours).split("\r\n\r\n").nth(1).unwrap().to_owned();
    assert_eq!(body("meta-data/instance-id"), "i-0a");
    assert_eq!(body("meta-data/placement/availability-zone"), A);
    assert_eq!(body("meta-data/placement/region"), "eu-central-1");
    assert_eq!(body("meta-data/iam/security-credentials/"), "node");
    assert!(body("meta-data/iam/security-credentials/node").contains("\"Token\": \"session-of-i-0a"));
    assert!(body("dynamic/instance-identity/document").contains("\"instanceId\": \"i-0a\""));
    assert_eq!(body("meta-data/tags/instance/Name"), "Not Found");
    imds.change(|options| options.tags = true);
    assert_eq!(
        (body("meta-data/tags/instance"), body("meta-data/tags/instance/Name")),
        ("Name".into(), "core 1".into())
    );
    assert!(cloud.secrets().iter().any(|secret| ours.ends_with(secret)));
    // A token of another server, and one whose time is over.
    let other =
        Imds::start(&cloud, "i-0b", Options { token_lives: Some(Duration::from_millis(20)), ..Options::default() });
    assert!(get(&other, "meta-data/instance-id", &ours).starts_with("HTTP/1.1 401 "));
    let short = token(put(&other, TTL));
    thread::sleep(Duration::from_millis(30));
    assert!(get(&other, "meta-data/instance-id", &short).starts_with("HTTP/1.1 401 "));
    assert_eq!(other.v1_spoken(), 0);
}

#[test]
fn imds_fails_in_its_own_ways() {
    let cloud = cloud();
    let imds = Imds::start(&cloud, "i-0a", Options { errors: 1, ..Options::default() });
    assert!(put(&imds, TTL).starts_with("HTTP/1.1 503 "));
    assert!(put(&imds, TTL).starts_with("HTTP/1.1 200 "));
    imds.change(|options| options.slow = Duration::from_millis(100));
    let asked = Instant::now();
    put(&imds, TTL);
    assert!(asked.elapsed() >= Duration::from_millis(100));
    imds.change(|options| options.dead = true);
    let request = format!("PUT /latest/api/token HTTP/1.1\r\n{TTL}\r\n\r\n");
    assert!(silent(&imds.url(), &request));
    assert!(TcpStream::connect(Imds::nowhere().trim_start_matches("http://")).is_err());
}
