//! What the exports of other services are like: which of their columns become which facts.

use super::column::Reading::{
    self, DeletedIf, First, FrozenIf, FrozenUnless, FrozenUntil, Names, Plain, Plus, Present,
};
use crate::db::words;

words! {
    /// An export that is known.
    #[derive(clap::ValueEnum)]
    pub enum Preset {
        /// The JSON lines or CSV of a users' export of Auth0.
        Auth0 = "auth0",
        /// The CSV of Clerk's dashboard.
        Clerk = "clerk",
        /// The table `auth.users` of Supabase, as CSV or JSON.
        Supabase = "supabase",
        /// A realm with its users, as Keycloak exports it, or a list of its users.
        Keycloak = "keycloak",
    }
}

/// By which columns an export is known: all of a row.
const SIGNS: &[(Preset, &[&str])] = &[
    (Preset::Clerk, &["primary_email_address"]),
    (Preset::Supabase, &["raw_user_meta_data"]),
    (Preset::Supabase, &["email_confirmed_at", "aud"]),
    (Preset::Keycloak, &["emailVerified", "firstName", "enabled"]),
    (Preset::Keycloak, &["createdTimestamp"]),
    (Preset::Auth0, &["user_id", "email_verified"]),
    (Preset::Auth0, &["user_id", "identities"]),
    (Preset::Auth0, &["Id", "Email Verified", "Provider"]),
];

pub(super) fn detect(columns: &[String]) -> Option<Preset> {
    let has = |sign: &&str| columns.iter().any(|column| column == sign);
    SIGNS.iter().find(|(_, signs)| signs.iter().all(has)).map(|(preset, _)| *preset)
}

/// Column, or a way into one; what it becomes, nothing if it means something else there than its name says here; and how it
/// is read.
#[rustfmt::skip]
pub(super) fn columns(preset: Preset) -> &'static [(&'static str, &'static str, Reading)] {
    match preset {
        Preset::Auth0 => &[
            ("email", "email", Plain),
            ("email_verified", "email_verified", Plain),
            ("user_id", "externalId", Plain),
            ("Id", "externalId", Plain),
            ("phone_number", "phone_number", Plain),
            ("name", "name", Plain),
            ("given_name", "given_name", Plain),
            ("family_name", "family_name", Plain),
            ("nickname", "nickname", Plain),
            ("username", "preferred_username", Plain),
            ("picture", "picture", Plain),
            ("locale", "locale", Plain),
            ("blocked", "status", FrozenIf),
            ("user_metadata", "metadata", Plain),
        ],
        Preset::Clerk => &[
            ("primary_email_address", "email", Plain),
            ("verified_email_addresses", "email_verified", Names("primary_email_address")),
            ("primary_phone_number", "phone_number", Plain),
            ("id", "externalId", Plain),
            ("first_name", "given_name", Plain),
            ("last_name", "family_name", Plain),
            ("username", "preferred_username", Plain),
            ("banned", "status", FrozenIf),
        ],
        Preset::Supabase => &[
            ("email", "email", Plain),
            ("email_confirmed_at", "email_verified", Present),
            ("phone", "phone_number", Plus),
            ("id", "externalId", Plain),
            ("raw_user_meta_data.full_name", "name", Plain),
            ("raw_user_meta_data.name", "name", Plain),
            ("raw_user_meta_data.first_name", "given_name", Plain),
            ("raw_user_meta_data.given_name", "given_name", Plain),
            ("raw_user_meta_data.last_name", "family_name", Plain),
            ("raw_user_meta_data.family_name", "family_name", Plain),
            ("raw_user_meta_data.avatar_url", "picture", Plain),
            ("banned_until", "status", FrozenUntil),
            ("deleted_at", "status", DeletedIf),
            ("role", "", Plain),
        ],
        Preset::Keycloak => &[
            ("email", "email", Plain),
            ("emailVerified", "email_verified", Plain),
            ("id", "externalId", Plain),
            ("firstName", "given_name", Plain),
            ("lastName", "family_name", Plain),
            ("username", "preferred_username", Plain),
            ("attributes.phone_number", "phone_number", First),
            ("attributes.phoneNumber", "phone_number", First),
            ("attributes.phone", "phone_number", First),
            ("attributes.mobile", "phone_number", First),
            ("attributes.locale", "locale", First),
            ("enabled", "status", FrozenUnless),
        ],
    }
}

#[cfg(test)]
mod tests {
    use rlibphonenumber::Region;
    use serde_json::{Value, json};

    use super::*;
    use crate::field::Context;
    use crate::imports::{Entry, Format, Plan, Rows, survey};

    /// The entries of an export that is known by its columns.
    fn taken_over(preset: Preset, format: Format, text: &'static str) -> Vec<std::result::Result<Entry, String>> {
        let found = survey(Rows::new(format, text.as_bytes()).unwrap()).unwrap();
        let plan = Plan::new(&found.columns, &[], None).unwrap();
        assert_eq!(plan.preset, Some(preset));
        let context = Context { region: Region::US, today: "2026-11-22".parse().unwrap() };
        let rows = Rows::new(format, text.as_bytes()).unwrap();
        rows.map(|row| plan.read(&row.unwrap().unwrap(), &context)).collect()
    }

    fn facts(entry: &Entry) -> Value {
        let person = &entry.person;
        json!([person.email, person.phone, person.external_id, person.profile, entry.verified, entry.frozen])
    }

