//! Servers on loopback that count what they are asked for.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An answer.
#[derive(Clone)]
pub(super) enum Reply {
    /// Status and body.
    Body(u16, Vec<u8>),
    /// Elsewhere.
    Redirect(String),
    /// So many bytes are announced, and these come. Then the connection is closed.
    Cut(usize, &'static str),
    /// So many bytes are announced, one comes, and then nothing until the client goes.
    Hang,
    /// The body comes after a while.
    Late(Duration, Vec<u8>),
}

impl Reply {
    pub(super) fn text(text: &str) -> Self {
        Self::Body(200, text.as_bytes().to_vec())
    }
}

type Handler = dyn Fn(&str) -> Reply + Send + Sync;

/// A server.
pub(super) struct Server {
    pub(super) address: String,
    asked: Arc<Mutex<Vec<String>>>,
    /// Connections that hung, and whose client went away.
    pub(super) left: Arc<Mutex<usize>>,
}

impl Server {
    /// Speaks HTTP; `handler` gets the path.
    pub(super) fn http(handler: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(handler, |stream| Some(Box::new(stream)))
    }

    /// Speaks HTTPS.
    pub(super) fn https(
        config: rustls::ServerConfig,
        handler: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let config = Arc::new(config);
        Self::start(handler, move |stream| {
            let connection = rustls::ServerConnection::new(config.clone()).ok()?;
            Some(Box::new(rustls::StreamOwned::new(connection, stream)))
        })
    }

    fn start(
        handler: impl Fn(&str) -> Reply + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (asked, left) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let server = Self { address, asked: asked.clone(), left: Arc::clone(&left) };
        let (handler, wrap): (Arc<Handler>, Arc<_>) = (Arc::new(handler), Arc::new(wrap));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (handler, wrap) = (handler.clone(), wrap.clone());
                let (asked, left) = (asked.clone(), left.clone());
                std::thread::spawn(move || {
                    if let Some(stream) = wrap(stream)
                        && serve(stream, &*handler, &asked) == Some(true)
                    {
                        *left.lock().expect("no panic") += 1;
                    }
                });
            }
        });
        server
    }

    /// How often it was asked so: `GET /path`.
    pub(super) fn count(&self, request: &str) -> usize {
        self.asked.lock().expect("no panic").iter().filter(|asked| *asked == request).count()
    }

    pub(super) fn uri(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Answers one request. True: the client left while it hung.
fn serve(stream: Box<dyn Stream>, handler: &Handler, asked: &Mutex<Vec<String>>) -> Option<bool> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut header = String::new();
    while stream.read_line(&mut header).ok()? > 2 {
        header.clear();
    }
    asked.lock().expect("no panic").push(format!("{method} {target}"));
    let head = |status: u16, more: &str| {
        format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{more}\r\n").into_bytes()
    };
    let is_head = method == "HEAD";
    let out = stream.get_mut();
    match handler(&target) {
        Reply::Body(status, body) => {
            out.write_all(&head(status, &format!("content-length: {}\r\n", body.len()))).ok()?;
            out.write_all(if is_head { b"" } else { &body }).ok()?;
        }
        Reply::Late(time, body) => {
            out.write_all(&head(200, &format!("content-length: {}\r\n", body.len()))).ok()?;
            if !is_head {
                std::thread::sleep(time);
                out.write_all(&body).ok()?;
            }
        }
        Reply::Redirect(to) => out.write_all(&head(302, &format!("location: {to}\r\n"))).ok()?,
        Reply::Cut(length, body) => {
            out.write_all(&head(200, &format!("content-length: {length}\r\n"))).ok()?;
            out.write_all(body.as_bytes()).ok()?;
        }
        Reply::Hang => {
            out.write_all(&head(200, "content-length: 1000000\r\n")).ok()?;
            if !is_head {
                out.write_all(b"x").ok()?;
                out.flush().ok()?;
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
                return Some(true);
            }
        }
    }
    stream.get_mut().flush().ok()?;
    Some(false)
}

/// An FTP server with one file, `dir/file`, for the user `me` with the password `secret`.
pub(super) fn ftp(content: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || ftp_session(&stream, content));
        }
    });
    address
}

fn ftp_session(stream: &TcpStream, content: &[u8]) -> Option<()> {
    let mut control = stream;
    let mut say = |text: &str| control.write_all(format!("{text}\r\n").as_bytes()).ok();
    say("220 ready")?;
    let mut data = None;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        match line.as_str() {
            "USER me" => say("331 password")?,
            "PASS secret" => say("230 in")?,
            "TYPE I" => say("200 binary")?,
            "SIZE dir/file" => say(&format!("213 {}", content.len()))?,
            "EPSV" => {
                let listener = TcpListener::bind("127.0.0.1:0").ok()?;
                say(&format!("229 (|||{}|)", listener.local_addr().ok()?.port()))?;
                data = Some(listener);
            }
            "RETR dir/file" => {
                say("150 here it comes")?;
                let (mut connection, _) = data.take()?.accept().ok()?;
                connection.write_all(content).ok()?;
                drop(connection);
                say("226 done")?;
            }
            "QUIT" => {
                say("221 bye")?;
                return Some(());
            }
            "PASS wrong" => say("530 no")?,
            _ => say("550 no")?,
        }
    }
    Some(())
}

/// A proxy that connects its clients with whatever server they name; its address, and the heads of requests.
pub(super) fn tunnel() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let log = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let log = log.clone();
            std::thread::spawn(move || tunnel_one(stream, &log));
        }
    });
    (address, asked)
}

fn tunnel_one(mut client: TcpStream, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut server = TcpStream::connect(head.split(' ').nth(1)?).ok()?;
    log.lock().expect("no panic").push(head);
    client.write_all(b"HTTP/1.1 200 connected\r\n\r\n").ok()?;
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    std::io::copy(&mut server, &mut client).ok()?;
    Some(())
}
