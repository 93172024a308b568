//! A small blocking HTTP/1.1 client: requests on kept connections, and chunked RecordIO streams.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header names in lower case, with values.
    pub headers: Vec<(String, String)>,
    /// Body; empty for a stream.
    pub body: Vec<u8>,
}

impl Answer {
    /// Value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }
}

/// A connection that can carry several requests.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// As the socket's.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { reader: BufReader::new(stream), host: address.to_owned() })
    }

    /// Sends a request in one write and reads the whole answer.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not HTTP.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut whole = Vec::new();
        let mut answer = self.read(method, path, headers, body, |piece| whole.extend(piece))?;
        answer.body = whole;
        Ok(answer)
    }

    /// As [`Connection::request`]; the body is given to `take` in pieces.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not HTTP.
    pub fn read(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        mut take: impl FnMut(Vec<u8>),
    ) -> io::Result<Answer> {
        self.send(method, path, headers, body)?;
        let answer = self.head()?;
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                take(chunk);
            }
        } else if let Some(length) = answer.header("content-length").and_then(|l| l.parse().ok()) {
            let mut whole = vec![0; length];
            self.reader.read_exact(&mut whole)?;
            take(whole);
        }
        Ok(answer)
    }

    /// Sends a request whose answer is a stream of records; gives the head and, for status 200, the stream.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not HTTP.
    pub fn stream(
        mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<(Answer, Records)> {
        self.send("POST", path, headers, body)?;
        let mut answer = self.head()?;
        if answer.status != 200
            && let Some(length) = answer.header("content-length").and_then(|l| l.parse().ok())
        {
            answer.body = vec![0; length];
            self.reader.read_exact(&mut answer.body)?;
        }
        Ok((answer, Records { connection: self, buffer: Vec::new() }))
    }

    fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n",
            self.host,
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.reader.get_mut().write_all(&bytes)
    }

    fn head(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status =
            status_line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| {
                io::Error::other(format!("not an HTTP status line: {status_line:?}"))
            })?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Answer { status, headers, body: Vec::new() });
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line()?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16)
            .map_err(io::Error::other)?;
        let mut chunk = vec![0; size];
        self.reader.read_exact(&mut chunk)?;
        self.line()?;
        Ok((size > 0).then_some(chunk))
    }

    /// The socket, to shut it down from another thread.
    ///
    /// # Errors
    /// As the socket's.
    pub fn socket(&self) -> io::Result<TcpStream> {
        self.reader.get_ref().try_clone()
    }
}

/// The records of a chunked RecordIO stream.
#[derive(Debug)]
pub struct Records {
    connection: Connection,
    buffer: Vec<u8>,
}

impl Records {
    /// The next record; None at the end of the stream.
    ///
    /// # Errors
    /// When the connection breaks or the framing is wrong.
    pub fn next_record(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|b| *b == b'\n') {
                let length: usize = std::str::from_utf8(&self.buffer[..at])
                    .ok()
                    .and_then(|l| l.parse().ok())
                    .ok_or_else(|| {
                        io::Error::other(format!(
                            "bad record length {:?}",
                            String::from_utf8_lossy(&self.buffer[..at])
                        ))
                    })?;
                if self.buffer.len() > at + length {
                    let record = self.buffer[at + 1..=at + length].to_vec();
                    self.buffer.drain(..=at + length);
                    return Ok(Some(record));
                }
            }
            match self.connection.chunk()? {
                Some(chunk) => self.buffer.extend(chunk),
                None => return Ok(None),
            }
        }
    }

    /// The socket, to shut it down from another thread.
    ///
    /// # Errors
    /// As the socket's.
    pub fn socket(&self) -> io::Result<TcpStream> {
        self.connection.socket()
    }
}

/// One GET on a connection of its own.
///
/// # Panics
/// When the server can't be reached.
#[must_use]
#[track_caller]
pub fn get(address: &str, path: &str) -> Answer {
    Connection::open(address)
        .and_then(|mut c| c.request("GET", path, &[("Connection", "close")], &[]))
        .unwrap_or_else(|e| panic!("GET {address}{path}: {e}"))
}

/// One request without headers on a connection of its own.
///
/// # Panics
/// When the server can't be reached.
#[must_use]
#[track_caller]
pub fn send(address: &str, method: &str, path: &str, body: &str) -> Answer {
    Connection::open(address)
        .and_then(|mut c| c.request(method, path, &[], body.as_bytes()))
        .unwrap_or_else(|e| panic!("{method} {address}{path}: {e}"))
}

/// One POST of JSON on a connection of its own.
///
/// # Panics
/// When the server can't be reached.
#[must_use]
#[track_caller]
pub fn post_json(
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &serde_json::Value,
) -> Answer {
    let mut all = vec![("Content-Type", "application/json"), ("Accept", "application/json")];
    all.extend_from_slice(headers);
    Connection::open(address)
        .and_then(|mut c| c.request("POST", path, &all, body.to_string().as_bytes()))
        .unwrap_or_else(|e| panic!("POST {address}{path}: {e}"))
}
