//! What monitoring asks over HTTP: `/metrics`, in the text format of Prometheus, and `/healthz`.
//!
//! Threads of their own answer; requests of clients never wait for them. What a metric means is told
//! in `docs/metrics.md`.

mod families;
mod http;
mod process;
mod text;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use codecs::Endpoint;

use crate::replication::Reporter;
use crate::shared::{Phase, Server};
use families::{ServerView, StorageView};
use http::Response;
use text::Page;

/// The socket at which monitoring asks.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// What is told of a server.
struct Exporter {
    server: Arc<Server>,
    name: &'static str,
    listeners: String,
    replication: Reporter,
    started: Duration,
}

/// Opens the socket; `place` is `HOST:PORT`.
pub(crate) fn bind(place: &str) -> anyhow::Result<Bound> {
    let context = || format!("cannot tell metrics at {place}");
    let listener = TcpListener::bind(place).with_context(context)?;
    let address = listener.local_addr().with_context(context)?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// With the port that the system chose, if it was asked to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// Answers from now on until the process ends. `name` is the binary's.
    pub(crate) fn serve(
        self,
        server: &Arc<Server>,
        name: &'static str,
        urls: &[Endpoint],
        replication: Reporter,
    ) -> anyhow::Result<()> {
        let scheme = |url: &Endpoint| {
            let url = url.to_string();
            url.split_once("://").map_or_else(|| url.clone(), |(scheme, _)| scheme.to_owned())
        };
        let listeners: Vec<_> = urls.iter().map(scheme).collect();
        let exporter = Exporter {
            server: Arc::clone(server),
            name,
            listeners: listeners.join(","),
            replication,
            started: now(),
        };
        http::serve(self.listener, move |path| exporter.answer(path))
            .context("cannot start the threads that tell metrics")
    }
}

impl Exporter {
    fn answer(&self, path: &str) -> Option<Response> {
        match path {
            "/metrics" => Some(Response { status: http::OK, kind: text::KIND, body: self.page() }),
            "/healthz" => Some(self.health()),
            _ => None,
        }
    }

    /// Whether clients find what they came for.
    fn health(&self) -> Response {
        let mut reasons = String::new();
        if self.server.phase() != Phase::Serving {
            reasons.push_str("the server stops\n");
        }
        for (name, hosted) in &self.server.host.storages {
            if let Some(why) = hosted.storage.measures().refusal {
                reasons.push_str(&format!("storage '{name}' refuses writes: {why}\n"));
            }
        }
        if reasons.is_empty() {
            Response { status: http::OK, kind: http::PLAIN, body: "ok\n".to_owned() }
        } else {
            Response { status: "503 Service Unavailable", kind: http::PLAIN, body: reasons }
        }
    }

    fn page(&self) -> String {
        let host = &self.server.host;
        let storages = host.storages.iter();
        let storages: Vec<_> =
            storages.map(|(name, hosted)| StorageView::new(host, name, hosted, now())).collect();
        let server = ServerView {
            crowd: self.server.crowd(),
            started: self.started,
            resident_bytes: process::resident_bytes(),
            open_descriptors: process::open_descriptors(),
        };
        let mut page = Page::default();
        page.family("zeoxide_build_info", "gauge", "What runs; always 1.");
        let version = env!("CARGO_PKG_VERSION");
        let labels = [("version", version), ("server", self.name), ("listeners", &self.listeners)];
        page.sample("zeoxide_build_info", &labels, 1);
        families::of_server(&server, &mut page);
        families::of_storages(&storages, &mut page);
        families::of_replication(&self.replication.reports(), &mut page);
        page.finish()
    }
}

/// Since 1970; a clock before that counts as that.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
