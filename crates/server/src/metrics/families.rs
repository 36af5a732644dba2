//! All metrics, as tables: name, kind, help, and where the value is. `docs/metrics.md` tells the
//! same to people.

use std::time::Duration;

use protocol::{Status, Tid};
use session::{Host, Hosted};
use storage::replica::Role;
use storage::{Buckets, Extent, Measures};

use super::text::Page;
use crate::replication::Report;
use crate::shared::Crowd;

/// A server as of one moment.
pub(super) struct ServerView {
    pub(super) crowd: Crowd,
    /// Since 1970.
    pub(super) started: Duration,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_descriptors: Option<u64>,
}

/// A storage as of one moment.
pub(super) struct StorageView<'a> {
    name: &'a str,
    hosted: &'a Hosted,
    status: Status,
    extent: Extent,
    measures: Measures,
    /// Since 1970.
    now: Duration,
}

impl<'a> StorageView<'a> {
    pub(super) fn new(host: &Host, name: &'a str, hosted: &'a Hosted, now: Duration) -> Self {
        let measures = hosted.storage.measures();
        let status = host.status(hosted, measures.last_tid);
        Self { name, hosted, status, extent: hosted.storage.extent(), measures, now }
    }

    fn locks_held_seconds(&self) -> f64 {
        let held = self.status.lock_time.map(|since| self.now.as_secs_f64() - since);
        // The clock may have been set back.
        held.unwrap_or_default().max(0.0)
    }

    fn last_transaction_seconds(&self) -> f64 {
        unix_seconds(self.measures.last_tid)
    }
}

/// The time of a tid; 0 for none.
fn unix_seconds(tid: Tid) -> f64 {
    match tid {
        Tid::ZERO => 0.0,
        tid => tid.to_unix().as_secs_f64(),
    }
}

/// What a metric is of one storage, or of the server.
enum Value<'a> {
    Count(u64),
    Number(f64),
    /// Buckets, and what their bounds and their sum are divided by.
    Buckets(&'a Buckets, f64),
}

use Value::{Count, Number};

