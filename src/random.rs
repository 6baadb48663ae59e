//! Randomness. The only module that asks the operating system for it.

use std::sync::atomic::{AtomicU32, Ordering};

use uuid::{Builder, Uuid};

use crate::clock::Timestamp;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `N` random bytes.
///
/// # Panics
/// If the operating system has no randomness to give: nothing secret can be made then.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    aws_lc_rs::rand::fill(&mut out).expect("the operating system gives randomness");
    out
}

/// A random UUID of version 4 (the directory API's official client refuses other versions).
pub fn uuid() -> Uuid {
    Builder::from_random_bytes(bytes()).into_uuid()
}

/// A UUID of version 7: 48 bits of time, then randomness.
pub fn ordered_uuid(now: Timestamp) -> Uuid {
    Builder::from_unix_timestamp_millis(u64::try_from(now.0).unwrap_or(0), &bytes()).into_uuid()
}

/// The same, with 26 of its random bits counting: of one process, later ones sort after earlier ones within a millisecond too
/// (RFC 9562 6.2, method 1).
pub fn sequential_uuid(now: Timestamp) -> Uuid {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut random = bytes::<10>();
    // 4 bits beside the version, then 8, 6 beside the variant, 8.
    for (byte, shift) in random.iter_mut().zip([22, 14, 8, 0]) {
        *byte = (count >> shift).to_be_bytes()[3];
    }
    Builder::from_unix_timestamp_millis(u64::try_from(now.0).unwrap_or(0), &random).into_uuid()
}

/// The first UUID of version 7 that anything of that time can have.
pub fn first_uuid(at: Timestamp) -> Uuid {
    Builder::from_unix_timestamp_millis(u64::try_from(at.0).unwrap_or(0), &[0; 10]).into_uuid()
}

/// The time with which a UUID of version 7, or one labelled as version 4, begins.
pub fn time_of(id: Uuid) -> Timestamp {
    let millis = id.as_u128() >> 80;
    Timestamp(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// The same labelled as version 4, where another version is refused. With 74 random bits it is as unique; that it sorts by
/// time keeps what is new together in every index of a large table.
pub fn ordered_uuid_v4(now: Timestamp) -> Uuid {
    Builder::from_bytes(ordered_uuid(now).into_bytes()).with_version(uuid::Version::Random).into_uuid()
}

/// `len` random characters of `0-9A-Za-z`, 5.95 bits each.
pub fn base62(len: usize) -> String {
    let mut out = String::with_capacity(len);
    while out.len() < len {
        // 248 is the largest multiple of 62 in a byte; taking the rest too would favour some characters.
        let chosen = bytes::<64>().into_iter().filter(|b| *b < 248);
        out.extend(chosen.map(|b| char::from(BASE62[usize::from(b % 62)])).take(len - out.len()));
    }
    out
}

/// `number` as exactly six characters of `0-9A-Za-z`.
pub fn base62_of(mut number: u32) -> String {
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(number % 62) as usize];
        number /= 62;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_whatever_version_they_are_labelled_as() {
        let at = |millis| ordered_uuid_v4(Timestamp(millis));
        assert!(at(1_700_000_000_000) < at(1_700_000_000_001));
        assert_ne!(at(5), at(5));
        assert_eq!((at(5).get_version_num(), ordered_uuid(Timestamp(5)).get_version_num()), (4, 7));
        assert_eq!(time_of(sequential_uuid(Timestamp(1_700_000_000_001))), Timestamp(1_700_000_000_001));
        assert_eq!(at(5).get_variant(), uuid::Variant::RFC4122);
        let many: Vec<Uuid> = (0..5000).map(|_| sequential_uuid(Timestamp(5))).collect();
        assert!(many.is_sorted() && many[0] > first_uuid(Timestamp(5)) && many[4999] < first_uuid(Timestamp(6)));
    }
}
