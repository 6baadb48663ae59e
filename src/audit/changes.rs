//! What changed, and how much of it whoever may not see health data is told.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::field::Wire;
use crate::users::{Health, IDENTITY, Person, Profile};

/// What of health is the subscription's, and no secret of the body.
const PLAN: [&str; 3] = ["paymentPlan", "planStartDate", "subscriptionDates"];

/// Whether the name of a field alone tells of the body, so that it is for nobody who may not see health data.
pub fn tells_of_health(name: &str) -> bool {
    Health::FIELDS.iter().any(|wire| wire.name == name) && !PLAN.contains(&name)
}

/// What changed, as JSON: `{"fields": {"given_name": ["Jane", "Janet"]}, "health": ["currentWeight"]}`. A field whose
/// values are nobody's business later is `"changed"`.
pub struct Changes(pub Value);

crate::secret::redacted!(Changes);

impl Changes {
    /// No fact changed.
    pub fn none() -> Changes {
        Changes(json!({"fields": {}, "health": []}))
    }

    /// The names of the facts that changed, but those of health.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0["fields"].as_object().into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// The names of the facts of health that changed.
    pub fn health(&self) -> impl Iterator<Item = &str> {
        self.0["health"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// The names of the facts that changed, as whoever may not see health data is told them: of health, not even the names, for
    /// which field it was would tell of an illness.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.fields().chain(self.health_words())
    }

    fn health_words(&self) -> impl Iterator<Item = &str> {
        let any = |of_plan: bool| self.health().any(|name| PLAN.contains(&name) == of_plan);
        let words = [(any(true), "subscription"), (any(false), "health")];
        words.into_iter().filter(|(any, _)| *any).map(|(_, word)| word)
    }

    /// The same, with these words for the names of health.
    #[must_use]
    pub fn discreet(&self) -> Changes {
        let health: Vec<&str> = self.health_words().collect();
        let mut told = self.0.clone();
        if !health.is_empty() {
            told["health"] = json!(health);
        }
        Changes(told)
    }

    /// What is different about a person; of health, only which facts are.
    pub(super) fn of_person(before: &Person, after: &Person) -> Changes {
        let changed = |wire: &Wire<Person>| {
            let values = [(wire.show)(before), (wire.show)(after)];
            (values[0] != values[1]).then_some((wire.name, values))
        };
        let fields: Map<String, Value> = Profile::FIELDS
            .iter()
            .chain(IDENTITY)
            .filter_map(changed)
            .map(|(name, values)| (name.to_owned(), json!(values)))
            .collect();
        let health: Vec<&str> = Health::FIELDS.iter().filter_map(changed).map(|(name, _)| name).collect();
        Changes(json!({ "fields": fields, "health": health }))
    }

    /// The change of one field.
    pub fn of_field(name: &str, before: impl Serialize, after: impl Serialize) -> Changes {
        Changes(json!({"fields": {name: [before, after]}, "health": []}))
    }

    /// What is different between two JSON objects about one thing; `null` is a thing that is not there.
    pub fn between(before: &Value, after: &Value) -> Changes {
        let names = before.as_object().into_iter().chain(after.as_object()).flat_map(Map::keys);
        let differ = names.filter(|name| before[name.as_str()] != after[name.as_str()]);
        let fields: Map<String, Value> =
            differ.map(|name| (name.clone(), json!([before[name.as_str()], after[name.as_str()]]))).collect();
        Changes(json!({ "fields": fields, "health": [] }))
    }

    /// The same, telling of these fields only that they changed.
    #[must_use]
    pub fn hiding(&self, names: impl Iterator<Item = &'static str>) -> Changes {
        let mut told = self.0.clone();
        for name in names {
            if let Some(values) = told["fields"].get_mut(name) {
                *values = "changed".into();
            }
        }
        Changes(told)
    }
}
