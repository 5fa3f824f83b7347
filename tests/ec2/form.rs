//! What goes in and out: a request as `application/x-www-form-urlencoded` fields, an answer as XML.
//! The shapes are those of the EC2 query protocol, <https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html>.

use std::fmt::{Display, Write as _};

/// The fields of a request, in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Form {
    pub fields: Vec<(String, String)>,
}

/// `Filter.1.Name=tag:Name&Filter.1.Value.1=pg`.
#[derive(Clone, Debug)]
pub struct Filter {
    pub name: String,
    pub values: Vec<String>,
}

impl Form {
    /// An EC2 request, as a test writes it.
    pub fn ec2(action: &str, fields: &[(&str, &str)]) -> Form {
        let first = [("Action", action), ("Version", "2016-11-15")];
        let fields = first.iter().chain(fields).map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Form { fields }
    }

    /// Reads a body. Thirty lines here, where the crate `form_urlencoded` would be one more line in Cargo.toml.
    pub fn decode(body: &str) -> Form {
        let pairs = body.split('&').filter(|pair| !pair.is_empty());
        let split = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key), unescape(value))
        };
        Form { fields: pairs.map(split).collect() }
    }

    pub fn encode(&self) -> String {
        let pairs = self.fields.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn action(&self) -> &str {
        self.get("Action").unwrap_or("")
    }

    /// `VolumeId.1=…&VolumeId.2=…`
    pub fn list(&self, name: &str) -> Vec<String> {
        (1..).map_while(|number| self.get(&format!("{name}.{number}"))).map(str::to_owned).collect()
    }

    pub fn filters(&self) -> Vec<Filter> {
        let filter = |number: u32| {
            let name = self.get(&format!("Filter.{number}.Name"))?;
            Some(Filter { name: name.into(), values: self.list(&format!("Filter.{number}.Value")) })
        };
        (1..).map_while(filter).collect()
    }

    /// A field that the action cannot do without.
    pub fn need(&self, name: &str) -> Result<&str, Refused> {
        let text = || format!("The request must contain the parameter {name}");
        self.get(name).ok_or_else(|| Refused::new("MissingParameter", text()))
    }
}

impl Filter {
    /// Filters know `*` and `?`:
    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>.
    pub fn holds(&self, facts: &[String]) -> bool {
        self.values.iter().any(|value| facts.iter().any(|fact| wild(value.as_bytes(), fact.as_bytes())))
    }
}

fn wild(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => wild(&pattern[1..], text) || (!text.is_empty() && wild(pattern, &text[1..])),
        (Some(b'?'), Some(_)) => wild(&pattern[1..], &text[1..]),
        (Some(b'\\'), Some(found)) => pattern.get(1) == Some(found) && wild(&pattern[2..], &text[1..]),
        (Some(wanted), Some(found)) => wanted == found && wild(&pattern[1..], &text[1..]),
        _ => false,
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
    }
    out
}

/// An error as EC2 says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Refused {
    /// What the client did wrong, which is most: status 400.
    pub fn new(code: &str, message: impl Into<String>) -> Refused {
        Refused::with(400, code, message)
    }

    pub fn with(status: u16, code: &str, message: impl Into<String>) -> Refused {
        Refused { status, code: code.into(), message: message.into() }
    }
}

/// What is sent back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The text of the first element of that name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).into_iter().next()
    }

    /// The texts of all elements of that name. Enough for a test of what this module wrote; not an XML parser.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.body.split(open.as_str()).skip(1).filter_map(|rest| rest.split(close.as_str()).next()).collect()
    }

    /// The error code, where it is an error.
    pub fn code(&self) -> &str {
        self.text("Code").unwrap_or("")
    }

    pub fn message(&self) -> &str {
        self.text("Message").unwrap_or("")
    }
}

/// The inside of an answer, written element by element.
#[derive(Default)]
pub struct Xml(pub String);

impl Xml {
    pub fn text(&mut self, name: &str, value: impl Display) -> &mut Xml {
        let value = value.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        write!(self.0, "<{name}>{value}</{name}>").unwrap();
        self
    }

    pub fn within(&mut self, name: &str, inside: impl FnOnce(&mut Xml)) -> &mut Xml {
        write!(self.0, "<{name}>").unwrap();
        inside(self);
        write!(self.0, "</{name}>").unwrap();
        self
    }

    /// `<name><item>…</item>…</name>`, as EC2 writes each list.
    pub fn items<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, each: impl Fn(&mut Xml, T)) -> &mut Xml {
        self.within(name, |xml| {
            for item in items {
                xml.within("item", |xml| each(xml, item));
            }
        })
    }
}
