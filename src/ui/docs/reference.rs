//! The API reference: each operation of the OpenAPI documents as a page in Markdown, with a form to try it. Knows
//! OpenAPI and nothing of this API but what an example value looks like.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::book::Draft;
use crate::api::openapi;

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
}

/// A part of the reference: what it is called, and which operations it holds.
struct Part<'a> {
    slug: String,
    title: String,
    intro: String,
    document: &'a Value,
    of: fn(&str) -> bool,
}

/// The reference, a list of drafts for each part: first the part's own page, then one for each operation.
pub fn parts() -> Vec<Vec<Draft>> {
    let documents = openapi::documents();
    let is_webhook = |path: &str| path.starts_with("/v1/webhooks");
    let mut parts = Vec::new();
    for (at, (name, document)) in documents.iter().enumerate() {
        let about = document["info"]["description"].as_str().unwrap_or_default();
        let intro = format!("{about}\n\nThe document itself: [`/openapi/{name}`](/openapi/{name}).");
        let part = |slug: &str, title: &str, of| Part {
            slug: slug.into(),
            title: title.into(),
            intro: intro.clone(),
            document,
            of,
        };
        match name.strip_prefix("partner/").and_then(|file| file.strip_suffix(".json")) {
            Some(date) if at == 0 => parts.push(part("partner", &format!("Partner API, {date}"), |_| true)),
            Some(date) => parts.push(part(&format!("partner-{date}"), &format!("Partner API, {date}"), |_| true)),
            None if name == "directory.json" => {
                parts.push(part("directory", "Directory API", |path| !path.starts_with("/v1/webhooks")));
                parts.push(part("webhooks", "Webhooks", is_webhook));
            }
            None => parts.push(part(name.trim_end_matches(".json"), "Sign-in", |_| true)),
        }
    }
    // The newest of each first, older dates after them.
    parts.sort_by_key(|part| part.slug.starts_with("partner-"));
    parts.iter().map(pages).collect()
}

fn pages(part: &Part) -> Vec<Draft> {
    let mut index = format!("# {}\n\n{}\n\n| operation | | does |\n|---|---|---|\n", part.title, part.intro);
    let mut pages = Vec::new();
    for (path, methods) in part.document["paths"].as_object().into_iter().flatten().filter(|(path, _)| (part.of)(path))
    {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let (method, id) = (method.to_uppercase(), operation["operationId"].as_str().unwrap_or_default());
            let summary = operation["summary"].as_str().unwrap_or_default();
            let address = format!("reference/{}/{id}", part.slug);
            let _ = writeln!(index, "| `{method}` | [`{path}`](/docs/{address}) | {summary} |");
            let operation = Operation { document: part.document, method: &method, path, about: operation };
            pages.push(Draft {
                path: address,
                name: summary.to_owned(),
                source: operation.page(summary).into(),
                operation: Some((method.clone(), path.clone())),
                try_it: operation.try_it(),
            });
        }
    }
    let first = Draft {
        path: format!("reference/{}", part.slug),
        name: part.title.clone(),
        source: index.into(),
        operation: None,
        try_it: None,
    };
    pages.insert(0, first);
    pages
}

struct Operation<'a> {
    document: &'a Value,
    method: &'a str,
    path: &'a str,
    about: &'a Value,
}

