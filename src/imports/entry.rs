//! A row of a file as a person: every field by the rules of requests, and what is wrong told by their names. Knows no format and no
//! database.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::Plan;
use crate::error::FieldError;
use crate::field::{Context, Fault, Field, FilledLine, Line, Metadata, Wire, show};
use crate::subscriptions::Course;
use crate::users::{Health, IDENTITY, Person, Profile};

/// What a column can become besides the facts of a [`Person`].
const BESIDES: [&str; 5] = ["email_verified", "status", "tenant", "role", "subscriptionDates"];

static FACTS: LazyLock<Vec<&'static Wire<Person>>> = LazyLock::new(|| {
    let facts = IDENTITY.iter().chain(Profile::FIELDS).chain(Health::FIELDS);
    facts.filter(|wire| !BESIDES.contains(&wire.name)).collect()
});

/// Every field that a column can become, but single keys of the metadata.
pub fn fields() -> impl Iterator<Item = &'static str> {
    FACTS.iter().map(|wire| wire.name).chain(BESIDES)
}

pub(super) fn fact(name: &str) -> Option<&'static Wire<Person>> {
    FACTS.iter().copied().find(|wire| wire.name == name)
}

/// A row that may become a user.
#[derive(Clone, Default, PartialEq)]
pub struct Entry {
    /// The facts; `person.email` is always there.
    pub person: Person,
    /// Whether the address was proven elsewhere.
    pub verified: bool,
    /// Whether the person may not sign in.
    pub frozen: bool,
    /// The name of the tenant.
    pub tenant: Option<String>,
    /// The name of the role.
    pub role: Option<String>,
}

crate::secret::redacted!(Entry);

impl Plan {
    /// Reads a row, or says which fields are wrong: by their names, and never by what stands in them.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn read(&self, row: &Map<String, Value>, context: &Context) -> std::result::Result<Entry, String> {
        let (mut entry, mut faults) = (Entry::default(), Vec::new());
        let mut done: Vec<&str> = Vec::with_capacity(self.columns.len());
        let mut metadata = Map::new();
        for column in &self.columns {
            // Of several that become the same, the first that has something; of what keeps somebody out, all.
            if done.contains(&column.field.as_str()) && column.field != "status" {
                continue;
            }
            let Some(value) = column.value(row, context) else { continue };
            let kept = match column.field.strip_prefix("metadata.") {
                Some(key) => {
                    metadata.insert(key.to_owned(), value.clone());
                    Ok(())
                }
                None => entry.take(&column.field, &value, context),
            };
            match kept {
                Ok(()) => done.push(&column.field),
                // No text is no value, where a text without letters is not one.
                Err(_) if value.as_str().is_some_and(|text| text.trim().is_empty()) => {}
                Err(fault) => faults.push(fault.at(&column.field)),
            }
        }
        if !metadata.is_empty() {
            let mut whole = entry.person.health.metadata.take().unwrap_or_default();
            whole.0.extend(metadata);
            match Metadata::parse(&show(&whole), context) {
                Ok(whole) => entry.person.health.metadata = Some(whole),
                Err(fault) => faults.push(fault.at("metadata")),
            }
        }
        if entry.person.email.is_none() && !faults.iter().any(|fault| fault.field == "email") {
            let message = "email is required".to_owned();
            faults.push(FieldError { field: "email".into(), code: "required", message });
        }
        if faults.is_empty() {
            return Ok(entry);
        }
        let say = |fault: &FieldError| {
            let name = format!("{}: ", fault.field);
            if fault.message.starts_with(&fault.field) { fault.message.clone() } else { name + &fault.message }
        };
        Err(faults.iter().map(say).collect::<Vec<_>>().join("; "))
    }
}

impl Entry {
    fn take(&mut self, field: &str, value: &Value, context: &Context) -> std::result::Result<(), Fault> {
        let name = |value| FilledLine::<256>::parse(value, context).map(|line| Some(Line::from(line).0));
        match field {
            "email_verified" => self.verified = bool::parse(value, context)?,
            "tenant" => self.tenant = name(value)?,
            "role" => self.role = name(value)?,
            "subscriptionDates" => self.person.health.subscription = Some(Course::exported(value, context)?),
            "status" => match value.as_str().map(|text| text.trim().to_ascii_lowercase()).as_deref() {
                Some("active") => {}
                Some("frozen") => self.frozen = true,
                Some("deleted") => return Err(Fault::rule("deleted", "says that the person is deleted")),
                _ => return Err(Fault::rule("enum", "must be one of: active, frozen")),
            },
            "phone_number" if value.as_str().is_some_and(was_a_number) => {
                return Err(Fault::rule("format", "must not end in .0; keep the column as text"));
            }
            field => match fact(field) {
                Some(wire) => (wire.read)(value, context, &mut self.person)?,
                None => return Err(Fault::rule("unknown", "is no field")),
            },
        }
        Ok(())
    }
}

