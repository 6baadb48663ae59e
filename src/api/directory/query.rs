//! Queries of lists, read strictly: a filter that is misspelt and ignored would list everyone.

use std::fmt::Display;

use serde_json::Value;
use url::form_urlencoded;

use crate::clock::Timestamp;
use crate::error::{FieldError, Result};
use crate::field::{Context, Field, judge};
use crate::place::MOST;
use crate::users::Range;

/// The parameters of a query that nobody has asked for yet.
pub struct Query {
    left: Vec<(String, String)>,
    faults: Vec<FieldError>,
}

impl Query {
    /// Reads the query of an address. The official client sends `test` with everything; lists have no use for it.
    pub fn new(query: Option<&str>) -> Query {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned();
        Query { left: pairs.filter(|(name, _)| name != "test").collect(), faults: Vec::new() }
    }

    /// Takes a parameter that `read` understands, or notes what it must be.
    pub fn take<T>(&mut self, name: &str, must_be: impl Display, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let place = self.left.iter().position(|(key, _)| key == name)?;
        let (_, text) = self.left.swap_remove(place);
        let value = read(&text);
        if value.is_none() {
            self.faults.push(FieldError {
                field: name.into(),
                code: "format",
                message: format!("{name} must be {must_be}"),
            });
        }
        value
    }

    /// Takes every parameter of that name, in their order.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        self.left.extract_if(.., |(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// Takes a parameter that is a field.
    pub fn field<T: Field>(&mut self, name: &str, must_be: &str, context: &Context) -> Option<T> {
        self.take(name, must_be, |text| T::parse(&Value::from(text), context).ok())
    }

    /// Takes a span of time: `<name>_from`, and `<name>_to`, which is not in it.
    pub fn range(&mut self, name: &str) -> Range {
        let mut time = |end: &str| self.take(&format!("{name}_{end}"), "a day or an RFC 3339 time", Timestamp::parse);
        Range { from: time("from"), to: time("to") }
    }

    /// Takes the length of a page.
    pub fn limit(&mut self) -> i64 {
        self.limit_or(50)
    }

    /// The same, with another length where none is asked for.
    pub fn limit_or(&mut self, usual: i64) -> i64 {
        let read = |text: &str| text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
        self.take("limit", format!("a number from 1 to {MOST}"), read).unwrap_or(usual)
    }

    /// Takes the place where the page begins.
    pub fn cursor(&mut self) -> Option<String> {
        self.take("cursor", "a nextCursor", |text| Some(text.to_owned()))
    }

    /// Gives `value` if every parameter was understood.
    ///
    /// # Errors
    /// All that were not, and those that nobody asked for.
    pub fn end<T>(mut self, value: T) -> Result<T> {
        if !self.left.is_empty() {
            let message = "The query has a parameter that is unknown here, or one twice".to_owned();
            self.faults.push(FieldError { field: "query".into(), code: "format", message });
        }
        judge(value, self.faults)
    }
}
