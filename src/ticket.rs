//! Tickets: secrets that name their own row. Links, codes, sessions and refresh tokens are tickets.
//!
//! A ticket is the id of a row and 256 random bits, together one text. The id begins with the time, so what is new lies
//! together in the index, which a random hash would spread over all of it. Only the hash of the random part is stored.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::random;
use crate::secret::{Secret, redacted, sha256};

/// How many bytes of a ticket are the id.
const ID: usize = 16;

/// A secret that names its own row.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    id: Uuid,
    random: [u8; 32],
}

redacted!(Ticket);

impl Ticket {
    /// A new ticket, and the id for its row.
    pub fn new(now: Timestamp) -> Ticket {
        Ticket { id: random::ordered_uuid(now), random: random::bytes() }
    }

    /// The ticket of a row whose random part is made anew each time, with the data key, and so is not kept at all.
    pub fn of(id: Uuid, random: [u8; 32]) -> Ticket {
        Ticket { id, random }
    }

    /// Reads what somebody presents; `None` if it cannot be a ticket.
    pub fn read(text: &Secret) -> Option<Ticket> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.expose()).ok()?;
        let (id, random) = bytes.split_at_checked(ID)?;
        Some(Ticket { id: Uuid::from_slice(id).ok()?, random: random.try_into().ok()? })
    }

    /// As it is given away: 64 characters of base64url.
    pub fn text(&self) -> Secret {
        Secret::new(BASE64_URL_SAFE_NO_PAD.encode([self.id.as_bytes(), self.random.as_slice()].concat()))
    }

    /// The id of its row.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its random part.
    pub fn random(&self) -> &[u8; 32] {
        &self.random
    }

    /// Whether it is the same. Takes as long for every wrong one.
    pub fn equals(&self, other: &Ticket) -> bool {
        self.id == other.id && verify_slices_are_equal(&self.random, &other.random).is_ok()
    }

    /// What its row keeps of the random part.
    pub fn hash(&self) -> Vec<u8> {
        sha256(&self.random).to_vec()
    }

    /// Whether it is the one whose row keeps `hash`. Takes as long for every wrong one.
    pub fn fits(&self, hash: &[u8]) -> bool {
        verify_slices_are_equal(&self.hash(), hash).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_written_and_fits_its_own_hash_only() {
        let ticket = Ticket::new(Timestamp(5));
        let text = ticket.text();
        assert_eq!(text.expose().len(), 64);
        assert!(Ticket::read(&text).unwrap() == ticket && ticket.fits(&ticket.hash()));
        let other = Ticket { random: [0; 32], ..ticket.clone() };
        assert!(!other.fits(&ticket.hash()) && !ticket.fits(&[]));
        for text in ["", "nonsense", &text.expose()[1..], &format!("{}A", text.expose()), &"?".repeat(64)] {
            assert!(Ticket::read(&Secret::new(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn tickets_sort_by_time() {
        assert!(Ticket::new(Timestamp(1_700_000_000_000)).id() < Ticket::new(Timestamp(1_700_000_000_001)).id());
    }
}
