//! The clients of one thread: a task for each.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use compio::BufResult;
use compio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use compio::net::{TcpStream, UnixStream};
use flume::Receiver;
use server::{Closed, Connection, Server, TaskWake, Welcome};
use tracing::warn;

use crate::accept::Arrival;

/// Serves who arrives, until nobody can any more.
pub(crate) async fn all(server: Arc<Server>, arrivals: Receiver<Arrival>) {
    while let Ok(arrival) = arrivals.recv_async().await {
        let name = arrival.name.clone();
        if let Err(error) = start(&server, arrival) {
            warn!(peer = name, "cannot serve a connection: {error}");
        }
    }
}

fn start(server: &Arc<Server>, arrival: Arrival) -> io::Result<()> {
    let Arrival { socket, is_unix, welcome, name } = arrival;
    let socket = OwnedFd::from(socket);
    if is_unix {
        spawn(server, &welcome, name, UnixStream::from_std(socket.into())?);
    } else {
        spawn(server, &welcome, name, TcpStream::from_std(socket.into())?);
    }
    Ok(())
}

/// Starts the task of a connection, unless it cannot be served.
fn spawn<S>(server: &Arc<Server>, welcome: &Welcome, name: String, stream: S)
where
    S: 'static,
    for<'a> &'a S: AsyncRead + AsyncWrite,
{
    let wake = Arc::new(TaskWake::default());
    let Some(mut connection) = Connection::new(server, welcome, name, wake.clone()) else {
        return;
    };
    let task = compio::runtime::spawn(async move {
        let Err(end) = drive(&stream, &mut connection, &wake).await;
        connection.close(&end);
    });
    task.detach();
}

/// Goes on with a connection until it ends.
///
/// While it waits, the kernel has a read if requests are taken, and a write if there is output;
/// a wake-up goes before both, and takes back neither.
async fn drive<S>(
    stream: &S,
    connection: &mut Connection,
    wake: &TaskWake,
) -> Result<Infallible, Closed>
where
    for<'a> &'a S: AsyncRead + AsyncWrite,
{
    let (mut reading, mut writing) = (pin!(None), pin!(None));
    poll_fn(|context| {
        wake.register(context.waker());
        loop {
            if let Some(output) = connection.lend_output() {
                writing.set(Some(write(stream, output)));
            }
            if let Some(input) = connection.lend_input() {
                reading.set(Some(read(stream, input)));
            }
            let (mut handle, mut wrote) = (wake.take_call(), false);
            if let Some(writing_now) = writing.as_mut().as_pin_mut()
                && let Poll::Ready(BufResult(result, output)) = writing_now.poll(context)
            {
                writing.set(None);
                result?;
                connection.return_output(output)?;
                wrote = true;
            }
            if let Some(reading_now) = reading.as_mut().as_pin_mut()
                && let Poll::Ready(BufResult(result, input)) = reading_now.poll(context)
            {
                reading.set(None);
                connection.return_input(input);
                if result? == 0 {
                    return Poll::Ready(Err(Closed::ByClient));
                }
                handle = true;
            }
            if handle || connection.has_work() {
                connection.handle()?;
            } else if !wrote {
                return Poll::Pending;
            }
        }
    })
    .await
}

async fn write<S>(mut stream: &S, output: Vec<u8>) -> BufResult<(), Vec<u8>>
where
    for<'a> &'a S: AsyncWrite,
{
    stream.write_all(output).await
}

/// Reads once, to the end of `input`.
async fn read<S>(mut stream: &S, input: BytesMut) -> BufResult<usize, BytesMut>
where
    for<'a> &'a S: AsyncRead,
{
    stream.append(input).await
}