impl Operation<'_> {
    fn page(&self, summary: &str) -> String {
        let mut text = format!("# {summary}\n\n`{} {}`\n\n", self.method, self.path);
        let _ = writeln!(text, "## Credentials\n\n{}", self.credentials());
        let parameters = self.about["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        for (place, title) in [("path", "In the path"), ("query", "In the query"), ("header", "Headers")] {
            let here: Vec<&Value> = parameters.iter().filter(|parameter| parameter["in"] == place).collect();
            if !here.is_empty() {
                let _ = writeln!(text, "\n## {title}\n");
            }
            for parameter in here {
                let rule = if parameter["required"] == true { ", required" } else { "" };
                let _ = writeln!(
                    text,
                    "- `{}` *{}{rule}*  \n  {}",
                    word(&parameter["name"]),
                    self.kind(&parameter["schema"]),
                    word(&parameter["description"])
                );
            }
        }
        let (form, body) = self.body();
        if let Some(body) = body {
            let _ = writeln!(
                text,
                "\n## Body\n\n{} object.\n",
                if form { "A form (`application/x-www-form-urlencoded`), described as an" } else { "A JSON" }
            );
            self.fields(body, 0, &mut text);
        }
        if let Some(example) = self.curl() {
            let _ = writeln!(text, "\n## Example\n\n```sh\n{example}\n```");
        }
        let answer = self.answer();
        if !answer.is_null() {
            let _ = writeln!(text, "\n## Answer\n\n```json output\n{:#}\n```\n", self.example(answer, "", true));
            self.fields(answer, 0, &mut text);
        }
        let _ = writeln!(
            text,
            "\n## Errors\n\nWhat each code means and what to do: [Errors](/docs/errors).\n\n| status | when |\n|---|---|"
        );
        for (status, answer) in
            self.about["responses"].as_object().into_iter().flatten().filter(|(status, _)| *status != "200")
        {
            let _ = writeln!(text, "| {status} | {} |", word(&answer["description"]));
        }
        text
    }

    fn security(&self) -> &Value {
        let own = &self.about["security"];
        if own.is_null() { &self.document["security"] } else { own }
    }

    fn credentials(&self) -> String {
        let schemes = &self.document["components"]["securitySchemes"];
        let either = self.security().as_array().map_or(&[][..], Vec::as_slice);
        let ways: Vec<String> = either
            .iter()
            .filter_map(Value::as_object)
            .filter(|way| !way.is_empty())
            .map(|way| {
                let headers = way.keys().map(|name| {
                    let scheme = &schemes[name];
                    let header =
                        if scheme["type"] == "http" { "Authorization: Bearer …" } else { word(&scheme["name"]) };
                    format!("`{header}`: {}", word(&scheme["description"]))
                });
                format!("- {}", headers.collect::<Vec<_>>().join("  \n  "))
            })
            .collect();
        if ways.is_empty() { "None.".to_owned() } else { ways.join("\n") }
    }

    /// The schema of the body, and whether it is a form.
    fn body(&self) -> (bool, Option<&Value>) {
        let content = self.about["requestBody"]["content"].as_object();
        let found = content.and_then(|content| content.iter().next());
        found.map_or((false, None), |(kind, about)| (kind.contains("form"), Some(self.resolve(&about["schema"]))))
    }

    fn answer(&self) -> &Value {
        let content = self.about["responses"]["200"]["content"].as_object();
        content.and_then(|content| content.values().next()).map_or(&Value::Null, |about| self.resolve(&about["schema"]))
    }

    fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next());
        name.map_or(schema, |name| self.resolve(&self.document["components"]["schemas"][name]))
    }

    /// What may be null, without that; and of several shapes the first.
    fn shape<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let schema = self.resolve(schema);
        let mut shapes = schema["anyOf"].as_array().into_iter().flatten().filter(|shape| shape["type"] != "null");
        match shapes.next() {
            Some(first) if schema["properties"].is_null() => self.shape(first),
            _ => schema,
        }
    }

    /// The fields of an object as a list, objects within it as lists of their own.
    fn fields(&self, schema: &Value, depth: usize, into: &mut String) {
        let schema = self.shape(schema);
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let field = self.resolve(field);
            let (kind, pad) = (self.kind(field), "  ".repeat(depth));
            let rule = rule(schema, name).map(|rule| format!(", {rule}")).unwrap_or_default();
            let _ = writeln!(into, "{pad}- `{name}` *{kind}{rule}*  \n{pad}  {}", word(&field["description"]));
            if depth < 4 {
                let items = &self.shape(field)["items"];
                self.fields(if items.is_null() { field } else { items }, depth + 1, into);
            }
        }
    }

    /// What a value may be, in words.
    fn kind(&self, schema: &Value) -> String {
        let schema = self.resolve(schema);
        if let Some(shapes) = schema["anyOf"].as_array() {
            let mut kinds: Vec<String> = shapes.iter().map(|shape| self.kind(shape)).collect();
            kinds.dedup();
            return kinds.join(" or ");
        }
        if let Some(value) = schema.get("const") {
            return format!("`{value}`");
        }
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<String> = values.iter().map(|value| format!("`{}`", plain(value))).collect();
            return format!("one of {}", values.join(", "));
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().map(word).collect(),
            kind => vec![word(kind)],
        };
        let mut text = kinds.join(" or ");
        if let Some(format) = schema["format"].as_str() {
            let _ = write!(text, " ({format})");
        }
        for (limit, before) in [("minLength", "at least"), ("maxLength", "at most")] {
            if let Some(length) = schema[limit].as_u64().filter(|length| *length > 1) {
                let _ = write!(text, ", {before} {length} characters");
            }
        }
        for (limit, before) in [("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to")] {
            if schema[limit].is_number() {
                let _ = write!(text, ", {before} {}", schema[limit]);
            }
        }
        if schema["items"].is_object() {
            let _ = write!(text, " of {}", self.kind(&schema["items"]));
        }
        text
    }

    /// A value of that schema; of an object all that it must have, or, of an answer, all that it may.
    fn example(&self, schema: &Value, name: &str, whole: bool) -> Value {
        let schema = self.shape(schema);
        let first = |key: &str| schema[key].as_array().and_then(|values| values.first()).cloned();
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
                if object.len() < 2 && !whole {
                    let more: Vec<_> = some.filter(|(name, _)| !object.contains_key(*name)).take(2).collect();
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

    fn takes_app_key(&self) -> bool {
        self.security()[0].get("apiKey").is_some()
    }

    fn curl(&self) -> Option<String> {
        let query: Vec<&str> = self
            .parameters("query")
            .filter(|parameter| parameter["required"] == true)
            .map(|parameter| word(&parameter["name"]))
            .collect();
        let mut path = self.path.to_owned();
        for (name, variable) in [
            ("userId", "$USER_ID"),
            ("appId", "$USHER_CLIENT_ID"),
            ("tenantId", "$TENANT_ID"),
            ("webhookId", "$WEBHOOK_ID"),
            ("deliveryId", "$DELIVERY_ID"),
            ("sessionId", "$SESSION_ID"),
            ("importId", "$IMPORT_ID"),
            ("accessStatus", "0"),
        ] {
            path = path.replace(&format!("{{{name}}}"), variable);
        }
        if path.contains('{') {
            return None;
        }
        let query = if query.is_empty() { String::new() } else { format!("?{}=…", query.join("=…&")) };
        let method = if matches!(self.method, "GET" | "POST") { String::new() } else { format!(" -X {}", self.method) };
        let mut lines = vec![format!("curl{method} \"$USHER_URL{path}{query}\"")];
        if self.takes_app_key() {
            lines.push(
                "-H \"X-API-KEY: $USHER_KEY\" -H \"X-API-KEY-TYPE: write\" -H \"X-CLIENT-ID: $USHER_CLIENT_ID\"".into(),
            );
        } else if self.security().as_array().is_some_and(|ways| !ways.is_empty()) {
            let token = if self.path.contains("userinfo") { "$ACCESS_TOKEN" } else { "$USHER_KEY" };
            lines.push(format!("-H \"Authorization: Bearer {token}\""));
        }
        let (form, body) = self.body();
        match body.map(|body| self.example(body, "", false)) {
            Some(Value::Object(fields)) if form => {
                lines.extend(fields.iter().map(|(name, value)| format!("-d {name}={}", plain(value))));
            }
            Some(body) => lines.push(format!("-H 'Content-Type: application/json' -d '{body:#}'")),
            None if self.method == "POST" => lines.push("-X POST".into()),
            None => {}
        }
        Some(lines.join(" \\\n  "))
    }

    fn parameters(&self, place: &str) -> impl Iterator<Item = &Value> {
        let place = place.to_owned();
        self.about["parameters"].as_array().into_iter().flatten().filter(move |parameter| parameter["in"] == place)
    }

    /// The form, if a key opens the operation: codes and refresh tokens come out of a browser's sign-in.
    fn try_it(&self) -> Option<TryIt> {
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
            }));
        }
        let body = self.body().1.map(|body| format!("{:#}", self.example(body, "", false)));
        Some(TryIt { method: self.method.to_owned(), path: self.path.to_owned(), app_key, fields, body })
    }
}

