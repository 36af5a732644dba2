//! Connections to servers: all that a command line says of them, and what needs no protocol.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use client::{Client, Identity, Stream, Tls};
use codecs::{Address, Endpoint};
use protocol::frame;
use serde_json::Value;

/// How a server is connected to.
#[derive(Debug, clap::Args)]
pub(crate) struct Connect {
    /// How long the server may take for each step
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Connect with TLS, to a server whose certificate an authority in this PEM file signed
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_ca: Option<PathBuf>,
    /// The certificate to show to a server with --tls-client-ca (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_ca", help_heading = "TLS")]
    tls_cert: Option<PathBuf>,
    /// Its private key, not encrypted (PEM); looked for in the certificate's file unless given
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// Whom the server's certificate has to be for, unless it is for the host in the URL
    #[arg(long, value_name = "NAME", requires = "tls_ca", help_heading = "TLS")]
    tls_server_name: Option<String>,
}

/// The answer to `ruok`.
#[derive(Debug)]
pub(crate) struct ServerStatus {
    /// JSON, as the server wrote it.
    pub(crate) text: Vec<u8>,
    /// For each storage, what is told of it.
    pub(crate) storages: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Connect {
    /// A client of one storage, which keeps nothing and writes nothing. An answer to a call may take
    /// as long as it takes.
    pub(crate) fn client(&self, url: &Endpoint, storage: &str) -> Result<Client> {
        let options = client::Options {
            label: Some("zeoxide".to_owned()),
            cache_bytes: 0,
            connect_timeout: Some(self.timeout()),
            tls: self.tls(url)?,
            ..client::Options::default()
        };
        Client::connect(url, storage, true, options)
            .with_context(|| format!("{url}: cannot connect to storage '{storage}'"))
    }

    /// Asks as monitoring does, which needs no client and no storage's name. The server speaks
    /// first, and its first frame is a greeting.
    pub(crate) fn ask_status(&self, url: &Endpoint) -> Result<ServerStatus> {
        let text = self.ask(url).with_context(|| format!("{url} does not tell its status"))?;
        let storages = serde_json::from_slice(&text)
            .with_context(|| format!("{url} answers something that is no status"))?;
        Ok(ServerStatus { text, storages })
    }

    fn ask(&self, url: &Endpoint) -> Result<Vec<u8>> {
        let tls = self.tls(url)?;
        let limit = Some(self.timeout());
        let mut stream = Stream::connect(&url.address, limit).context("cannot connect")?;
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        if let Some(tls) = &tls {
            let secured = stream.secured(tls).map_err(timed_out);
            stream = secured.context("TLS does not begin")?;
        }
        let greeted = read_frame(&mut stream, GREETING_BYTES_MAX);
        greeted.context(match tls {
            Some(_) => "no greeting came",
            None => "no greeting came (one with TLS wants --tls-ca)",
        })?;
        let mut question = Vec::new();
        let fits = frame::write(&mut question, |body| body.extend_from_slice(b"ruok"));
        debug_assert!(fits, "four bytes are not too long");
        stream.write_all(&question).context("cannot ask")?;
        read_frame(&mut stream, ANSWER_BYTES_MAX).context("no answer came")
    }

    fn tls(&self, url: &Endpoint) -> Result<Option<Tls>> {
        let Some(authorities) = &self.tls_ca else { return Ok(None) };
        let Address::Tcp { host, .. } = &url.address else {
            bail!("{url}: unix sockets have no TLS, leave --tls-ca out");
        };
        let identity = self.tls_cert.as_ref().map(|certificate| Identity {
            certificate,
            key: self.tls_key.as_ref().unwrap_or(certificate),
        });
        let name = self.tls_server_name.as_ref().unwrap_or(host);
        let tls = Tls::from_files(authorities, identity, name);
        tls.context("cannot use TLS").map(Some)
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

fn read_frame(stream: &mut Stream, limit: u32) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(timed_out)?;
    let length = u32::from_be_bytes(length);
    if length > limit {
        bail!("a message of {length} bytes is announced; is this a listener of zeoxide or ZEO?");
    }
    let mut body = Vec::new();
    let read = stream.take(length.into()).read_to_end(&mut body).map_err(timed_out)?;
    if u32::try_from(read) != Ok(length) {
        bail!("the connection was closed in the middle of a message");
    }
    Ok(body)
}

/// The system calls it "temporarily unavailable".
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "timed out"),
        _ => error,
    }
}

const GREETING_BYTES_MAX: u32 = 4096;
/// Some hundred bytes for each storage.
const ANSWER_BYTES_MAX: u32 = 16 << 20;
