//! What is too large for memory, sealed under the data key: read once, in order, a chunk at a time.
//!
//! This is STREAM (Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
//! Misuse-Resistance", 2015) with the chunks and nonces of the age format and AES-256-GCM. A header,
//! `usher-backup-1:` | id of the data key, hexadecimal (8) | `\n` | salt (32), then chunks of 64 KiB, the last of them
//! shorter or as long, each followed by its tag (16). The nonce of a chunk is its number (11, big endian) and 1 if it is
//! the last, else 0: none can be moved, left out or cut off. The key is the HMAC-SHA256 of the header, so it is of this
//! file alone, under one that is derived of the data key.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;

use super::{NONCE, Vault};
use crate::random;

const MAGIC: &[u8] = b"usher-backup-1:";
const ID: usize = 8;
const SALT: usize = 32;
const HEADER: usize = MAGIC.len() + ID + 1 + SALT;
const CHUNK: usize = 64 << 10;

/// Gives, as it is read, another reader's bytes sealed, or those of a sealed one opened.
///
/// Opening gives only what was verified, and fails with [`ErrorKind::InvalidData`] where a byte is not what was sealed or
/// the end is missing. What came before is true, and not all of it: it is good for nothing until the end was read.
pub struct Stream<R> {
    from: BufReader<R>,
    key: LessSafeKey,
    way: Way,
    number: u64,
    ready: Vec<u8>,
    given: usize,
    is_over: bool,
}

#[derive(Clone, Copy)]
enum Way {
    Sealing,
    Opening,
}

/// Why something sealed is not opened.
#[derive(Debug)]
pub enum Refused {
    /// The data key of this id sealed it, and another is at hand.
    OtherKey(String),
    /// It cannot be read; [`ErrorKind::InvalidData`] if it is damaged.
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(e: io::Error) -> Refused {
        Refused::Io(e)
    }
}

/// Gives what `plain` gives, sealed.
pub fn seal<R: Read>(vault: &Vault, plain: R) -> Stream<R> {
    let header = [MAGIC, vault.key_id().as_bytes(), b"\n", &random::bytes::<SALT>()].concat();
    let key = key(vault, &header);
    Stream { from: BufReader::new(plain), key, way: Way::Sealing, number: 0, ready: header, given: 0, is_over: false }
}

/// Gives what was sealed; `None` if `from` begins like nothing that [`seal`] gives.
///
/// # Errors
/// [`Refused`]. Damage behind the header is found when it is read.
pub fn open<R: Read>(vault: &Vault, mut from: R) -> Result<Option<Stream<R>>, Refused> {
    let mut header = Vec::with_capacity(HEADER);
    from.by_ref().take(HEADER as u64).read_to_end(&mut header)?;
    let Some(rest) = header.strip_prefix(MAGIC) else { return Ok(None) };
    let id = rest.get(..ID).filter(|id| id.iter().all(u8::is_ascii_hexdigit));
    let id = id.filter(|_| header.len() == HEADER).ok_or_else(damaged)?;
    if id != vault.key_id().as_bytes() {
        return Err(Refused::OtherKey(String::from_utf8_lossy(id).into_owned()));
    }
    let key = key(vault, &header);
    let (from, ready) = (BufReader::new(from), Vec::new());
    Ok(Some(Stream { from, key, way: Way::Opening, number: 0, ready, given: 0, is_over: false }))
}

fn key(vault: &Vault, header: &[u8]) -> LessSafeKey {
    let key = hmac::sign(&vault.streams, header);
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("an HMAC-SHA256 is an AES-256 key"))
}

fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; NONCE];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(nonce)
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "a part of it is missing or was changed")
}

impl<R: Read> Stream<R> {
    fn refill(&mut self) -> io::Result<()> {
        let size = match self.way {
            Way::Sealing => CHUNK,
            Way::Opening => CHUNK + MAX_TAG_LEN,
        };
        let mut chunk = Vec::with_capacity(CHUNK + MAX_TAG_LEN);
        self.from.by_ref().take(size as u64).read_to_end(&mut chunk)?;
        let is_last = self.from.fill_buf()?.is_empty();
        let nonce = nonce(self.number, is_last);
        // Also where it fails: whoever reads on after that finds nothing that opens.
        self.number += 1;
        match self.way {
            Way::Sealing => self
                .key
                .seal_in_place_append_tag(nonce, Aad::empty(), &mut chunk)
                .map_err(|_| io::Error::other("AES-GCM refused a chunk"))?,
            Way::Opening => {
                let plain = self.key.open_in_place(nonce, Aad::empty(), &mut chunk).map_err(|_| damaged())?.len();
                chunk.truncate(plain);
            }
        }
        (self.ready, self.given, self.is_over) = (chunk, 0, is_last);
        Ok(())
    }
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.ready.len() && !self.is_over {
            self.refill()?;
        }
        let read = (&self.ready[self.given..]).read(into)?;
        self.given += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk as it lies in the file.
    const SEALED: usize = CHUNK + MAX_TAG_LEN;

    fn vault() -> Vault {
        Vault::new(&[7; 32])
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        seal(&vault(), plain).read_to_end(&mut sealed).unwrap();
        sealed
    }

