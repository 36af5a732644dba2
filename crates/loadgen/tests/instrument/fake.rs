//! A server of known delays and known faults, which speaks the echo protocol.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What it does with each request. Counts are over all connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// Always the same delay.
    Fixed(Duration),
    /// Every tenth answer takes longer.
    Bimodal { usual: Duration, slow: Duration },
    /// One answer after the other, at most so many a second.
    Limited { per_second: u32 },
    /// Nothing leaves in the first tenth of each period, as if it stood still.
    Stalls { usual: Duration, period: Duration },
    /// One byte of this answer is wrong.
    WrongByte { answer: u64 },
    /// This answer says that there is no such record.
    NoRecord { answer: u64 },
    /// This answer never comes.
    Silent { answer: u64 },
    /// The connection ends in the middle of this answer.
    Closes { answer: u64 },
}

/// The server; its threads end with the test's process.
pub(crate) struct Fake {
    pub(crate) address: String,
    state: Arc<State>,
}

struct State {
    manner: Manner,
    began: Instant,
    /// When the last answer of a limited server is out.
    free: Mutex<Instant>,
    asked: Mutex<u64>,
    asked_more: Condvar,
}

/// A request, and when its answer is to leave.
struct Asked {
    number: u64,
    due: Instant,
    ticket: [u8; 8],
    oid: u64,
}

const RECORD_BYTES: usize = 200;

/// So often the coordinator looks whether the records are there; that is answered at once.
pub(crate) const LOOKS: u64 = 101;

impl Fake {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let state = Arc::new(State {
            manner,
            began: Instant::now(),
            free: Mutex::new(Instant::now()),
            asked: Mutex::new(0),
            asked_more: Condvar::new(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &shared);
            }
        });
        Self { address, state }
    }

    /// How many requests have come.
    pub(crate) fn asked(&self) -> u64 {
        *self.state.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_until_asked(&self, count: u64) {
        let State { asked, asked_more, .. } = &*self.state;
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        drop(asked_more.wait_while(asked, |asked| *asked < count));
    }
}

/// One thread reads and looks at the clock, another one writes when it is time.
fn serve(mut input: TcpStream, state: &Arc<State>) {
    input.set_nodelay(true).expect("a TCP socket");
    let output = input.try_clone().expect("a second handle");
    let (sender, asked) = mpsc::channel();
    let (reading, writing) = (Arc::clone(state), Arc::clone(state));
    thread::spawn(move || {
        let mut request = [0; 60];
        while input.read_exact(&mut request).is_ok() {
            let came = Instant::now();
            let number = reading.count();
            let due = reading.due(number, came);
            let ticket = request[4..12].try_into().expect("8 bytes");
            let oid = u64::from_be_bytes(request[12..20].try_into().expect("8 bytes"));
            if sender.send(Asked { number, due, ticket, oid }).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || answer(output, &writing, asked));
}

fn answer(mut output: TcpStream, state: &State, asked: mpsc::Receiver<Asked>) {
    for Asked { number, due, ticket, oid } in asked {
        // tidy:allow(sleep): the delay is what the test is about
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut record = record(oid);
        match state.manner {
            Manner::WrongByte { answer } if answer == number => {
                *record.last_mut().expect("records are not empty") ^= 1;
            }
            Manner::NoRecord { answer } if answer == number => record.clear(),
            Manner::Silent { answer } if answer == number => continue,
            _ => {}
        }
        let mut reply = ((8 + record.len()) as u32).to_be_bytes().to_vec();
        reply.extend_from_slice(&ticket);
        reply.extend_from_slice(&record);
        if matches!(state.manner, Manner::Closes { answer } if answer == number) {
            // Both at once, so that the generator may see one event of both.
            _ = output.write_all(reply.split_at(100).0);
            _ = output.shutdown(Shutdown::Write);
            return;
        }
        if output.write_all(&reply).is_err() {
            return;
        }
    }
}

impl State {
    /// The number of a request that has come.
    fn count(&self) -> u64 {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let number = *asked;
        *asked += 1;
        self.asked_more.notify_all();
        number
    }

    fn due(&self, number: u64, came: Instant) -> Instant {
        match self.manner {
            _ if number < LOOKS => came,
            Manner::Fixed(delay) => came + delay,
            Manner::Bimodal { slow, .. } if number.is_multiple_of(10) => came + slow,
            Manner::Bimodal { usual, .. } => came + usual,
            Manner::Limited { per_second } => {
                let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
                *free = came.max(*free) + Duration::from_secs(1) / per_second;
                *free
            }
            Manner::Stalls { usual, period } => {
                let due = came + usual;
                let nanos = due.duration_since(self.began).as_nanos() % period.as_nanos();
                let phase = Duration::from_nanos(nanos as u64);
                due + (period / 10).saturating_sub(phase)
            }
            _ => came,
        }
    }
}

/// The first revision of an object, in the words of the generator's `data`.
fn record(oid: u64) -> Vec<u8> {
    let mut record = oid.to_be_bytes().to_vec();
    record.extend_from_slice(&1_u64.to_be_bytes());
    let length = (RECORD_BYTES as u64).rotate_left(48);
    let mut word = (oid ^ (1 << 32) ^ length).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while record.len() < RECORD_BYTES {
        word = word.wrapping_add(0xd134_2543_de82_ef95);
        record.extend_from_slice(&word.to_le_bytes());
    }
    record
}
