//! The API reference: each operation of the OpenAPI documents as a page in Markdown. Knows OpenAPI and nothing of this API.

use std::fmt::Write;

use serde_json::Value;

use super::book::Draft;
use super::example::{ABOUT_CREDENTIALS, ABOUT_ERRORS, ABOUT_EXAMPLES, explained};
use crate::api::openapi;

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
    let mut index = format!("# {}\n\n{}\n\n| method | operation | does |\n|---|---|---|\n", part.title, part.intro);
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

/// An operation of a document.
pub(super) struct Operation<'a> {
    pub(super) document: &'a Value,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) about: &'a Value,
}

impl Operation<'_> {
    fn page(&self, summary: &str) -> String {
        let mut text = format!("# {summary}\n\n`{} {}`\n\n", self.method, self.path);
        let _ = writeln!(text, "## Credentials\n\n{}", self.credentials());
        let _ = writeln!(text, "\n## Example\n\n{ABOUT_EXAMPLES}\n\n{}", self.request().blocks().trim_end());
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
        let bodies = self.bodies();
        if let [(kind, body)] = bodies[..] {
            let _ = writeln!(
                text,
                "\n## Body\n\n{} object.\n",
                if is_form(kind) { "A form (`application/x-www-form-urlencoded`), described as an" } else { "A JSON" }
            );
            self.fields(body, 0, &mut text);
        } else if !bodies.is_empty() {
            let _ = writeln!(text, "\n## Body\n\nOne of these.\n");
            for (kind, body) in bodies {
                let _ = writeln!(text, "- `{kind}`: {}", word(&body["description"]));
            }
        }
        let (status, answer) = self.success();
        let _ = writeln!(text, "\n## Answer\n\n`{status}`: {}", word(&answer["description"]));
        let content = answer["content"].as_object().and_then(|content| content.values().next());
        if let Some(body) = content.map(|content| self.resolve(&content["schema"])) {
            let _ = writeln!(text, "\n```json output\n{:#}\n```\n", self.example(body, "", true));
            self.fields(body, 0, &mut text);
        }
        let headers = answer["headers"].as_object().filter(|headers| !headers.is_empty());
        if headers.is_some() {
            let _ = writeln!(text, "\n### Headers of the answer\n");
        }
        for (name, header) in headers.into_iter().flatten() {
            let (kind, about) = (self.kind(&header["schema"]), word(&header["description"]));
            let _ = writeln!(text, "- `{name}` *{kind}*  \n  {about}");
        }
        let _ = writeln!(text, "\n## Errors\n\n{ABOUT_ERRORS}\n\n| status | when |\n|---|---|");
        let failures = self.responses().filter(|(status, _)| !status.starts_with('2'));
        for (status, answer) in failures {
            let _ = writeln!(text, "| {} | {} |", explained(status), word(&answer["description"]));
        }
        text
    }

    pub(super) fn security(&self) -> &Value {
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
        if ways.is_empty() {
            return "None.".to_owned();
        }
        let choice = if ways.len() > 1 { "One of these.\n\n" } else { "" };
        format!("{choice}{}\n\n{ABOUT_CREDENTIALS}", ways.join("\n"))
    }

    /// Each kind of body that it takes, with its schema.
    fn bodies(&self) -> Vec<(&str, &Value)> {
        let content = self.about["requestBody"]["content"].as_object().into_iter().flatten();
        content.map(|(kind, about)| (kind.as_str(), self.resolve(&about["schema"]))).collect()
    }

    /// What its body may look like, of the first kind.
    pub(super) fn body(&self) -> Option<(&str, Value)> {
        let (kind, schema) = *self.bodies().first()?;
        Some((kind, self.example(schema, "", false)))
    }

    fn responses(&self) -> impl Iterator<Item = (&str, &Value)> {
        let responses = self.about["responses"].as_object().into_iter().flatten();
        responses.map(|(status, answer)| (status.as_str(), answer))
    }

    /// What it answers when all is well, with the status.
    fn success(&self) -> (&str, &Value) {
        self.responses().find(|(status, _)| status.starts_with('2')).unwrap_or(("", &Value::Null))
    }

    fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next());
        name.map_or(schema, |name| self.resolve(&self.document["components"]["schemas"][name]))
    }

    /// What may be null, without that; and of several shapes the first.
    pub(super) fn shape<'s>(&'s self, schema: &'s Value) -> &'s Value {
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

pub(super) fn is_required(schema: &Value, name: &str) -> bool {
    rule(schema, name).is_some()
}

pub(super) fn is_form(kind: &str) -> bool {
    kind.contains("form")
}

pub(super) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A value as one writes it.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned)
}
