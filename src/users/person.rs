//! The facts about a person, and what is to become different about them.

use serde_json::{Map, Value};

use super::{Email, Health, Phone, Profile};
use crate::error::{Error, Result};
use crate::field::{FilledLine, Line, Metadata, Wire, wire};

/// The facts about a person: a whole record, or the part of it that a change sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Person {
    /// The e-mail address, unique in the environment.
    pub email: Option<Email>,
    /// The phone number, unique in the environment.
    pub phone: Option<Phone>,
    /// The app's own name for the person, unique in the environment.
    pub external_id: Option<Line<255>>,
    /// The OpenID claims.
    pub profile: Profile,
    /// The programme's fields and the partner's metadata.
    pub health: Health,
}

wire! {
    /// The facts with columns of their own, as the directory API names them.
    pub const IDENTITY: Person {
        /// The e-mail address, unique in the environment. A change resets `email_verified`.
        "email" email: Email,
        /// The phone number, unique in the environment: 7 to 15 digits, maybe with spaces, dashes, dots and
        /// parentheses, and a + before a country code. Without one it is in the app's region.
        "phone_number" phone: Phone,
        /// The app's own name for the user, unique in the environment. A key sets it; ignored from a person.
        "externalId" external_id: FilledLine<255>,
    }
}

wire! {
    /// What the app keeps about the person: health data as far as Usher knows, for it may be.
    pub const METADATA: Person {
        /// What the app keeps about the user: merged key by key, null removes a key. For those who may change it; ignored
        /// from others. At most 50 keys of 40 characters an object, texts of 500 characters, 5 levels below this one, 64 KiB in all.
        "metadata" health.metadata: Metadata,
    }
}

impl Person {
    /// Takes over every fact that `change` has.
    pub fn merge(&mut self, change: Person) {
        self.email = change.email.or(self.email.take());
        self.phone = change.phone.or(self.phone.take());
        self.external_id = change.external_id.or(self.external_id.take());
        self.profile.merge(change.profile);
        self.health.merge(change.health);
    }
}

/// What is to become different about a person.
#[derive(Clone, Default)]
pub struct Change {
    /// Facts to take over.
    pub set: Person,
    /// Facts to forget.
    pub unset: Vec<&'static Wire<Person>>,
    /// Metadata to merge key by key; null removes a key.
    pub metadata: Option<Map<String, Value>>,
}

crate::secret::redacted!(Change);

impl From<Person> for Change {
    fn from(set: Person) -> Change {
        Change { set, ..Change::default() }
    }
}

impl Change {
    pub(super) fn apply(self, person: &mut Person) -> Result<()> {
        let had_metadata = person.health.metadata.is_some();
        person.merge(self.set);
        for wire in self.unset {
            (wire.clear)(person);
        }
        if let Some(patch) = self.metadata.filter(|patch| !patch.is_empty()) {
            let metadata = person.health.metadata.get_or_insert_default();
            metadata.merge(&patch).map_err(|fault| Error::Invalid(vec![fault.at("metadata")]))?;
        }
        if !had_metadata {
            // Nothing instead of nothing is no change.
            person.health.metadata.take_if(|metadata| metadata.0.is_empty());
        }
        Ok(())
    }
}
