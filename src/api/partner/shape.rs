//! The shapes of the partner API's bodies: which fields, in which order, required or not.

use serde_json::{Map, Value, json};

use crate::api::versions::Shapes;
use crate::error::{FieldError, Result};
use crate::field::{BirthDay, Context, Day, Field, FilledLine, Wire, judge, wire};
use crate::subscriptions::{Ask, Wanted};
use crate::users::health::{BinaryGender, DiabetesAtEnrolment, Health, Note, PaymentPlan, Pounds};
use crate::users::{Email, Person, Phone};

wire! {
    /// The facts that the partner API names in its own way. The others have their names from [`Health`].
    const PARTNER_NAMES: Person {
        /// The email address of the user (unique ID).
        "email" email: Email,
        /// The firstname of the user.
        "firstname" profile.given_name: FilledLine<256>,
        /// The lastname of the user.
        "lastname" profile.family_name: FilledLine<256>,
        /// The phone number of the user, unique: 7 to 15 digits, maybe with spaces, dashes, dots and parentheses, and a +
        /// before a country code. Without one it is in the app's region.
        "phonenumber" phone: Phone,
        /// The date of birth of the user, from 1900-01-01, not in the future.
        "dateOfBirth" profile.birthdate: BirthDay,
        /// The weight in pounds.
        "weight" health.current_weight: Pounds,
    }
}

wire! {
    /// What the create page allows less of than the update page.
    const AT_ENROLMENT: Person {
        /// 0 no diabetes, 2 type 1, 3 type 2. Pre-diabetes can be told by an update only.
        "diabetes" health.diabetes: DiabetesAtEnrolment,
    }
}

/// The deprecated name of `sex`. It has no word for intersex, so such a person's `gender` is shown as null.
const GENDER: Wire<Person> = Wire {
    name: "gender",
    about: "The gender at birth of the user. Deprecated: use sex, which wins if both are sent.",
    schema: BinaryGender::schema,
    read: |value, context, person| {
        person.health.sex = Some(BinaryGender::parse(value, context)?.into());
        Ok(())
    },
    show: |person| {
        let sex = person.health.sex.as_ref().map(crate::field::show)?;
        (sex != "intersex").then_some(sex)
    },
    clear: |person| person.health.sex = None,
};

const DEPRECATED: &[Wire<Person>] = &[GENDER];

wire! {
    /// What may be asked of a subscription.
    const SUBSCRIPTION: Ask {
        /// The email address of the user.
        "email" email: Email,
        /// Periodicity of the plan in months.
        "paymentPlan" payment_plan: PaymentPlan,
        /// When the programme is supposed to start, from 1900-01-01 to 2199-12-31. May be past.
        "planStartDate" plan_start_date: Day,
        /// How the subscription is to stand: `active` resumes a paused one, takes back a cancellation that is to come, and,
        /// with a planStartDate, begins one anew that is over; `paused` from today, until pauseUntil if that is there;
        /// `cancelled` at the end of today.
        "subscriptionStatus" status: Wanted,
        /// The day on which the subscription runs again by itself. Without it, the pause lasts until subscriptionStatus is
        /// set to active.
        "pauseUntil" pause_until: Day,
        /// The last day of service, in UTC. May be past.
        "cancellationDate" last_day: Day,
        /// Why it ends.
        "cancellationReason" reason: Note,
    }
}

/// The newest shapes. `name` is required, `name?` is optional, `name|other` is required unless `other` is sent.
pub fn newest() -> Shapes {
    Shapes {
        create: Shape::new(
            &[AT_ENROLMENT, PARTNER_NAMES, Health::FIELDS, DEPRECATED],
            &[
                "email",
                "firstname",
                "lastname",
                "phonenumber",
                "dateOfBirth",
                "gender?",
                "sex|gender",
                "height",
                "pregnant?",
                "diabetes",
                "glp1drugs",
                "paymentPlan",
                "planStartDate",
                "medicalClearance",
                "medicalClearanceDescription?",
                "currentWeight",
                "desiredWeight?",
                "allergies?",
                "nutritionPreferences?",
                "religiousDietaryRestrictions?",
                "doctorFullname?",
                "metadata?",
            ],
        ),
        update: Shape::new(
            &[PARTNER_NAMES, Health::FIELDS, DEPRECATED],
            &["email", "diabetes?", "glp1drugs?", "doctorFullname?", "medicalClearanceDescription?", "metadata?"],
        ),
        retrieve: Shape::new(&[PARTNER_NAMES], &["email"]),
        retrieved: Shape::new(
            &[PARTNER_NAMES, Health::FIELDS, DEPRECATED],
            &[
                "email",
                "firstname?",
                "lastname?",
                "phonenumber?",
                "dateOfBirth?",
                "gender?",
                "height?",
                "weight?",
                "pregnant?",
                "metadata?",
            ],
        ),
        plan: Shape::new(
            &[SUBSCRIPTION],
            &["email", "paymentPlan?", "planStartDate?", "subscriptionStatus?", "pauseUntil?"],
        ),
        pause: Shape::new(&[SUBSCRIPTION], &["email", "pauseUntil?"]),
        cancel: Shape::new(&[SUBSCRIPTION], &["email", "cancellationDate", "cancellationReason?"]),
    }
}