    #[test]
    fn an_export_of_auth0_is_taken_over() {
        let text = r#"{"user_id":"auth0|5f7c8ec7c33c6c004bbafe82","email":"j@doe.com","email_verified":true,"name":"j@doe.com","given_name":"J","nickname":"j","user_metadata":{"plan":"gold"},"created_at":"2020-10-06T15:35:35.000Z"}
{"user_id":"sms|1","email":"k@doe.com","email_verified":false,"phone_number":"+12025550123","blocked":true,"picture":null}"#;
        let entries = taken_over(Preset::Auth0, Format::Jsonl, text);
        let first = entries[0].as_ref().unwrap();
        assert_eq!(
            facts(first),
            json!(["j@doe.com", null, "auth0|5f7c8ec7c33c6c004bbafe82", {"name": "j@doe.com", "given_name": "J", "nickname": "j"}, true, false])
        );
        assert_eq!(json!(first.person.health), json!({"metadata": {"plan": "gold"}}));
        assert_eq!(facts(entries[1].as_ref().unwrap()), json!(["k@doe.com", "+12025550123", "sms|1", {}, false, true]));
        let csv = "Id,Given Name,Family Name,Nickname,Name,Email,Email Verified,Picture,Provider,Updated At\n\
                   auth0|1,J,D,j,J D,j@doe.com,true,https://x.example/1.png,auth0,2020-10-06T15:35:35.000Z\n";
        let entries = taken_over(Preset::Auth0, Format::Csv, csv);
        assert_eq!(
            facts(entries[0].as_ref().unwrap()),
            json!(["j@doe.com", null, "auth0|1", {"name": "J D", "given_name": "J", "family_name": "D", "nickname": "j", "picture": "https://x.example/1.png"}, true, false])
        );
    }

    #[test]
    fn an_export_of_clerk_is_taken_over() {
        let text = "id,first_name,last_name,username,primary_email_address,primary_phone_number,verified_email_addresses,\
             unverified_email_addresses,verified_phone_numbers,unverified_phone_numbers,totp_secret,password_digest,password_hasher\n\
             user_1,J,D,jd,j@doe.com,+12025550123,\"a@doe.com,j@doe.com\",,+12025550123,,,$2b$10$x,bcrypt\n\
             user_2,K,,,k@doe.com,,,k@doe.com,,,,,\n";
        let entries = taken_over(Preset::Clerk, Format::Csv, text);
        assert_eq!(
            facts(entries[0].as_ref().unwrap()),
            json!(["j@doe.com", "+12025550123", "user_1", {"given_name": "J", "family_name": "D", "preferred_username": "jd"}, true, false])
        );
        assert_eq!(
            facts(entries[1].as_ref().unwrap()),
            json!(["k@doe.com", null, "user_2", {"given_name": "K"}, false, false])
        );
    }

    #[test]
    fn an_export_of_supabase_is_taken_over() {
        let text = "instance_id,id,aud,role,email,encrypted_password,email_confirmed_at,raw_user_meta_data,phone,banned_until,deleted_at\n\
             0,1c9,authenticated,authenticated,j@doe.com,x,2023-01-01 10:00:00.123456+00,\"{\"\"full_name\"\":\"\"J D\"\"}\",12025550123,,\n\
             0,2c9,authenticated,authenticated,k@doe.com,x,,{},,2126-01-01 10:00:00+00,\n\
             0,3c9,authenticated,authenticated,l@doe.com,x,,{},,2020-01-01 10:00:00+00,\n\
             0,4c9,authenticated,authenticated,m@doe.com,x,,{},,,2023-01-01 10:00:00+00\n";
        let entries = taken_over(Preset::Supabase, Format::Csv, text);
        assert_eq!(
            facts(entries[0].as_ref().unwrap()),
            json!(["j@doe.com", "+12025550123", "1c9", {"name": "J D"}, true, false])
        );
        assert_eq!(facts(entries[1].as_ref().unwrap()), json!(["k@doe.com", null, "2c9", {}, false, true]));
        assert!(!entries[2].as_ref().unwrap().frozen, "the time is over");
        assert_eq!(entries[3].as_ref().unwrap_err(), "status says that the person is deleted");
    }

    #[test]
    fn an_export_of_keycloak_is_taken_over() {
        let text = r#"{"realm":"acme","users":[
            {"id":"ea1","createdTimestamp":1600000000000,"username":"jd","enabled":true,"emailVerified":true,"firstName":"J","lastName":"D","email":"j@doe.com","attributes":{"phone":["+1 202-555-0123","+1 202-555-0199"],"locale":["de"]},"credentials":[],"realmRoles":["user"]},
            {"id":"ea2","createdTimestamp":1600000000000,"username":"k","enabled":false,"emailVerified":false,"email":"k@doe.com"}
        ]}"#;
        let entries = taken_over(Preset::Keycloak, Format::Json, text);
        assert_eq!(
            facts(entries[0].as_ref().unwrap()),
            json!(["j@doe.com", "+1 202-555-0123", "ea1", {"given_name": "J", "family_name": "D", "preferred_username": "jd", "locale": "de"}, true, false])
        );
        assert_eq!(
            facts(entries[1].as_ref().unwrap()),
            json!(["k@doe.com", null, "ea2", {"preferred_username": "k"}, false, true])
        );
    }

    #[test]
    fn every_column_of_a_preset_becomes_a_field_that_there_is() {
        for preset in Preset::ALL {
            for (column, field, _) in columns(*preset) {
                let is_known = field.is_empty() || crate::imports::fields().any(|known| known == *field);
                assert!(is_known, "{column} of {preset:?}");
            }
        }
    }
}
