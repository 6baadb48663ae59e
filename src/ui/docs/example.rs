//! What a request of an operation looks like: its example, and the form that sends it. Knows what an example value of this API
//! looks like, and where its errors are explained.

use serde_json::{Map, Value, json};

use super::reference::{Operation, is_form, is_required, plain, word};
use super::request::{Body, Request};

/// What stands below the credentials of an operation.
pub(super) const ABOUT_CREDENTIALS: &str =
    "Where they come from, and who may do what: [Credentials](/docs/api#credentials).";

/// What stands above every example.
pub(super) const ABOUT_EXAMPLES: &str = "\
    The [first start](/docs/quick-start) prints what begins with `USHER_`; other variables are yours to set. The Rust needs \
    `serde_json`, and `ureq` with its feature `json`.";

/// What stands above the statuses of an operation's errors.
pub(super) const ABOUT_ERRORS: &str = "\
    Each status leads to its codes, with cause and cure. How an error looks: [The rules of the APIs](/docs/api#errors).";

/// A form that sends one operation to the sandbox.
pub struct TryIt {
    /// Its method.
    pub method: String,
    /// Its path, with `{parameters}`.
    pub path: String,
    /// Whether it takes the three headers of an app's server, or a bearer.
    pub app_key: bool,
    /// What it takes in path, query and headers.
    pub fields: Vec<Field>,
    /// What its body may look like.
    pub body: Option<String>,
    /// And what kind of a body that is.
    pub content_type: String,
}

/// One field of that form.
pub struct Field {
    /// Its name.
    pub name: String,
    /// `path`, `query` or `header`.
    pub place: String,
    /// Whether it must be filled in.
    pub required: bool,
    /// What to choose from, if not everything goes.
    pub options: Vec<String>,
    /// What is chosen at first.
    pub chosen: String,
}

impl Operation<'_> {
    /// A value of that schema; of an object all that it must have and a little more, or, of an answer, all that it may.
    pub(super) fn example(&self, schema: &Value, name: &str, whole: bool) -> Value {
        let schema = self.shape(schema);
        let first = |key: &str| schema[key].as_array().and_then(|values| values.first()).cloned();
        let known = |name: &str| known(name).or_else(|| variable(name).filter(|_| !whole).map(Value::from));
        if let Some(value) =
            schema.get("const").cloned().or_else(|| known(name)).or_else(|| first("examples")).or_else(|| first("enum"))
        {
            return value;
        }
        match schema["type"].as_str() {
            Some("object") => {
                let fields = schema["properties"].as_object().cloned().unwrap_or_default();
                let must = fields.iter().filter(|(name, _)| whole || is_required(schema, name));
                let mut object: Map<String, Value> =
                    must.map(|(name, field)| (name.clone(), self.example(field, name, whole))).collect();
                let some = fields.iter().filter(|(name, field)| known(name).is_some() && field["deprecated"] != true);
                if object.len() < 3 && !whole {
                    let more: Vec<_> = some.filter(|(name, _)| !object.contains_key(*name)).take(3).collect();
                    object
                        .extend(more.into_iter().map(|(name, field)| (name.clone(), self.example(field, name, whole))));
                }
                Value::Object(object)
            }
            Some("array") => json!([self.example(&schema["items"], name, whole)]),
            Some("integer" | "number") => schema["default"].as_i64().or(schema["minimum"].as_i64()).unwrap_or(1).into(),
            Some("boolean") => json!(false),
            Some("null") => Value::Null,
            _ => match schema["format"].as_str() {
                Some("uuid") => json!("0199d3a4-7c1e-4f5a-9b21-3f0a6b1c2d3e"),
                Some("date") => json!("2026-11-21"),
                Some("date-time") => json!("2026-11-21T12:00:00.000Z"),
                _ => json!("…"),
            },
        }
    }

    /// The API date of its document, if that has one.
    fn date(&self) -> Option<&str> {
        let is_dated = self.security()[0].get("partnerKey").is_some();
        is_dated.then(|| word(&self.document["info"]["version"]))
    }

    fn takes_app_key(&self) -> bool {
        self.security()[0].get("apiKey").is_some()
    }

    /// The request that its page shows.
    pub(super) fn request(&self) -> Request {
        let mut path = self.path.to_owned();
        for parameter in self.parameters("path") {
            let name = word(&parameter["name"]);
            path = path.replace(&format!("{{{name}}}"), &in_path(name));
        }
        let mut headers = Map::new();
        let mut header = |name: &str, value: &str| _ = headers.insert(name.to_owned(), value.into());
        if self.takes_app_key() {
            header("X-API-KEY", "$USHER_KEY");
            header("X-API-KEY-TYPE", "write");
            header("X-CLIENT-ID", "$USHER_CLIENT_ID");
        } else if self.security()[0].get("accessToken").is_some() {
            header("Authorization", "Bearer $ACCESS_TOKEN");
        } else if let Some(date) = self.date() {
            header("Authorization", "Bearer $USHER_KEY");
            header("Usher-Version", date);
        }
        let body = self.body().map(|(kind, value)| match value {
            Value::Object(fields) if is_form(kind) => Body::Form(fields),
            Value::String(text) => Body::File(kind.to_owned(), text),
            value => Body::Json(value),
        });
        Request { method: self.method.to_owned(), path, headers, body }
    }

    fn parameters(&self, place: &str) -> impl Iterator<Item = &Value> {
        let place = place.to_owned();
        self.about["parameters"].as_array().into_iter().flatten().filter(move |parameter| parameter["in"] == place)
    }

    /// The form, if a key opens the operation: codes and refresh tokens come out of a browser's sign-in.
    pub(super) fn try_it(&self) -> Option<TryIt> {
        let app_key = self.takes_app_key();
        if !app_key && self.security()[0].get("partnerKey").is_none() {
            return None;
        }
        let mut fields = Vec::new();
        for place in ["path", "query", "header"] {
            fields.extend(self.parameters(place).map(|parameter| Field {
                name: word(&parameter["name"]).to_owned(),
                place: place.to_owned(),
                required: parameter["required"] == true,
                options: match parameter["schema"]["type"].as_str() {
                    Some("boolean") => vec!["true".into(), "false".into()],
                    _ => parameter["schema"]["enum"].as_array().into_iter().flatten().map(plain).collect(),
                },
                chosen: self.date().filter(|_| parameter["name"] == "Usher-Version").unwrap_or_default().to_owned(),
            }));
        }
        let (content_type, body) = self.body().unzip();
        Some(TryIt {
            method: self.method.to_owned(),
            path: self.path.to_owned(),
            app_key,
            fields,
            body: body.map(|body| plain(&body)),
            content_type: content_type.unwrap_or_default().to_owned(),
        })
    }
}