/// Whether an object must have the field, and if another one can stand in, which.
fn rule(schema: &Value, name: &str) -> Option<String> {
    let names = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|name| word(name).to_owned()).collect()
    };
    if names(&schema["required"]).iter().any(|required| required == name) {
        return Some("required".into());
    }
    let eithers = schema["allOf"].as_array().into_iter().flatten();
    let mut others =
        eithers.filter(|either| names(&either["anyOf"][0]["required"]).iter().any(|required| required == name));
    others.next().map(|either| format!("required unless `{}`", names(&either["anyOf"][1]["required"]).join("`, `")))
}

fn is_required(schema: &Value, name: &str) -> bool {
    rule(schema, name).is_some()
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
        "planStartDate" => json!("2026-12-01"),
        "cancellationDate" => json!("2026-12-31"),
        "pauseUntil" => json!("2026-12-24"),
        "currentWeight" | "weight" => json!(130),
        "height" => json!("5ft 6in"),
        "sex" | "gender" => json!("female"),
        "language" => json!("en"),
        "metadata" => json!({"clinic": "north"}),
        "nickname" => json!("Janie"),
        "url" => json!("https://crm.example.com/usher"),
        "events" => json!(["user.created"]),
        "since" => json!("2026-11-21T00:00:00Z"),
        "requestId" => json!("5c0fd6e6-6a58-4d22-9d3f-1f5c1a1c3f5e"),
        _ => return None,
    })
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A value as one writes it in a query or says it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