/// Name, kind, help, value.
type OfServer = (&'static str, &'static str, &'static str, fn(&ServerView) -> Option<Value<'_>>);
type OfStorage =
    (&'static str, &'static str, &'static str, for<'a> fn(&'a StorageView<'_>) -> Value<'a>);

const SERVER: &[OfServer] = &[
    ("process_start_time_seconds", "gauge", "When the server started, in Unix time.", |server| {
        Some(Number(server.started.as_secs_f64()))
    }),
    ("process_resident_memory_bytes", "gauge", "Memory in use.", |server| {
        server.resident_bytes.map(Count)
    }),
    ("process_open_fds", "gauge", "Open files and sockets.", |server| {
        server.open_descriptors.map(Count)
    }),
    ("zeoxide_connections", "gauge", "Connections now.", |server| {
        Some(Count(server.crowd.connected))
    }),
    ("zeoxide_connections_total", "counter", "Connections that were served.", |server| {
        Some(Count(server.crowd.admitted))
    }),
    (
        "zeoxide_connections_refused_total",
        "counter",
        "Connections closed at once: there were too many.",
        |server| Some(Count(server.crowd.refused)),
    ),
    ("zeoxide_received_bytes_total", "counter", "Bytes received from clients.", |server| {
        Some(Count(server.crowd.received_bytes))
    }),
    ("zeoxide_sent_bytes_total", "counter", "Bytes sent to clients.", |server| {
        Some(Count(server.crowd.sent_bytes))
    }),
    (
        "zeoxide_mailbox_bytes",
        "gauge",
        "Invalidations that wait for connections, of all connections.",
        |server| Some(Count(server.crowd.waiting_bytes)),
    ),
];

const COUNTS: &[OfStorage] = &[
    ("zeoxide_sessions", "gauge", "Connections that chose this storage.", |storage| {
        Count(storage.status.connections)
    }),
    ("zeoxide_commits_total", "counter", "Transactions committed.", |storage| {
        Count(storage.status.commits)
    }),
    ("zeoxide_aborts_total", "counter", "Transactions aborted.", |storage| {
        Count(storage.status.aborts)
    }),
    ("zeoxide_conflicts_total", "counter", "Votes that met a conflict.", |storage| {
        Count(storage.status.conflicts)
    }),
    (
        "zeoxide_timeouts_total",
        "counter",
        "Transactions aborted because they held their locks for too long.",
        |storage| Count(storage.measures.timeouts),
    ),
    ("zeoxide_pack_running", "gauge", "1 while a pack is under way.", |storage| {
        Count(storage.measures.pack.is_running.into())
    }),
    ("zeoxide_pack_parts", "gauge", "Parts of the log in the last pack.", |storage| {
        Count(storage.measures.pack.parts)
    }),
    ("zeoxide_pack_parts_done", "gauge", "Of these, how many it has been through.", |storage| {
        Count(storage.measures.pack.parts_done)
    }),
    ("zeoxide_pack_freed_bytes", "gauge", "Bytes that the last pack has given back.", |storage| {
        Count(storage.measures.pack.bytes_freed)
    }),
    (
        "zeoxide_packed_to_time_seconds",
        "gauge",
        "The time as of which the last finished pack was, in Unix time; 0 for none.",
        |storage| Number(unix_seconds(storage.measures.pack.finished_to)),
    ),
    (
        "zeoxide_pack_finished_time_seconds",
        "gauge",
        "When a pack last finished since the start, in Unix time; 0 for never.",
        |storage| Number(storage.measures.pack.finished_at.unwrap_or_default().as_secs_f64()),
    ),
    ("zeoxide_transactions", "gauge", "Transactions begun and not ended.", |storage| {
        Count(storage.status.active_transactions)
    }),
    ("zeoxide_votes_waiting", "gauge", "Votes that wait for locks.", |storage| {
        Count(storage.status.waiting)
    }),
    (
        "zeoxide_locks_held_seconds",
        "gauge",
        "For how long the longest holder has had its commit locks.",
        |storage| Number(storage.locks_held_seconds()),
    ),
    ("zeoxide_commit_queue", "gauge", "Transactions that wait to be committed.", |storage| {
        Count(storage.measures.commit_queue)
    }),
    ("zeoxide_pool_queue", "gauge", "Reads and other jobs that wait for a thread.", |storage| {
        Count(storage.measures.pool_queue)
    }),
    ("zeoxide_objects", "gauge", "Objects that exist or did.", |storage| {
        Count(storage.extent.objects)
    }),
    ("zeoxide_log_bytes", "gauge", "Bytes of the log.", |storage| Count(storage.extent.bytes)),
    ("zeoxide_index_bytes", "gauge", "Memory that the index takes, about.", |storage| {
        Count(storage.measures.index_bytes)
    }),
    ("zeoxide_cache_hits_total", "counter", "Reads answered from the record cache.", |storage| {
        Count(storage.measures.cache.hits)
    }),
    ("zeoxide_cache_misses_total", "counter", "Reads that the cache did not have.", |storage| {
        Count(storage.measures.cache.misses)
    }),
    ("zeoxide_cache_bytes", "gauge", "Memory that the record cache takes.", |storage| {
        Count(storage.measures.cache.bytes)
    }),
    ("zeoxide_last_tid", "gauge", "The newest tid, as a number.", |storage| {
        Count(storage.measures.last_tid.0)
    }),
    (
        "zeoxide_last_transaction_time_seconds",
        "gauge",
        "The time of the newest tid, in Unix time; 0 for an empty storage.",
        |storage| Number(storage.last_transaction_seconds()),
    ),
    (
        "zeoxide_primary",
        "gauge",
        "1, or 0 if clients cannot write since it is a secondary.",
        |storage| Count((storage.hosted.storage.role() == Role::Primary).into()),
    ),
    ("zeoxide_writable", "gauge", "1, or 0 if the storage refuses writes.", |storage| {
        Count(storage.measures.refusal.is_none().into())
    }),
];

const HISTOGRAMS: &[OfStorage] = &[
    (
        "zeoxide_lock_wait_seconds",
        "histogram",
        "From a vote's request to its commit locks.",
        |storage| Value::Buckets(&storage.measures.lock_wait, NANOS),
    ),
    ("zeoxide_finish_seconds", "histogram", "From a finish's request to its answer.", |storage| {
        Value::Buckets(&storage.measures.finish, NANOS)
    }),
    ("zeoxide_append_seconds", "histogram", "Writing a batch, with its sync.", |storage| {
        Value::Buckets(&storage.measures.append, NANOS)
    }),
    ("zeoxide_sync_seconds", "histogram", "The sync of a batch.", |storage| {
        Value::Buckets(&storage.measures.sync, NANOS)
    }),
    (
        "zeoxide_late_load_seconds",
        "histogram",
        "Loads that missed memory, from request to answer.",
        |storage| Value::Buckets(&storage.measures.late_load, NANOS),
    ),
    (
        "zeoxide_batch_transactions",
        "histogram",
        "Transactions that were committed together.",
        |storage| Value::Buckets(&storage.measures.batch, 1.0),
    ),
];

const NANOS: f64 = 1e9;

pub(super) fn of_server(server: &ServerView, page: &mut Page) {
    for (name, kind, help, value) in SERVER {
        page.family(name, kind, help);
        if let Some(value) = value(server) {
            put(page, name, &[], &value);
        }
    }
}

pub(super) fn of_storages(storages: &[StorageView<'_>], page: &mut Page) {
    let requests = "zeoxide_requests_total";
    page.family(requests, "counter", "Requests of clients, by kind.");
    for storage in storages {
        for (kind, count) in storage.hosted.counters.requests.read() {
            page.sample(requests, &[("storage", storage.name), ("kind", kind)], count);
        }
    }
    for (name, kind, help, value) in COUNTS.iter().chain(HISTOGRAMS) {
        page.family(name, kind, help);
        for storage in storages {
            put(page, name, &[("storage", storage.name)], &value(storage));
        }
    }
}

pub(super) fn of_replication(reports: &[Report], page: &mut Page) {
    let (count, lag) = ("zeoxide_secondaries", "zeoxide_secondary_lag_seconds");
    page.family(count, "gauge", "Secondaries that follow this storage.");
    for report in reports {
        page.sample(count, &[("storage", &report.storage)], report.secondaries.len());
    }
    page.family(lag, "gauge", "For how long a secondary has lacked something, about.");
    for report in reports {
        for (secondary, behind) in &report.secondaries {
            let labels = [("storage", report.storage.as_str()), ("secondary", secondary)];
            page.sample(lag, &labels, behind.as_secs_f64());
        }
    }
    let (follows, lag) = ("zeoxide_following", "zeoxide_replication_lag_seconds");
    page.family(follows, "gauge", "Of a secondary: 1 while there is a link to its primary.");
    for (report, source) in reports.iter().filter_map(|report| Some((report, report.source?))) {
        page.sample(follows, &[("storage", &report.storage)], u8::from(source.0));
    }
    page.family(lag, "gauge", "Of a secondary: for how long it has lacked something, about.");
    for (report, source) in reports.iter().filter_map(|report| Some((report, report.source?))) {
        page.sample(lag, &[("storage", &report.storage)], source.1.as_secs_f64());
    }
}

fn put(page: &mut Page, name: &str, labels: &[(&str, &str)], value: &Value<'_>) {
    match value {
        Count(count) => page.sample(name, labels, count),
        Number(number) => page.sample(name, labels, number),
        Value::Buckets(buckets, unit) => page.histogram(name, labels, buckets, *unit),
    }
}
