//! How the threads talk to the kernel.

use std::io;
use std::pin::pin;
use std::sync::mpsc;
use std::task::Context;
use std::thread;
use std::time::Duration;

use compio::driver::op::OpCodeFlag;
use compio::driver::{DriverType, ProactorBuilder};
use compio::runtime::{Runtime, RuntimeBuilder};
use tracing::warn;

/// The best that this kernel allows, found out by trying.
pub(crate) fn choose() -> ProactorBuilder {
    let mut ring = ProactorBuilder::new();
    ring.driver_type(DriverType::IoUring);
    // First without the operations: where there is no ring, they would be what is missed.
    let tried = ring.build().and_then(|_| {
        let used = OpCodeFlag::Recv | OpCodeFlag::Send | OpCodeFlag::AsyncCancel;
        ring.detect_opcode_support(used | OpCodeFlag::PollAdd).build()
    });
    if let Err(error) = tried {
        warn!("the kernel refuses io_uring ({error}): this server goes on with epoll, more slowly");
        return epoll();
    }
    // What only one thread uses need not interrupt it. Linux 6.1 knows that.
    let mut own = ring.clone();
    own.single_issuer(true).defer_taskrun(true);
    if own.build().is_ok() { own } else { ring }
}

/// What every kernel has.
pub(crate) fn epoll() -> ProactorBuilder {
    let mut builder = ProactorBuilder::new();
    builder.driver_type(DriverType::Poll);
    builder
}

/// Starts a thread with a runtime of its own, which does `work`.
pub(crate) fn spawn<W>(
    driver: &ProactorBuilder,
    name: &str,
    work: impl FnOnce() -> W + Send + 'static,
) -> io::Result<()>
where
    W: Future<Output = ()>,
{
    let mut builder = RuntimeBuilder::new();
    builder.with_proactor(driver.clone()).sync_queue_size(WAKES_MAX);
    let (started, start) = mpsc::channel();
    let run = move || {
        let (runtime, result) = match builder.build() {
            Ok(runtime) => (Some(runtime), Ok(())),
            Err(error) => (None, Err(error)),
        };
        started.send(result).expect("it is waited for");
        if let Some(runtime) = runtime {
            block_on(&runtime, work());
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    start.recv().map_err(io::Error::other)?
}

/// What `Runtime::block_on` does, but for one thing: a thread that runs out of work hands over what
/// its tasks want and gives way once before it waits. What that lets others do is mostly to send
/// the next requests, and one wait then finds many of them.
fn block_on(runtime: &Runtime, work: impl Future<Output = ()>) {
    runtime.enter(|| {
        let waker = runtime.waker();
        let mut context = Context::from_waker(&waker);
        let mut work = pin!(work);
        loop {
            if work.as_mut().poll(&mut context).is_ready() {
                runtime.run();
                return;
            }
            let has_more = runtime.run();
            let was_woken = runtime.flush();
            if has_more || was_woken {
                runtime.poll_with(Some(Duration::ZERO));
            } else {
                thread::yield_now();
                runtime.poll();
            }
        }
    });
}

/// A task waits at most once to be woken by another thread. Where more tasks wait than this, that
/// thread, which may be the one that commits, has to wait for room.
const WAKES_MAX: usize = 1 << 16;
