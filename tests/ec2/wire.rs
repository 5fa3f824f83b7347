//! HTTP/1.1 by hand, over std: enough for the SDK as a client. A library would not let go of the socket, and the faults
//! are of the socket: closed before an answer, cut in its middle, silent.

use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What to do with one request.
pub enum Send {
    /// Status, headers, body; the connection stays.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// As before, but only half of the body, and closed.
    Half(u16, String),
    Close,
    /// Nothing more, until the client or the server goes.
    Hang,
}

/// A listener with a thread for each connection, until it is dropped.
pub struct Listener {
    pub address: SocketAddr,
    gone: Arc<AtomicBool>,
}

impl Listener {
    pub fn start(address: &str, serve: impl Fn(&Request) -> Send + std::marker::Send + Sync + 'static) -> Listener {
        let socket = TcpListener::bind(address).unwrap();
        let listener = Listener { address: socket.local_addr().unwrap(), gone: Arc::default() };
        let (gone, serve) = (Arc::clone(&listener.gone), Arc::new(serve));
        thread::spawn(move || {
            for stream in socket.incoming() {
                if gone.load(Ordering::Relaxed) {
                    break;
                }
                let (gone, serve) = (Arc::clone(&gone), Arc::clone(&serve));
                // A connection that breaks is the client's affair: the test looks at what the client made of it.
                thread::spawn(move || stream.and_then(|stream| connection(&stream, &gone, &*serve)).ok());
            }
        });
        listener
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        // Wakes `incoming`, so that the port is free when the test ends.
        TcpStream::connect(self.address).ok();
    }
}

fn connection(stream: &TcpStream, gone: &AtomicBool, serve: &dyn Fn(&Request) -> Send) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader, gone)? {
        match serve(&request) {
            Send::Answer(status, headers, body) => {
                write(stream, status, &headers, body.len(), body.as_bytes())?;
                if request.header("connection").is_some_and(|text| text.eq_ignore_ascii_case("close")) {
                    return Ok(());
                }
            }
            Send::Half(status, body) => {
                write(stream, status, &[], body.len(), &body.as_bytes()[..body.len() / 2])?;
                return Ok(());
            }
            Send::Close => return Ok(()),
            Send::Hang => {
                // What the client still sends is read and thrown away; its end ends this.
                while !gone.load(Ordering::Relaxed) {
                    match reader.fill_buf() {
                        Ok([]) => return Ok(()),
                        Ok(bytes) => {
                            let length = bytes.len();
                            reader.consume(length);
                        }
                        Err(error) if waits(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

fn waits(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// None at the end of the connection.
fn read(reader: &mut BufReader<&TcpStream>, gone: &AtomicBool) -> Result<Option<Request>> {
    let Some(first) = line(reader, gone)? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    while let Some(text) = line(reader, gone)?.filter(|text| !text.is_empty()) {
        let (name, value) = text.split_once(':').unwrap_or((&text, ""));
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let mut body = vec![0; length.parse().unwrap_or(0)];
    let mut filled = 0;
    while filled < body.len() && !gone.load(Ordering::Relaxed) {
        match reader.read(&mut body[filled..]) {
            Ok(0) => return Ok(None),
            Ok(more) => filled += more,
            Err(error) if waits(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() }))
}

/// A line without its end. A line that comes in two parts keeps the first over a timeout.
fn line(reader: &mut BufReader<&TcpStream>, gone: &AtomicBool) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    while !gone.load(Ordering::Relaxed) {
        match reader.read_until(b'\n', &mut bytes) {
            Ok(0) => return Ok(None),
            Ok(_) if bytes.ends_with(b"\n") => {
                return Ok(Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()));
            }
            Ok(_) => {}
            Err(error) if waits(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn write(mut stream: &TcpStream, status: u16, headers: &[(&str, String)], length: usize, body: &[u8]) -> Result<()> {
    let mut head = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    stream.flush()
}
