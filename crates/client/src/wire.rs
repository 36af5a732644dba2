//! A session whose codec was chosen at run time.

use bytes::BytesMut;
use codecs::{Dialect, WithCodec, dispatch};
use protocol::{Codec, Incoming, Limits, Request};

use crate::session::{RequestTooLong, Session, SessionError};

/// [`Session`], without its type parameter.
pub(crate) trait Wire: Send {
    fn handle_request(&mut self, request: &Request) -> Result<Option<u64>, RequestTooLong>;
    fn handle_input(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, SessionError>;
    fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool;
    fn output_bytes(&self) -> usize;
}

pub(crate) fn wire(dialect: Dialect, limits: Limits) -> Box<dyn Wire> {
    dispatch(dialect, Create(limits))
}

impl<C: Codec> Wire for Session<C> {
    fn handle_request(&mut self, request: &Request) -> Result<Option<u64>, RequestTooLong> {
        self.handle_request(request)
    }

    fn handle_input(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, SessionError> {
        self.handle_input(input)
    }

    fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool {
        self.poll_transmit(written)
    }

    fn output_bytes(&self) -> usize {
        self.output_bytes()
    }
}

struct Create(Limits);

impl WithCodec for Create {
    type Out = Box<dyn Wire>;

    fn call<C: Codec>(self) -> Box<dyn Wire> {
        Box::new(Session::<C>::new(self.0))
    }
}
