//! Encryption at rest: AES-256-GCM under one data key that lives outside the database.
//!
//! A sealed value is `key id (4) | nonce (12) | ciphertext | tag (16)`. Callers name what the value
//! belongs to (a user's id) as associated data, so a value moved to another row does not open. What is too large for memory
//! is a [`stream`].

pub mod stream;

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::prelude::{BASE64_STANDARD, Engine};

use crate::error::{Error, Result};
use crate::random;
use crate::secret::sha256;

const FILE_PREFIX: &str = "usher-data-key-1:";
const KEY_ID: usize = 4;
const NONCE: usize = 12;

/// Seals and opens values with the installation's data key.
pub struct Vault {
    id: [u8; KEY_ID],
    key: LessSafeKey,
    proving: hmac::Key,
    marks: hmac::Key,
    streams: hmac::Key,
}

crate::secret::redacted!(Vault);

impl Vault {
    /// Reads the data key from `path`.
    ///
    /// # Errors
    /// The file is missing or is not a data key; the text says what to do.
    pub fn load(path: &Path) -> Result<Vault> {
        let text = fs::read_to_string(path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::operator(format!(
                "the data key {} is missing. Without it the health data in this database cannot be read. \
                 Put the file back from your backup, or name it with --key-file.",
                path.display()
            )),
            _ => Error::operator(format!("the data key {} cannot be read: {e}", path.display())),
        })?;
        let bytes = text
            .trim()
            .strip_prefix(FILE_PREFIX)
            .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok())
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or_else(|| {
                Error::operator(format!(
                    "{} is not a data key: it must hold one line that starts with `{FILE_PREFIX}`.",
                    path.display()
                ))
            })?;
        Ok(Vault::new(&bytes))
    }

    /// Makes a new data key and writes it to `path`, readable by its owner only and on disk before this returns. If
    /// another start was faster, its key is the one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn generate(path: &Path) -> Result<Vault> {
        let bytes = random::bytes::<32>();
        let write = || -> std::io::Result<bool> {
            // Written whole under another name first: a crash must not leave an empty key.
            let draft = path.with_extension(format!("draft-{}", std::process::id()));
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            writeln!(file, "{FILE_PREFIX}{}", BASE64_STANDARD.encode(bytes))?;
            file.sync_all()?;
            // Unlike a rename, a link does not replace a key that another start has made meanwhile.
            let linked = fs::hard_link(&draft, path);
            fs::remove_file(&draft)?;
            match linked {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(false),
                linked => linked?,
            }
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(directory)?.sync_all()?;
            Ok(true)
        };
        match write() {
            Ok(true) => Ok(Vault::new(&bytes)),
            Ok(false) => Vault::load(path),
            Err(e) => Err(Error::operator(format!("the data key {} cannot be written: {e}", path.display()))),
        }
    }

    fn new(bytes: &[u8; 32]) -> Vault {
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes are an AES-256 key");
        let digest = sha256(bytes);
        // Keys of their own, so that no key serves two ends.
        let derived = |end: &[u8]| {
            let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), end);
            hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
        };
        Vault {
            id: [digest[0], digest[1], digest[2], digest[3]],
            key: LessSafeKey::new(key),
            proving: derived(b"usher proof"),
            marks: derived(b"usher marks"),
            streams: derived(b"usher streams"),
        }
    }

    /// The key's public name, as hexadecimal.
    pub fn key_id(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.id))
    }

    /// A keyed hash: nobody without the data key can make or guess it. What is marked for one purpose is nothing for another.
    pub fn mark(&self, purpose: &str, data: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.marks);
        for part in [purpose.as_bytes(), &[0], data] {
            context.update(part);
        }
        let mut mark = [0; 32];
        mark.copy_from_slice(context.sign().as_ref());
        mark
    }

    /// Encrypts `plain`, bound to `owner`.
    ///
    /// # Panics
    /// Never for what fits a request: AES-GCM seals up to 64 GiB.
    pub fn seal(&self, owner: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce = random::bytes::<NONCE>();
        let mut body = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(owner), &mut body)
            .expect("AES-GCM seals any body that fits a request");
        [&self.id[..], &nonce, &body].concat()
    }

    /// A proof that whoever has the data key stands for `statement`: `key id (4) | HMAC-SHA256 (32)`.
    pub fn prove(&self, statement: &[u8]) -> Vec<u8> {
        [&self.id[..], hmac::sign(&self.proving, statement).as_ref()].concat()
    }

    /// Whether `proof` is one for `statement`, under this data key.
    pub fn proves(&self, statement: &[u8], proof: &[u8]) -> bool {
        let tag = proof.strip_prefix(&self.id[..]);
        tag.is_some_and(|tag| hmac::verify(&self.proving, statement, tag).is_ok())
    }

    /// Decrypts what [`Vault::seal`] made for the same `owner`.
    ///
    /// # Errors
    /// [`Error::Integrity`] if another key sealed it, it was changed, or it belongs to another owner.
    pub fn open(&self, owner: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        let (id, rest) = sealed.split_at_checked(KEY_ID).ok_or(Error::Integrity)?;
        let (nonce, body) = rest.split_at_checked(NONCE).ok_or(Error::Integrity)?;
        if id != self.id {
            return Err(Error::Integrity);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Integrity)?;
        let mut body = body.to_vec();
        let plain = self.key.open_in_place(nonce, Aad::from(owner), &mut body).map_err(|_| Error::Integrity)?;
        Ok(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_for_one_statement_under_one_key() {
        let vault = Vault::new(&[7; 32]);
        let proof = vault.prove(b"jane was here");
        assert!(vault.proves(b"jane was here", &proof));
        assert!(!vault.proves(b"jane was not here", &proof) && !vault.proves(b"jane was here", &proof[..35]));
        assert!(!Vault::new(&[8; 32]).proves(b"jane was here", &proof));
    }

    #[test]
    fn a_sealed_value_opens_for_its_owner_only_and_not_when_changed() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal(b"jane", b"diabetes");
        assert_eq!(vault.open(b"jane", &sealed).unwrap(), b"diabetes");
        assert!(vault.open(b"john", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(vault.open(b"jane", &changed).is_err(), "byte {i} was changed and it opened");
        }
        assert!(Vault::new(&[8; 32]).open(b"jane", &sealed).is_err());
    }
}
