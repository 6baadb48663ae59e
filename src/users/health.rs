//! The health record: what the coaching programme needs to know (seeds `partner-create-user`,
//! `partner-update-user`). One sealed blob per user; never in a log, a mail, an index or a webhook.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::field::{Context, Day, Fault, Field, Metadata, Prose, choice, record};
use crate::subscriptions::Course;
use crate::users::Person;

/// Free text about a person's health or habits.
pub type Note = Prose<5000>;

record! {
    /// What the programme knows of a person, as the partner API names it.
    pub struct Health = Person.health {
        /// The gender at birth of the user.
        "sex" sex: Sex,
        /// The height in feet and inches, e.g. 6ft 1in.
        "height" height: Height,
        /// Is the user pregnant? False unless said.
        "pregnant" pregnant: bool,
        /// 0 no diabetes, 1 pre-diabetes, 2 type 1, 3 type 2.
        "diabetes" diabetes: Diabetes,
        /// Is the patient taking GLP-1 drugs?
        "glp1drugs" glp1drugs: bool,
        /// Periodicity of the plan in months.
        "paymentPlan" payment_plan: PaymentPlan,
        /// When the programme is supposed to start, from 1900-01-01 to 2199-12-31. May be past.
        "planStartDate" plan_start_date: Day,
        /// When the subscription rests and ends; see [`crate::subscriptions`].
        "subscriptionDates" subscription: Course,
        /// Medical clearance for exercise.
        "medicalClearance" medical_clearance: MedicalClearance,
        /// A description of the medical clearance.
        "medicalClearanceDescription" medical_clearance_description: Note,
        /// The patient's current weight in pounds.
        "currentWeight" current_weight: Pounds,
        /// The patient's desired weight in pounds.
        "desiredWeight" desired_weight: Pounds,
        /// List of allergies.
        "allergies" allergies: Note,
        /// List of preferences.
        "nutritionPreferences" nutrition_preferences: Note,
        /// List of restrictions.
        "religiousDietaryRestrictions" religious_dietary_restrictions: Note,
        /// The full name of the doctor.
        "doctorFullname" doctor_fullname: Prose<256>,
        /// Additional information from the partner's system, replaced as a whole. At most 50 keys of 40 characters an
        /// object, texts of 500 characters, 5 levels of objects and lists below this one, 64 KiB in all.
        "metadata" metadata: Metadata,
    }
}

choice! {
    /// Sex at birth.
    pub enum Sex {
        /// male
        Male = "male",
        /// female
        Female = "female",
        /// intersex
        Intersex = "intersex",
    }
}

choice! {
    /// The deprecated `gender` of the partner API, which knows two.
    pub enum BinaryGender {
        /// male
        Male = "male",
        /// female
        Female = "female",
    }
}

impl From<BinaryGender> for Sex {
    fn from(gender: BinaryGender) -> Sex {
        match gender {
            BinaryGender::Male => Sex::Male,
            BinaryGender::Female => Sex::Female,
        }
    }
}

choice! {
    /// What a doctor has cleared the person for.
    pub enum MedicalClearance {
        /// Everything.
        Full = "full",
        /// Low intensity.
        Low = "low",
        /// Nutrition only.
        Nutrition = "nutrition",
    }
}

/// A height, 1 to 9 feet and 0 to 11 inches, written `5ft 6in`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Height(String);

impl Field for Height {
    fn parse(value: &Value, _: &Context) -> Result<Self, Fault> {
        let text = value.as_str().ok_or_else(|| Fault::kind("a string"))?;
        let number = |digits: &str| match digits.len() {
            1 | 2 if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u8>().ok(),
            _ => None,
        };
        let parts = text.strip_suffix("in").and_then(|rest| rest.split_once("ft "));
        match parts.and_then(|(feet, inches)| Some((number(feet)?, number(inches)?))) {
            Some((feet @ 1..=9, inches @ 0..=11)) => Ok(Height(format!("{feet}ft {inches}in"))),
            Some(_) => Err(Fault::rule("range", "must be 1 to 9 feet and 0 to 11 inches")),
            None => Err(Fault::rule("format", "must be written like 5ft 6in")),
        }
    }
    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^0?[1-9]ft (0?[0-9]|1[01])in$", "examples": ["5ft 6in"]})
    }
}

/// A weight in pounds: above 0, at most 2000. A number, or a text that is one (contract item 2).
#[derive(Clone, Copy, PartialEq, Deserialize)]
pub struct Pounds(f64);

impl Field for Pounds {
    fn parse(value: &Value, _: &Context) -> Result<Self, Fault> {
        let pounds = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => {
                let text = text.trim();
                let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
                    && text.starts_with(|c: char| c.is_ascii_digit());
                if plain { text.parse().ok() } else { None }
            }
            _ => return Err(Fault::kind("a number of pounds")),
        };
        match pounds {
            Some(pounds) if pounds > 0.0 && pounds <= 2000.0 => Ok(Pounds(pounds)),
            Some(_) => Err(Fault::rule("range", "must be above 0 and at most 2000 pounds")),
            None => Err(Fault::rule("format", "must be a number of pounds")),
        }
    }
    fn schema() -> Value {
        json!({"anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": 2000},
            {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]*)?\s*$"}
        ]})
    }
}

/// Whole pounds go out without a fraction: `130`, as they came in.
impl Serialize for Pounds {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_possible_truncation, reason = "at most 2000")]
        if self.0.fract() == 0.0 { s.serialize_i64(self.0 as i64) } else { s.serialize_f64(self.0) }
    }
}

/// One of a few whole numbers.
fn one_of(value: &Value, allowed: &[i64]) -> Result<i64, Fault> {
    let number = value.as_number().ok_or_else(|| Fault::kind("a number"))?;
    number.as_i64().filter(|n| allowed.contains(n)).ok_or_else(|| {
        let words: Vec<String> = allowed.iter().map(i64::to_string).collect();
        Fault::rule("enum", format!("must be one of: {}", words.join(", ")))
    })
}

/// Declares a number out of a few.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident: $allowed:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name(i64);

        impl Field for $name {
            fn parse(value: &Value, _: &Context) -> Result<Self, Fault> {
                one_of(value, $allowed).map($name)
            }
            fn schema() -> Value {
                json!({"type": "integer", "enum": $allowed})
            }
        }

        crate::secret::redacted!($name);
    )+};
}

numbers! {
    /// 0 no diabetes, 1 pre-diabetes, 2 type 1, 3 type 2.
    Diabetes: &[0, 1, 2, 3];
    /// What the create page lists: everything but pre-diabetes (contract item 4).
    DiabetesAtEnrolment: &[0, 2, 3];
    /// Months per payment.
    PaymentPlan: &[1, 6, 12];
}

impl From<DiabetesAtEnrolment> for Diabetes {
    fn from(at_enrolment: DiabetesAtEnrolment) -> Self {
        Diabetes(at_enrolment.0)
    }
}

crate::secret::redacted!(Height, Pounds);
