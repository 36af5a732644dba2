//! As much of HTTP as monitoring needs: GET and HEAD, one request per connection, within limits.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const OK: &str = "200 OK";
pub(super) const PLAIN: &str = "text/plain; charset=utf-8";

/// An answer.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: &'static str,
    /// The content type.
    pub(super) kind: &'static str,
    pub(super) body: String,
}

/// Answers on threads of its own until the process ends. `respond` gets a path; `None`: not found.
pub(super) fn serve(
    listener: TcpListener,
    respond: impl Fn(&str) -> Option<Response> + Send + Sync + 'static,
) -> io::Result<()> {
    let shared = Arc::new((listener, respond));
    for _ in 0..THREADS {
        let shared = Arc::clone(&shared);
        thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            let (listener, respond) = &*shared;
            loop {
                match listener.accept() {
                    Ok((stream, _)) => {
                        // Whoever asks sees what went wrong, and nobody else has to know.
                        let _answered = answer(stream, respond);
                    }
                    // Perhaps there are no descriptors: they would be missing at once again.
                    Err(_) => thread::sleep(ACCEPT_PAUSE),
                }
            }
        })?;
    }
    Ok(())
}

fn answer(mut stream: TcpStream, respond: &impl Fn(&str) -> Option<Response>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let head = read_head(&mut stream, deadline)?;
    let plain = |status| Response { status, kind: PLAIN, body: format!("{status}\n") };
    let (response, has_body) = match parse(&head) {
        Some((method @ ("GET" | "HEAD"), path)) => {
            (respond(path).unwrap_or_else(|| plain("404 Not Found")), method == "GET")
        }
        Some(_) => (plain("405 Method Not Allowed"), true),
        None => (plain("400 Bad Request"), true),
    };
    let Response { status, kind, body } = response;
    let length = body.len();
    let mut message = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    if has_body {
        message.push_str(&body);
    }
    write_all(&mut stream, message.as_bytes(), deadline)
}

/// The request up to the empty line; what comes behind it is not read.
fn read_head(stream: &mut TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let count = stream.read(&mut buffer)?;
        if count == 0 || head.len() + count > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    Ok(head)
}

/// Method and path, without what is asked of the path.
fn parse(head: &[u8]) -> Option<(&str, &str)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if !version.starts_with("HTTP/1.") || words.next().is_some() {
        return None;
    }
    Some((method, target.split('?').next().unwrap_or_default()))
}

fn write_all(stream: &mut TcpStream, mut message: &[u8], deadline: Instant) -> io::Result<()> {
    while !message.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        let count = stream.write(message)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        message = message.get(count..).unwrap_or_default();
    }
    Ok(())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// One more than those who do not know what they do.
const THREADS: usize = 2;

/// A request and its answer take no longer, however slow the client.
const PATIENCE: Duration = Duration::from_secs(2);

const HEAD_BYTES_MAX: usize = 8 << 10;

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_far_as_they_matter() {
        assert_eq!(parse(b"GET /metrics?x=1 HTTP/1.1\r\n"), Some(("GET", "/metrics")));
        assert_eq!(parse(b"POST / HTTP/1.0\r\nHost: x\r\n"), Some(("POST", "/")));
        for wrong in ["", "GET", "GET /", "GET / HTTP/2", "GET  / HTTP/1.1", "GET / x HTTP/1.1"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse(b"GET /\xff HTTP/1.1\r\n"), None);
    }

    fn ask(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        // A server that has heard enough may be gone already.
        let _sent = stream.write_all(request);
        let mut answer = Vec::new();
        let _ended = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn what_is_asked_is_answered_and_nobody_holds_a_thread() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let there = |path: &str| {
            let body = "there".to_owned();
            (path == "/there").then_some(Response { status: OK, kind: PLAIN, body })
        };
        serve(listener, there).unwrap();
        // They say nothing, for as long as they may.
        let _silent: Vec<_> = (0..THREADS).map(|_| TcpStream::connect(address).unwrap()).collect();
        let answer = ask(address, b"GET /there HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthere"));
        let answer = ask(address, b"HEAD /there HTTP/1.1\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\n") && answer.contains("Content-Length: 5"), "{answer}");
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"POST /there HTTP/1.1\r\n\r\n", "405"),
            (b"hello\r\n\r\n", "400"),
        ] {
            let answer = ask(address, request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
        assert_eq!(ask(address, &[b'x'; 2 * HEAD_BYTES_MAX]), "");
    }
}
