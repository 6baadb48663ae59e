//! The profile: OpenID Connect standard claims (OpenID Connect Core 5.1) and what the directory API adds.

use crate::field::{BirthMoment, Line, record};
use crate::users::Person;

record! {
    /// Who a person is, as the directory API's body names it (seed `directory-put-user`; limits: contract A7).
    pub struct Profile = Person.profile {
        /// The language to write to the person in, as the app names it (`en`, `US`).
        "language" language: Line<35>,
        /// How to address the person; the official client sends o, f or m.
        "salutation" salutation: Line<256>,
        /// The salutation in words when none of the usual ones fits.
        "salutationOther" salutation_other: Line<256>,
        /// Whether the person wants the newsletter.
        "acceptedNewsletter" accepted_newsletter: bool,
        /// The full name as displayed.
        "name" name: Line<256>,
        /// The first name; `firstname` in the partner API.
        "given_name" given_name: Line<256>,
        /// The last name; `lastname` in the partner API.
        "family_name" family_name: Line<256>,
        /// The middle name.
        "middle_name" middle_name: Line<256>,
        /// The casual name.
        "nickname" nickname: Line<256>,
        /// The name the person likes to be called by.
        "preferred_username" preferred_username: Line<256>,
        /// The address of the person's profile page. Stored as text and never fetched.
        "profile" profile: Line<256>,
        /// The address of the person's picture. Stored as text and never fetched.
        "picture" picture: Line<256>,
        /// The address of the person's site. Stored as text and never fetched.
        "website" website: Line<256>,
        /// The gender in the person's own words. Not the partner API's `gender`, which is `sex`.
        "gender" gender: Line<256>,
        /// The gender in words when `gender` has none that fits.
        "other_gender" other_gender: Line<256>,
        /// The day of birth, from 1900-01-01, not in the future; `dateOfBirth` in the partner API. A date-time's date part
        /// counts.
        "birthdate" birthdate: BirthMoment,
        /// The time zone, e.g. Europe/Berlin.
        "zoneinfo" zoneinfo: Line<256>,
        /// The locale, e.g. en-US.
        "locale" locale: Line<256>,
    }
}
