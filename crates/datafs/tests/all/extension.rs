//! Extensions in both forms.

use bytes::Bytes;
use datafs::extension::{ExtensionError, to_msgpack, to_pickle};
use proptest::prelude::*;

#[test]
fn nothing_and_the_empty_dict_are_nothing() {
    assert_eq!(to_msgpack(b"").unwrap(), Bytes::new());
    assert_eq!(to_msgpack(b"\x80\x03}q\x00.").unwrap(), Bytes::new());
    assert_eq!(to_pickle(&Bytes::new()).unwrap(), b"");
    assert_eq!(to_pickle(&Bytes::from_static(b"\x80")).unwrap(), b"");
}

/// `zodbpickle.pickle.dumps({'a': 1}, 3)` and the like.
#[test]
fn what_zodb_writes_comes_back() {
    for pickle in [
        &b"\x80\x03}q\x00X\x01\x00\x00\x00aq\x01K\x01s."[..],
        b"\x80\x03}q\x00(X\x01\x00\x00\x00aq\x01X\x01\x00\x00\x00bq\x02X\x01\x00\x00\x00nq\x03\
          Jp\x11\x01\x00X\x01\x00\x00\x00tq\x04C\x01yq\x05\x85q\x06X\x01\x00\x00\x00eq\x07)\
          X\x01\x00\x00\x00dq\x08}q\x09X\x01\x00\x00\x00kq\x0aNsX\x01\x00\x00\x00fq\x0b\
          G?\xf8\x00\x00\x00\x00\x00\x00u.",
    ] {
        let map = to_msgpack(pickle).unwrap();
        assert_eq!(to_pickle(&map).unwrap(), pickle);
    }
}

#[test]
fn older_pickles_have_the_same_content() {
    let wanted = b"\x83\xa4name\xa3bob\xa5again\xa3bob\xa2ok\xc3";
    for pickle in [
        // Python 2 at protocol 1 and 0; Python 3 with a reference.
        &b"}q\x01(U\x04nameq\x02U\x03bobq\x03U\x05againq\x04h\x03U\x02okq\x05I01\nu."[..],
        b"\x80\x03}q\x00(X\x04\x00\x00\x00nameq\x01X\x03\x00\x00\x00bobq\x02\
          X\x05\x00\x00\x00againq\x03h\x02X\x02\x00\x00\x00okq\x04\x88u.",
        b"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x04name\x94\x8c\x03bob\x94\
          \x8c\x05again\x94h\x02\x8c\x02ok\x94\x88u.",
    ] {
        assert_eq!(to_msgpack(pickle).unwrap(), &wanted[..], "{}", pickle.escape_ascii());
    }
}

/// `pickle.dumps({'a': b'\xe9z', 'e': b''}, 2)` of Python 3, and the same in protocol 1: bytes are
/// what a call makes.
#[test]
fn bytes_that_are_calls_are_bytes() {
    for pickle in [
        &b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01c_codecs\nencode\nq\x02X\x03\x00\x00\x00\xc3\xa9zq\x03\
          X\x06\x00\x00\x00latin1q\x04\x86q\x05Rq\x06X\x01\x00\x00\x00eq\x07c__builtin__\nbytes\nq\x08)\
          Rq\tu."[..],
        b"}(X\x01\x00\x00\x00ac_codecs\nencode\n(X\x03\x00\x00\x00\xc3\xa9zX\x06\x00\x00\x00latin1tR\
          X\x01\x00\x00\x00ec__builtin__\nbytes\n)Ru.",
    ] {
        let wanted = b"\x82\xa1a\xc4\x02\xe9z\xa1e\xc4\x00";
        assert_eq!(to_msgpack(pickle).unwrap(), &wanted[..], "{}", pickle.escape_ascii());
    }
    for (pickle, wanted) in [
        // Another function's encoding, a character that Latin-1 does not have, other arguments.
        (&b"}U\x01ac_codecs\nencode\n(U\x01aU\x05asciitRs."[..], "_codecs.encode"),
        (b"}U\x01ac_codecs\nencode\n(X\x02\x00\x00\x00\xc4\x80U\x06latin1tRs.", "Latin-1"),
        (b"}U\x01ac__builtin__\nbytes\n(U\x01atRs.", "__builtin__.bytes"),
    ] {
        let error = to_msgpack(pickle).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    // A long text, made into bytes again and again.
    let mut bomb = b"}(X\x00\x00\x02\x00".to_vec();
    bomb.resize(bomb.len() + (2 << 16), b'x');
    bomb.extend_from_slice(b"q\x01");
    for _ in 0..1000 {
        bomb.extend_from_slice(b"c_codecs\nencode\n(h\x01U\x06latin1tR");
    }
    let error = to_msgpack(&bomb).unwrap_err().to_string();
    assert!(error.contains("too many bytes"), "{error}");
}

#[test]
fn what_is_not_plain_is_refused() {
    for (pickle, wanted) in [
        (&b"cos\nsystem\n(U\x04trueq\x01tR."[..], "no dict"),
        (b"}U\x01acos\nsystem\n(U\x04truetRs.", "something of os.system"),
        (b"}U\x01acos\nsystem\ns.", "something of os.system"),
        // A set; an object with a state; a dict of a class of its own, which gets its items later.
        (b"}U\x01ac__builtin__\nset\n(]K\x01atRs.", "__builtin__.set"),
        (b"}U\x01acm\nC\n)R}U\x01bK\x01sbs.", "something of m.C"),
        (b"}U\x01acm\nC\n)RK\x01K\x02ss.", "something of m.C"),
        // Of a classic class; and of none.
        (b"}U\x01a(cm\nC\nK\x01o}bs.", "something of m.C"),
        (b"}U\x01a(K\x01os.", "no class"),
        (b"}U\x01aK\x01)Rs.", "no function"),
        // Half a character; numbers.
        (b"}X\x03\x00\x00\x00\xed\xa0\x80K\x01s.", "not UTF-8"),
        (b"}U\x01aI1x\ns.", "no integer"),
        (b"}U\x01aL1000000000000000000000000000000000000000L\ns.", "128 bits"),
        (b"}U\x01a\x8a\x11\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01s.", "128 bits"),
        (b"}U\x01a}}bs.", "no object"),
        (b"}(dU\x01a\x81s.", "opcode 0x81"),
        (b"}(X\x01\x00\x00\x00a\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01u.", "64 bits"),
        (b"}q\x00X\x01\x00\x00\x00ah\x00s.", "nested"),
        (b"K\x01.", "no dict"),
        (b"}", "ends within"),
        (b"}..", "follow"),
    ] {
        let error = to_msgpack(pickle).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    // Twice as large with each step, without end.
    let mut bomb = b"}q\x00X\x01\x00\x00\x00a".to_vec();
    bomb.extend_from_slice(b"(K\x01tq\x01");
    for number in 1..60 {
        bomb.extend_from_slice(&[b'h', number, b'h', number, 0x86, b'q', number + 1]);
    }
    bomb.extend_from_slice(b"0s.");
    assert!(matches!(to_msgpack(&bomb), Err(ExtensionError::Pickle(_))));
    for map in [&b"\x01"[..], b"\x81", b"\x81\xa1a\xc7\x01\x05x"] {
        assert!(to_pickle(&Bytes::from_static(map)).is_err());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_trouble(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        _ = to_msgpack(&bytes);
        _ = to_pickle(&bytes.into());
    }
}
