//! Why a connection ends.

use std::io;

use protocol::frame::TooLong;
use storage::Cut;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// The client closed it.
    #[error("by the client")]
    ByClient,
    /// The system did.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Everything has been said.
    #[error("nothing is left to say")]
    Finished,
    /// The server ends.
    #[error("the server stops")]
    Stopped,
    /// The client did not answer the greeting as any client does.
    #[error("'{}' is not an answer to the greeting", .0.escape_ascii())]
    Answer(bytes::Bytes),
    /// The answer to the greeting is longer than any.
    #[error("not an answer to the greeting: {0}")]
    AnswerTooLong(TooLong),
    /// The client did not answer the greeting in time.
    #[error("the greeting was not answered in time")]
    Unanswered,
    /// The client does not speak TLS, or is not let in.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The client does not read, or keeps others waiting.
    #[error(transparent)]
    Cut(#[from] Cut),
    /// The session cannot go on.
    #[error(transparent)]
    Session(#[from] session::Closed),
}
