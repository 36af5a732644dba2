//! How a client behaves, and what it tells.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Limits, Oid, Tid};

use crate::error::Disconnect;
use crate::tls::Tls;

/// How a client behaves.
#[derive(Clone)]
pub struct Options {
    /// A name for the server's log.
    pub label: Option<String>,
    /// Bytes of the cache, overhead included; 0 for none.
    pub cache_bytes: usize,
    /// For the connection and each step of the handshake; `None`: as long as it takes.
    pub connect_timeout: Option<Duration>,
    /// For the answer to a call, of which a vote may wait for other transactions, and for the
    /// client's other transaction to end; `None`: as long as it takes.
    pub call_timeout: Option<Duration>,
    /// For a socket that takes no more bytes: after it, the connection is given up.
    pub write_timeout: Option<Duration>,
    /// How connections to hosts are encrypted; `None`: not at all.
    pub tls: Option<Tls>,
    /// What is accepted from the server.
    pub limits: Limits,
    /// Is told what happens, in the order in which it happens, before the answers that follow. It
    /// runs on the thread that reads from the connection: while it does, the client waits, so
    /// that it must not use the client itself. If it panics, the connection is lost.
    pub listener: Option<Listener>,
}

/// See [`Options::listener`].
pub type Listener = Arc<dyn Fn(&Notice) + Send + Sync>;

/// What a client tells unasked.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Another client's transaction.
    Invalidated {
        /// The transaction.
        tid: Tid,
        /// The objects that it changed.
        oids: Arc<[Oid]>,
    },
    /// The client is connected again, and knows what has changed meanwhile.
    Missed {
        /// The newest transaction.
        newest: Tid,
        /// The objects that were changed.
        oids: Vec<Oid>,
    },
    /// The client is connected again, and everything may have changed meanwhile.
    MissedTooMuch {
        /// The newest transaction, or an older one.
        newest: Tid,
    },
    /// The storage has grown or shrunk.
    InfoChanged {
        /// Number of objects.
        length: u64,
        /// Bytes.
        size: u64,
    },
    /// The connection is lost.
    Disconnected(Arc<Disconnect>),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            label: None,
            cache_bytes: 20 << 20,
            connect_timeout: Some(Duration::from_secs(30)),
            call_timeout: None,
            write_timeout: Some(Duration::from_secs(60)),
            tls: None,
            limits: Limits::of_client(),
            listener: None,
        }
    }
}

impl Options {
    pub(crate) fn tell(&self, notice: &Notice) {
        if let Some(listener) = &self.listener {
            listener(notice);
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("label", &self.label)
            .field("cache_bytes", &self.cache_bytes)
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("tls", &self.tls.as_ref().map(|tls| &tls.server_name))
            .field("limits", &self.limits)
            .field("listener", &self.listener.is_some())
            .finish()
    }
}