    fn opened(vault: &Vault, sealed: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        let Some(mut stream) = open(vault, sealed)? else { return Ok(None) };
        let mut plain = Vec::new();
        stream.read_to_end(&mut plain)?;
        Ok(Some(plain))
    }

    fn is_damaged(sealed: &[u8]) -> bool {
        matches!(opened(&vault(), sealed), Err(Refused::Io(e)) if e.kind() == ErrorKind::InvalidData)
    }

    /// Three chunks and a part of one, no two alike.
    fn long() -> Vec<u8> {
        (0..u32::try_from(CHUNK).unwrap()).flat_map(u32::to_be_bytes).take(3 * CHUNK + 100).collect()
    }

    #[test]
    fn what_was_sealed_opens_whatever_its_length() {
        let long = long();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, long.len()] {
            let sealed = sealed(&long[..length]);
            assert_eq!(sealed.len(), HEADER + length + length.div_ceil(CHUNK).max(1) * MAX_TAG_LEN, "{length}");
            assert!(opened(&vault(), &sealed).unwrap().unwrap() == long[..length], "{length}");
        }
    }

    #[test]
    fn nothing_plain_is_in_it_and_no_two_are_alike() {
        let plain = b"jane@doe.com".repeat(20_000);
        let (one, other) = (sealed(&plain), sealed(&plain));
        assert!(!one.windows(8).any(|window| window == &plain[..8]));
        let is_like = one[HEADER..].iter().zip(&other[HEADER..]).filter(|(a, b)| a == b).count();
        assert!(is_like < one.len() / 100, "{is_like} bytes of {} are as in the other", one.len());
    }

    #[test]
    fn what_is_cut_off_moved_left_out_or_added_is_found() {
        let whole = sealed(&long());
        let chunk = |number: usize| HEADER + number * SEALED..(HEADER + (number + 1) * SEALED).min(whole.len());
        let of = |parts: &[usize]| {
            let chunks = parts.iter().flat_map(|part| &whole[chunk(*part)]);
            whole[..HEADER].iter().chain(chunks).copied().collect::<Vec<u8>>()
        };
        assert!(of(&[0, 1, 2, 3]) == whole && !is_damaged(&whole));
        for parts in [&[][..], &[0], &[0, 1], &[0, 1, 2], &[1, 0, 2, 3], &[0, 2, 3], &[0, 1, 1, 2, 3], &[0, 1, 2, 3, 3]]
        {
            assert!(is_damaged(&of(parts)), "{parts:?}");
        }
        for length in [MAGIC.len(), HEADER - 1, HEADER + 1, HEADER + SEALED - 1, HEADER + SEALED + 1, whole.len() - 1] {
            assert!(is_damaged(&whole[..length]), "cut at {length}");
        }
        assert!(is_damaged(&[&whole[..], b"x"].concat()), "with more at the end");
        let of_another = sealed(&long());
        assert!(
            is_damaged(&[&whole[..HEADER + SEALED], &of_another[HEADER + SEALED..]].concat()),
            "two backups in one"
        );
    }

    #[test]
    fn a_byte_that_was_changed_is_found_wherever_it_is() {
        let whole = sealed(&long());
        let borders = [HEADER, HEADER + CHUNK, HEADER + SEALED, whole.len()];
        let near = |border: usize| border.saturating_sub(20)..(border + 20).min(whole.len());
        for place in (0..HEADER).chain(borders.into_iter().flat_map(near)) {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            let outcome = opened(&vault(), &changed);
            assert!(!matches!(outcome, Ok(Some(_))), "byte {place} was changed and it opened");
            assert!(matches!(outcome, Ok(None)) == (place < MAGIC.len()), "byte {place}");
        }
    }

    #[test]
    fn whoever_reads_on_after_damage_is_given_nothing() {
        let whole = sealed(&long());
        let alien = [&whole[..HEADER + SEALED], &vec![7; SEALED], &whole[HEADER + SEALED..]].concat();
        let mut stream = open(&vault(), &alien[..]).unwrap().unwrap();
        let (mut given, mut buffer) = (0, vec![0; CHUNK]);
        for _ in 0..8 {
            given += stream.read(&mut buffer).unwrap_or(0);
        }
        assert_eq!(given, CHUNK, "the first chunk and no other");
    }

    #[test]
    fn another_data_key_is_told_from_damage_and_what_is_not_sealed_from_both() {
        let other = Vault::new(&[8; 32]);
        let Err(Refused::OtherKey(id)) = opened(&other, &sealed(b"jane")) else { panic!("it is another's") };
        assert_eq!(id, vault().key_id());
        for plain in [&b""[..], b"usher", b"SQLite format 3\0 and so on and so on and so on and so on and so on"] {
            assert!(matches!(opened(&vault(), plain), Ok(None)));
        }
        // Not by the id alone, which whoever has the file can write.
        let mut forged = sealed(b"jane");
        forged[MAGIC.len()..MAGIC.len() + ID].copy_from_slice(other.key_id().as_bytes());
        assert!(matches!(opened(&other, &forged), Err(Refused::Io(_))));
    }
}
