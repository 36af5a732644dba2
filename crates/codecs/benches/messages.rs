//! What every kind of message costs in every encoding, to encode and to decode, at three sizes.
//!
//! `cargo bench -p codecs --bench messages -- 'msgpack/decode'` runs those whose names match; a
//! call through a pointer, about a nanosecond, is part of each figure.

use std::time::Duration;

use codecs::{Dialect, WithCodec, dispatch};
use criterion::Criterion;
use protocol::Codec;
use testkit::operations::messages::{Message, fixed, sized};
use testkit::operations::{SIZES_BYTES, encodings};

fn main() {
    // There are some 350 of them: a second each.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(50)
        .configure_from_args();
    for dialect in Dialect::ALL {
        dispatch(dialect, AllOf(&mut criterion));
    }
    criterion.final_summary();
}

struct AllOf<'a>(&'a mut Criterion);

impl WithCodec for AllOf<'_> {
    type Out = ();

    fn call<C: Codec>(self) {
        for message in fixed() {
            both_ways::<C>(self.0, message, "");
        }
        for bytes in SIZES_BYTES {
            for message in sized(bytes) {
                both_ways::<C>(self.0, message, &format!(" of {bytes} B"));
            }
        }
    }
}

/// Measures nothing where the encoding has no form for the message.
fn both_ways<C: Codec>(criterion: &mut Criterion, message: Message, size: &str) {
    let name = format!("{}{size}", message.name());
    if let Some(mut decode) = encodings::decode::<C>(message.clone()) {
        criterion.bench_function(&format!("{}/decode {name}", C::NAME), |b| b.iter(&mut decode));
    }
    if let Some(mut encode) = encodings::encode::<C>(message) {
        criterion.bench_function(&format!("{}/encode {name}", C::NAME), |b| b.iter(&mut encode));
    }
}
