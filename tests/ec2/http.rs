//! The API's endpoint: EC2, CloudFormation and Auto Scaling on one port of 127.0.0.1, told apart by `Version` and by
//! the scope of the signature. A request without a plausible signature is refused; it is not verified.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::form::{Answer, Form, Refused};
use super::wire::{Listener, Request, Send};
use super::{Cloud, Wire};

/// A [`Cloud`] that can be reached, until it is dropped.
pub struct Server {
    listener: Listener,
    gone: Arc<AtomicBool>,
}

impl Server {
    /// `factor` is how fast its clock runs: at 60, a minute of `attaching` takes a second.
    pub fn start(cloud: &Cloud, factor: f64) -> Server {
        let (started, before) = (Instant::now(), cloud.with(|state| state.now));
        let now = move || before + started.elapsed().mul_f64(factor);
        let served = cloud.clone();
        let listener = Listener::start("127.0.0.1:0", move |request| answer(&served, now(), request));
        let gone = Arc::new(AtomicBool::new(false));
        // Slow states end also while nobody asks: the kernel has its disk without a describe.
        let (cloud, over) = (cloud.clone(), Arc::clone(&gone));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                cloud.settle(now());
                thread::sleep(Duration::from_millis(5));
            }
        });
        Server { listener, gone }
    }

    /// For `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

fn answer(cloud: &Cloud, now: Duration, request: &Request) -> Send {
    let xml = |status: u16, body: String| {
        let kind = if body.starts_with("<html") { "text/html" } else { "text/xml;charset=UTF-8" };
        let mut headers = vec![("Content-Type", kind.to_owned())];
        // The SDK takes the request's id from the header alone.
        let answer = Answer { status, body };
        let id = ["requestId", "RequestID", "RequestId"].iter().find_map(|name| answer.text(name));
        headers.extend(id.map(|id| ("x-amzn-requestid", id.to_owned())));
        Send::Answer(status, headers, answer.body)
    };
    if request.method != "POST" || request.path != "/" {
        return xml(404, "<html><body>404</body></html>".into());
    }
    let form = Form::decode(&request.body);
    let caller = match signed(cloud, request, &form) {
        Ok(caller) => caller,
        Err(refused) => {
            let answer = cloud.refuse(now, None, &form, refused);
            return xml(answer.status, answer.body);
        }
    };
    let reply = cloud.reply(now, caller.as_deref(), &form);
    thread::sleep(reply.wait);
    match reply.wire {
        Wire::Whole => xml(reply.answer.status, reply.answer.body),
        Wire::Cut => Send::Half(reply.answer.status, reply.answer.body),
        Wire::Closed => Send::Close,
        Wire::Silent => Send::Hang,
    }
}

/// The instance whose credentials signed it; None for keys that no instance was given.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>
fn signed(cloud: &Cloud, request: &Request, form: &Form) -> Result<Option<String>, Refused> {
    // The code and text: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
    let refuse = |why: &str| {
        let text = format!("AWS was not able to validate the provided access credentials ({why})");
        Err(Refused::with(401, "AuthFailure", text))
    };
    let Some(fields) = request.header("authorization").and_then(|text| text.strip_prefix("AWS4-HMAC-SHA256 ")) else {
        return refuse("no signature");
    };
    let field = |name: &str| {
        fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
    };
    let scope: Vec<&str> = field("Credential").split('/').collect();
    let [key, day, region, service, "aws4_request"] = scope[..] else { return refuse("scope") };
    let wanted = match form.get("Version") {
        Some("2010-05-15") => "cloudformation",
        Some("2011-01-01") => "autoscaling",
        _ => "ec2",
    };
    let date = request.header("x-amz-date").unwrap_or("");
    let signature = field("Signature");
    let headers: Vec<&str> = field("SignedHeaders").split(';').collect();
    if service != wanted || region.is_empty() || key.is_empty() {
        return refuse("service, region or key");
    }
    if day.len() != 8 || !date.starts_with(day) || !date.ends_with('Z') {
        return refuse("date");
    }
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return refuse("signature");
    }
    if !headers.contains(&"host") || !headers.contains(&"x-amz-date") {
        return refuse("signed headers");
    }
    let known = cloud.with(|state| state.keys.get(key).cloned());
    let token = request.header("x-amz-security-token");
    match known {
        Some(known) if token != Some(&known.token) => refuse("session token"),
        Some(_) if !headers.contains(&"x-amz-security-token") => refuse("session token not signed"),
        Some(known) => Ok(Some(known.instance)),
        None => Ok(None),
    }
}