/// The user as they are retrieved: what the programme has measured and agreed with them stands before the metadata
/// (contract A4). Usher records none of it, so there is none.
pub fn retrieved(shape: &Shape, person: &Person) -> Value {
    let mut shown = shape.show(person);
    put_before_metadata(&mut shown, "bodyProfile", json!([]));
    put_before_metadata(&mut shown, "goals", json!([]));
    shown
}

/// The same in a schema. The spellings are the documented ones.
pub fn retrieved_schema(shape: &Shape) -> Value {
    let list = |about: &str, properties: Value| {
        json!({
            "type": "array", "description": about, "items": {"type": "object", "properties": properties}
        })
    };
    let (text, number) = (json!({"type": "string"}), json!({"type": "number"}));
    let mut schema = shape.answer_schema();
    put_before_metadata(
        &mut schema["properties"],
        "bodyProfile",
        list(
            "What was measured. Empty: Usher does not record it.",
            json!({
                "waist": number, "measurmentDate": text, "energyLevel": {"enum": [1, 2, 3]}, "heartRate": number,
                "selfFeeling": {"enum": [1, 2, 3, 4, 5]}, "weight": number
            }),
        ),
    );
    put_before_metadata(
        &mut schema["properties"],
        "goals",
        list(
            "What was agreed. Empty: Usher does not record it.",
            json!({
                "goalId": text, "assignementTime": text, "category": {"enum": ["Core", "Additional", "Obstacle"]},
                "subCategory": {"enum": ["Nutrition", "Activity", "General"]},
                "days": {"type": "array", "items": {"enum": [1, 2, 3, 4, 5, 6, 7]}}, "dayPerWeek": number, "description": text,
                "goal": text, "status": text, "title": text,
                "tracking": {"type": "array", "items": {"type": "object", "properties": {"date": text, "progress": text}}}
            }),
        ),
    );
    schema["required"] = schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
    schema
}

fn put_before_metadata(object: &mut Value, name: &str, value: Value) {
    let Some(map) = object.as_object_mut() else { return };
    let place = map.keys().position(|key| key == "metadata").unwrap_or(map.len());
    map.shift_insert(place, name.to_owned(), value);
}

/// The fields of one body, in their documented order.
pub struct Shape<T: 'static = Person> {
    tables: &'static [&'static [Wire<T>]],
    fields: Vec<Use<T>>,
}

impl<T> Clone for Shape<T> {
    fn clone(&self) -> Self {
        Shape { tables: self.tables, fields: self.fields.iter().map(Use::clone).collect() }
    }
}

struct Use<T: 'static> {
    wire: &'static Wire<T>,
    need: Need,
}