/// A status of an error, as a link to its codes.
pub(super) fn explained(status: &str) -> String {
    format!("[{status}](/docs/errors#status-{status})")
}

/// What the field of that name holds in examples.
fn known(name: &str) -> Option<Value> {
    Some(match name {
        "email" => json!("jane@doe.com"),
        "firstname" | "given_name" => json!("Jane"),
        "lastname" | "family_name" => json!("Doe"),
        "phonenumber" => json!("202 555 0143"),
        "phone_number" => json!("+1 202 555 0143"),
        "dateOfBirth" | "birthdate" => json!("1990-12-23"),
        "planStartDate" => json!("2023-10-30"),
        "cancellationDate" => json!("2026-12-31"),
        "pauseUntil" => json!("2026-12-24"),
        "currentWeight" | "weight" => json!(130),
        "height" => json!("5ft 6in"),
        "sex" | "gender" => json!("female"),
        "language" => json!("en"),
        "metadata" => json!({"clinic": "north"}),
        "nickname" => json!("Janie"),
        "companyName" => json!("Clinic North"),
        "url" => json!("https://crm.example.com/usher"),
        "events" => json!(["user.created"]),
        "since" => json!("2026-11-21T00:00:00Z"),
        "grant_type" => json!("authorization_code"),
        "redirect_uri" => json!("https://app.example.com/callback"),
        "requestId" => json!("5c0fd6e6-6a58-4d22-9d3f-1f5c1a1c3f5e"),
        _ => return None,
    })
}

/// The variable of the reader's shell that holds what only they have.
fn variable(name: &str) -> Option<&'static str> {
    Some(match name {
        "client_id" => "$USHER_CLIENT_ID",
        "code" => "$CODE",
        "code_verifier" => "$CODE_VERIFIER",
        "token" => "$REFRESH_TOKEN",
        "userRoleId" => "$ROLE_ID",
        _ => return None,
    })
}

/// What stands in a path for the parameter of that name: a value, or the variable that is called like it.
fn in_path(name: &str) -> String {
    match name {
        "appId" => "$USHER_CLIENT_ID".to_owned(),
        "accessStatus" => "0".to_owned(),
        name => name.chars().fold("$".to_owned(), |variable, c| {
            let between = if c.is_uppercase() { "_" } else { "" };
            format!("{variable}{between}{}", c.to_ascii_uppercase())
        }),
    }
}