/// Whether a phone number looks as if a program had taken it for a number to count with. Whether the last zero is the program's or
/// the phone's, nobody can tell, and one digit more is somebody else's phone.
fn was_a_number(phone: &str) -> bool {
    let whole = phone.trim().strip_suffix(".0").map(|text| text.strip_prefix('+').unwrap_or(text));
    whole.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use rlibphonenumber::Region;
    use serde_json::json;

    use super::*;

    fn context() -> Context {
        Context { region: Region::US, today: "2026-11-22".parse().unwrap() }
    }

    fn plan(columns: &[&str], said: &[&str]) -> Plan {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Plan::new(&names(columns), &names(said), None).unwrap()
    }

    fn read(plan: &Plan, row: Value) -> std::result::Result<Entry, String> {
        plan.read(row.as_object().unwrap(), &context())
    }

    #[test]
    fn texts_become_what_the_field_is_made_of() {
        let columns =
            ["email", "glp1drugs", "diabetes", "currentWeight", "metadata", "paymentPlan", "acceptedNewsletter"];
        let plan = plan(&columns, &[]);
        let row = json!({"email": "a@b.co", "glp1drugs": "yes", "diabetes": "2", "currentWeight": "130.5",
            "metadata": "{\"a\":{\"b\":1}}", "paymentPlan": "6", "acceptedNewsletter": "0"});
        let entry = read(&plan, row).unwrap();
        let facts = json!([entry.person.health, entry.person.profile]);
        assert_eq!(
            facts,
            json!([
                {"diabetes": 2, "glp1drugs": true, "paymentPlan": 6, "currentWeight": 130.5, "metadata": {"a": {"b": 1}}},
                {"acceptedNewsletter": false}
            ])
        );
    }

    #[test]
    fn of_a_list_nothing_is_lost_without_a_word() {
        let columns = ["email", "allergies", "nutritionPreferences", "tags", "attributes"];
        let plan = plan(&columns, &["tags=metadata.tags", "attributes.doctor=doctorFullname"]);
        let lists = json!({"email": "a@b.co", "allergies": ["canary", "canary"], "nutritionPreferences": ["canary"],
            "attributes": {"doctor": ["canary", "canary"]}});
        let why = read(&plan, lists).unwrap_err();
        assert!(!why.contains("canary"), "{why}");
        for field in ["allergies must", "nutritionPreferences must", "doctorFullname must"] {
            assert!(why.contains(field), "{field} in {why}");
        }
        let row = json!({"email": "a@b.co", "tags": ["a", 2], "attributes": {"doctor": ["Dr. Mike"]}});
        let health = json!(read(&plan, row).unwrap().person.health);
        assert_eq!(health, json!({"doctorFullname": "Dr. Mike", "metadata": {"tags": ["a", 2]}}));
    }

    #[test]
    fn a_phone_number_gets_no_digit_that_a_program_has_put_behind_it() {
        let plan = plan(&["email", "phone"], &[]);
        let read = |phone: Value| read(&plan, json!({"email": "a@b.co", "phone": phone}));
        for phone in ["1701234567.0", "+491701234567.0", " 030123456.0 "] {
            assert_eq!(
                read(json!(phone)).err().as_deref(),
                Some("phone_number must not end in .0; keep the column as text"),
                "{phone}"
            );
        }
        for (phone, number) in [
            (json!(2_025_550_123.0), "2025550123"),
            (json!("202.555.0120"), "202.555.0120"),
            (json!("202 555012.0"), "202 555012.0"),
        ] {
            assert_eq!(json!(read(phone).unwrap().person.phone), number);
        }
        assert!(read(json!(202_555_012.5)).is_err());
    }

    #[test]
    fn what_is_wrong_is_said_by_the_names_of_the_fields_and_all_at_once() {
        let plan = plan(&["email", "phone", "dob", "height", "status"], &[]);
        let row =
            json!({"email": "canary", "phone": "canary", "dob": "canary", "height": "canary", "status": "canary"});
        let why = read(&plan, row).unwrap_err();
        assert!(!why.contains("canary"), "{why}");
        for field in ["email: ", "phone_number: ", "birthdate must", "height must", "status must"] {
            assert!(why.contains(field), "{field} in {why}");
        }
        assert_eq!(read(&plan, json!({"phone": ""})).unwrap_err(), "email is required");
        assert!(
            read(&plan, json!({"email": "a@b.co", "phone": "", "dob": " ", "status": ""})).is_ok(),
            "no value is none"
        );
    }
}