impl<T> Clone for Use<T> {
    fn clone(&self) -> Self {
        Use { wire: self.wire, need: self.need.clone() }
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Need {
    Required,
    RequiredUnless(&'static str),
    Optional,
}

impl<T: Default> Shape<T> {
    fn new(tables: &'static [&'static [Wire<T>]], fields: &[&'static str]) -> Shape<T> {
        let mut shape = Shape { tables, fields: Vec::new() };
        shape.replace(fields);
        shape
    }

    /// Takes these fields instead of all that were.
    pub fn replace(&mut self, fields: &[&'static str]) {
        self.fields = fields.iter().map(|spec| self.parse(spec)).collect();
    }

    /// Takes these fields in the places of those of the same name.
    pub fn change(&mut self, fields: &[&'static str]) {
        for spec in fields {
            let changed = self.parse(spec);
            let place = self.place(changed.wire.name);
            self.fields[place] = changed;
        }
    }

    /// Adds a field before the one of that name.
    pub fn insert_before(&mut self, name: &str, spec: &'static str) {
        let place = self.place(name);
        self.fields.insert(place, self.parse(spec));
    }

    /// Reads a body, with every fault noted. Fields that the shape does not have are ignored.
    ///
    /// # Errors
    /// [`crate::error::Error::Invalid`].
    pub fn read(&self, body: &Map<String, Value>, context: &Context) -> Result<T> {
        let mut facts = T::default();
        let mut faults = Vec::new();
        for Use { wire, need } in &self.fields {
            let missing = !body.contains_key(wire.name);
            let required = match need {
                Need::Required => true,
                Need::RequiredUnless(other) => !body.contains_key(*other),
                Need::Optional => false,
            };
            if missing && required {
                faults.push(FieldError {
                    field: wire.name.to_owned(),
                    code: "required",
                    message: format!("{} is required", wire.name),
                });
            }
            wire.take(body, context, &mut facts, &mut faults);
        }
        judge(facts, faults)
    }

    /// The stored facts in this shape: null where nothing is known, `{}` for metadata.
    pub fn show(&self, facts: &T) -> Value {
        let unknown = |wire: &Wire<T>| if wire.name == "metadata" { json!({}) } else { Value::Null };
        let entry = |field: &Use<T>| {
            (field.wire.name.to_owned(), (field.wire.show)(facts).unwrap_or_else(|| unknown(field.wire)))
        };
        Value::Object(self.fields.iter().map(entry).collect())
    }

    /// The request as JSON Schema.
    pub fn request_schema(&self) -> Value {
        let required: Vec<&str> =
            self.fields.iter().filter(|f| f.need == Need::Required).map(|f| f.wire.name).collect();
        let mut schema = json!({"type": "object", "properties": self.properties(false), "required": required});
        let either: Vec<Value> = self
            .fields
            .iter()
            .filter_map(|field| match field.need {
                Need::RequiredUnless(other) => {
                    Some(json!({"anyOf": [{"required": [field.wire.name]}, {"required": [other]}]}))
                }
                _ => None,
            })
            .collect();
        if !either.is_empty() {
            schema["allOf"] = Value::Array(either);
        }
        schema
    }

    /// The stored state as JSON Schema.
    pub fn answer_schema(&self) -> Value {
        let names: Vec<&str> = self.fields.iter().map(|f| f.wire.name).collect();
        json!({"type": "object", "properties": self.properties(true), "required": names})
    }

    fn properties(&self, nullable: bool) -> Map<String, Value> {
        let property = |field: &Use<T>| {
            let mut schema = (field.wire.schema)();
            if nullable && field.need == Need::Optional && field.wire.name != "metadata" {
                schema = json!({"anyOf": [schema, {"type": "null"}]});
            }
            schema["description"] = field.wire.about.trim().into();
            if field.wire.name == "gender" {
                schema["deprecated"] = true.into();
            }
            (field.wire.name.to_owned(), schema)
        };
        self.fields.iter().map(property).collect()
    }

    fn parse(&self, spec: &'static str) -> Use<T> {
        let (name, need) = match (spec.strip_suffix('?'), spec.split_once('|')) {
            (Some(name), _) => (name, Need::Optional),
            (None, Some((name, other))) => (name, Need::RequiredUnless(other)),
            (None, None) => (spec, Need::Required),
        };
        Use { wire: self.wire(name), need }
    }

    fn wire(&self, name: &str) -> &'static Wire<T> {
        let mut wires = self.tables.iter().copied().flatten();
        wires.find(|wire| wire.name == name).unwrap_or_else(|| panic!("no partner field is called {name}"))
    }

    fn place(&self, name: &str) -> usize {
        self.fields.iter().position(|f| f.wire.name == name).unwrap_or_else(|| panic!("the shape has no field {name}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::api::versions::ApiDate;

    #[test]
    fn every_date_has_its_shapes_and_no_field_twice() {
        for date in ApiDate::all() {
            for shape in [&date.shapes().create, &date.shapes().update] {
                let mut names: Vec<&str> = shape.fields.iter().map(|field| field.wire.name).collect();
                let all = names.len();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), all, "{}", date.as_str());
            }
        }
    }
}
