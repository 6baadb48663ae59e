//! A request as an example, in each language that examples are given in. Knows no operation and no document.
//!
//! What only the reader has stands in its texts as `$VARIABLE`, which each language takes from the environment.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::reference::word;

/// A request.
pub struct Request {
    /// Its method.
    pub method: String,
    /// Where it goes, below the server's address.
    pub path: String,
    /// Its headers but `Content-Type`, which its body has.
    pub headers: Map<String, Value>,
    /// What it sends.
    pub body: Option<Body>,
}

/// What a request sends.
pub enum Body {
    /// `application/json`.
    Json(Value),
    /// `application/x-www-form-urlencoded`.
    Form(Map<String, Value>),
    /// A file as it is, and of what type.
    File(String, String),
}

impl Request {
    /// The request in every language, as blocks of Markdown that belong together.
    pub fn blocks(&self) -> String {
        let mut text = String::new();
        for (language, code) in
            [("sh", self.curl()), ("javascript", self.javascript()), ("python", self.python()), ("rust", self.rust())]
        {
            let _ = writeln!(text, "```{language}\n{code}\n```");
        }
        text
    }

    fn url(&self) -> String {
        format!("$USHER_URL{}", self.path)
    }

    fn curl(&self) -> String {
        let method = match (&*self.method, &self.body) {
            ("GET", None) | ("POST", Some(_)) => String::new(),
            (method, _) => format!(" -X {method}"),
        };
        let mut lines = vec![format!("curl{method} {}", in_shell(&self.url()))];
        lines.extend(self.headers.iter().map(|(name, value)| format!("-H {}", in_shell(&joined(name, ": ", value)))));
        match &self.body {
            Some(Body::Json(value)) => {
                lines
                    .extend(["-H 'Content-Type: application/json'".to_owned(), format!("-d {}", json_in_shell(value))]);
            }
            Some(Body::Form(fields)) => lines.extend(
                fields.iter().map(|(name, value)| format!("--data-urlencode {}", in_shell(&joined(name, "=", value)))),
            ),
            // As it is, line breaks too.
            Some(Body::File(kind, text)) => {
                lines.extend([format!("-H 'Content-Type: {kind}'"), format!("--data-binary {}", as_it_is(text))]);
            }
            None => {}
        }
        lines.join(" \\\n  ")
    }

    fn javascript(&self) -> String {
        let mut options = String::new();
        if self.method != "GET" {
            let _ = writeln!(options, "  method: \"{}\",", self.method);
        }
        let mut headers = self.headers.clone();
        let body = match &self.body {
            Some(Body::Json(value)) => {
                headers.insert("Content-Type".into(), "application/json".into());
                Some(format!("JSON.stringify({})", JAVASCRIPT.value(value, 1)))
            }
            Some(Body::Form(fields)) => Some(format!("new URLSearchParams({})", JAVASCRIPT.object(fields, 1))),
            Some(Body::File(kind, text)) => {
                headers.insert("Content-Type".into(), kind.as_str().into());
                Some(quoted(text))
            }
            None => None,
        };
        if !headers.is_empty() {
            let _ = writeln!(options, "  headers: {},", JAVASCRIPT.object(&headers, 1));
        }
        if let Some(body) = body {
            let _ = writeln!(options, "  body: {body},");
        }
        let url = javascript(&self.url());
        format!("const answer = await fetch({url}, {{\n{options}}});\nconsole.log(answer.status, await answer.text());")
    }

    fn python(&self) -> String {
        let (mut headers, mut modules) = (self.headers.clone(), "os, urllib.request");
        let body = match &self.body {
            Some(Body::Json(value)) => {
                modules = "json, os, urllib.request";
                headers.insert("Content-Type".into(), "application/json".into());
                Some(format!("json.dumps({})", PYTHON.value(value, 1)))
            }
            Some(Body::Form(fields)) => {
                modules = "os, urllib.parse, urllib.request";
                Some(format!("urllib.parse.urlencode({})", PYTHON.object(fields, 1)))
            }
            Some(Body::File(kind, text)) => {
                headers.insert("Content-Type".into(), kind.as_str().into());
                Some(quoted(text))
            }
            None => None,
        };
        let mut code = format!(
            "import {modules}\n\nrequest = urllib.request.Request(\n    {},\n    method=\"{}\",\n",
            python(&self.url()),
            self.method
        );
        if !headers.is_empty() {
            let _ = writeln!(code, "    headers={},", PYTHON.object(&headers, 1));
        }
        if let Some(body) = body {
            let _ = writeln!(code, "    data={body}.encode(),");
        }
        code + ")\nwith urllib.request.urlopen(request) as answer:\n    print(answer.status, answer.read().decode())"
    }

    fn rust(&self) -> String {
        let mut chain = format!("ureq::{}({})", self.method.to_lowercase(), rust(&self.url()));
        for (name, value) in &self.headers {
            let _ = write!(chain, "\n        .header(\"{name}\", {})", rust(word(value)));
        }
        let mut modules = "use std::env::var;\n";
        match &self.body {
            Some(Body::Json(value)) => {
                modules = "use serde_json::json;\nuse std::env::var;\n";
                let _ = write!(chain, "\n        .send_json(json!({}))?", RUST.value(value, 2));
            }
            Some(Body::Form(fields)) => {
                chain += "\n        .send_form([";
                for (name, value) in fields {
                    let value = rust(word(value));
                    let owned = if value.starts_with('"') { ".to_owned()" } else { "" };
                    let _ = write!(chain, "\n            (\"{name}\", {value}{owned}),");
                }
                chain += "\n        ])?";
            }
            Some(Body::File(kind, text)) => {
                let _ = write!(chain, "\n        .header(\"Content-Type\", \"{kind}\")\n        .send({text:?})?");
            }
            None if matches!(&*self.method, "GET" | "DELETE") => chain += "\n        .call()?",
            None => chain += "\n        .send_empty()?",
        }
        format!(
            "{modules}\nfn main() -> Result<(), Box<dyn std::error::Error>> {{\n    let mut answer = {chain};\n    \
             println!(\"{{}} {{}}\", answer.status().as_u16(), answer.body_mut().read_to_string()?);\n    Ok(())\n}}"
        )
    }
}

fn joined(name: &str, between: &str, value: &Value) -> String {
    format!("{name}{between}{}", word(value))
}

/// In double quotes if the shell has something to fill in.
fn in_shell(text: &str) -> String {
    match pieces(text)[..] {
        [] | [Piece::Plain(_)] => as_it_is(text),
        ref pieces => {
            let code = pieces.iter().map(|piece| match piece {
                Piece::Plain(text) => escaped(text, &['\\', '"', '`', '$']),
                Piece::Variable(name) => format!("${name}"),
            });
            format!("\"{}\"", code.collect::<String>())
        }
    }
}

/// In single quotes, within which the shell fills in nothing.
fn as_it_is(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// In single quotes, but for the variables in it.
fn json_in_shell(value: &Value) -> String {
    let text = format!("{value:#}");
    let code = pieces(&text).into_iter().map(|piece| match piece {
        Piece::Plain(text) => as_it_is(text),
        Piece::Variable(name) => format!("\"${name}\""),
    });
    code.collect()
}

/// With a backslash before each of `special`.
fn escaped(text: &str, special: &[char]) -> String {
    text.chars().fold(String::new(), |mut code, c| {
        code.extend(special.contains(&c).then_some('\\'));
        code.push(c);
        code
    })
}

/// A piece of a text.
enum Piece<'a> {
    Plain(&'a str),
    Variable(&'a str),
}

/// The pieces of a text. Any other `$` than that of a name in capitals is text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut read) = (Vec::new(), 0);
    for (at, _) in text.match_indices('$') {
        let rest = &text[at + 1..];
        // As far as the shell would read it.
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = &rest[..end];
        if name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains(|c: char| c.is_ascii_lowercase()) {
            if read < at {
                pieces.push(Piece::Plain(&text[read..at]));
            }
            pieces.push(Piece::Variable(name));
            read = at + 1 + end;
        }
    }
    if read < text.len() {
        pieces.push(Piece::Plain(&text[read..]));
    }
    pieces
}

/// As JSON writes a text, which JavaScript and Python read.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn javascript(text: &str) -> String {
    match pieces(text)[..] {
        [Piece::Variable(name)] => format!("process.env.{name}"),
        [] | [Piece::Plain(_)] => quoted(text),
        ref pieces => {
            let mut code = String::new();
            for piece in pieces {
                match piece {
                    Piece::Plain(text) => code += &escaped(text, &['\\', '`', '$']),
                    Piece::Variable(name) => _ = write!(code, "${{process.env.{name}}}"),
                }
            }
            format!("`{code}`")
        }
    }
}

fn python(text: &str) -> String {
    let code = pieces(text).into_iter().map(|piece| match piece {
        Piece::Plain(text) => quoted(text),
        Piece::Variable(name) => format!("os.environ[\"{name}\"]"),
    });
    if text.is_empty() { quoted(text) } else { code.collect::<Vec<_>>().join(" + ") }
}

fn rust(text: &str) -> String {
    match pieces(text)[..] {
        [Piece::Variable(name)] => format!("var(\"{name}\")?"),
        [] | [Piece::Plain(_)] => format!("{text:?}"),
        ref pieces => {
            let (mut pattern, mut values) = (String::new(), String::new());
            for piece in pieces {
                match piece {
                    Piece::Plain(text) => pattern += &text.replace('{', "{{").replace('}', "}}"),
                    Piece::Variable(name) => {
                        pattern += "{}";
                        let _ = write!(values, ", var(\"{name}\")?");
                    }
                }
            }
            format!("format!({pattern:?}{values})")
        }
    }
}

/// How a language writes values.
struct Literals {
    indent: &'static str,
    /// `null`, `false` and `true`.
    words: [&'static str; 3],
    /// Whether the names of an object may stand bare.
    bare: bool,
    text: fn(&str) -> String,
}

const JAVASCRIPT: Literals = Literals { indent: "  ", words: ["null", "false", "true"], bare: true, text: javascript };
const PYTHON: Literals = Literals { indent: "    ", words: ["None", "False", "True"], bare: false, text: python };
/// Within `json!`.
const RUST: Literals = Literals { indent: "    ", words: ["null", "false", "true"], bare: false, text: rust };

impl Literals {
    /// A value that begins on a line of that depth.
    fn value(&self, value: &Value, depth: usize) -> String {
        match value {
            Value::Null => self.words[0].to_owned(),
            Value::Bool(yes) => self.words[1 + usize::from(*yes)].to_owned(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => (self.text)(text),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.value(item, depth)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(fields) => self.object(fields, depth),
        }
    }

    fn object(&self, fields: &Map<String, Value>, depth: usize) -> String {
        if fields.is_empty() {
            return "{}".to_owned();
        }
        let mut code = "{\n".to_owned();
        for (name, value) in fields {
            let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let name = if self.bare && is_word { name.clone() } else { quoted(name) };
            let _ = writeln!(code, "{}{name}: {},", self.indent.repeat(depth + 1), self.value(value, depth + 1));
        }
        code + &self.indent.repeat(depth) + "}"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(method: &str, body: Option<Body>) -> Request {
        let headers = json!({"Authorization": "Bearer $USHER_KEY", "X-API-KEY-TYPE": "write"});
        Request {
            method: method.to_owned(),
            path: "/v1/users/$USER_ID/roles".to_owned(),
            headers: headers.as_object().unwrap().clone(),
            body,
        }
    }

    #[test]
    fn every_language_takes_what_only_the_reader_has_from_the_environment() {
        let body = json!({"role-id": "$ROLE_ID", "of": [1, "it's"], "more": {"yes": true, "none": null}});
        let request = request("PUT", Some(Body::Json(body)));
        assert_eq!(
            request.curl(),
            r#"curl -X PUT "$USHER_URL/v1/users/$USER_ID/roles" \
  -H "Authorization: Bearer $USHER_KEY" \
  -H 'X-API-KEY-TYPE: write' \
  -H 'Content-Type: application/json' \
  -d '{
  "role-id": "'"$ROLE_ID"'",
  "of": [
    1,
    "it'\''s"
  ],
  "more": {
    "yes": true,
    "none": null
  }
}'"#
        );
        assert_eq!(
            request.javascript(),
            r#"const answer = await fetch(`${process.env.USHER_URL}/v1/users/${process.env.USER_ID}/roles`, {
  method: "PUT",
  headers: {
    Authorization: `Bearer ${process.env.USHER_KEY}`,
    "X-API-KEY-TYPE": "write",
    "Content-Type": "application/json",
  },
  body: JSON.stringify({
    "role-id": process.env.ROLE_ID,
    of: [1, "it's"],
    more: {
      yes: true,
      none: null,
    },
  }),
});
console.log(answer.status, await answer.text());"#
        );
        assert_eq!(
            request.python(),
            r#"import json, os, urllib.request

request = urllib.request.Request(
    os.environ["USHER_URL"] + "/v1/users/" + os.environ["USER_ID"] + "/roles",
    method="PUT",
    headers={
        "Authorization": "Bearer " + os.environ["USHER_KEY"],
        "X-API-KEY-TYPE": "write",
        "Content-Type": "application/json",
    },
    data=json.dumps({
        "role-id": os.environ["ROLE_ID"],
        "of": [1, "it's"],
        "more": {
            "yes": True,
            "none": None,
        },
    }).encode(),
)
with urllib.request.urlopen(request) as answer:
    print(answer.status, answer.read().decode())"#
        );
        assert_eq!(
            request.rust(),
            r#"use serde_json::json;
use std::env::var;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut answer = ureq::put(format!("{}/v1/users/{}/roles", var("USHER_URL")?, var("USER_ID")?))
        .header("Authorization", format!("Bearer {}", var("USHER_KEY")?))
        .header("X-API-KEY-TYPE", "write")
        .send_json(json!({
            "role-id": var("ROLE_ID")?,
            "of": [1, "it's"],
            "more": {
                "yes": true,
                "none": null,
            },
        }))?;
    println!("{} {}", answer.status().as_u16(), answer.body_mut().read_to_string()?);
    Ok(())
}"#
        );
    }

    #[test]
    fn a_form_is_encoded_and_a_file_is_sent_as_it_is_and_nothing_as_nothing() {
        let fields = json!({"grant_type": "authorization_code", "code": "$CODE"});
        let form = request("POST", Some(Body::Form(fields.as_object().unwrap().clone())));
        assert!(
            form.curl()
                .ends_with("--data-urlencode 'grant_type=authorization_code' \\\n  --data-urlencode \"code=$CODE\"")
        );
        assert!(form.javascript().contains("body: new URLSearchParams({\n    grant_type: \"authorization_code\",\n"));
        assert!(form.python().starts_with("import os, urllib.parse, urllib.request\n"));
        assert!(
            form.python().contains("data=urllib.parse.urlencode({\n        \"grant_type\": \"authorization_code\",\n")
        );
        assert!(form.rust().contains(
            "(\"grant_type\", \"authorization_code\".to_owned()),\n            (\"code\", var(\"CODE\")?),\n"
        ));
        let file = request("POST", Some(Body::File("text/csv".into(), "email\nann@doe.com\n".into())));
        assert!(file.curl().ends_with("-H 'Content-Type: text/csv' \\\n  --data-binary 'email\nann@doe.com\n'"));
        assert!(
            file.javascript().contains("\"Content-Type\": \"text/csv\",\n  },\n  body: \"email\\nann@doe.com\\n\",\n")
        );
        assert!(file.python().contains("data=\"email\\nann@doe.com\\n\".encode(),\n"));
        assert!(
            file.rust().contains(".header(\"Content-Type\", \"text/csv\")\n        .send(\"email\\nann@doe.com\\n\")?")
        );
        let nothing = request("POST", None);
        assert!(nothing.curl().starts_with("curl -X POST ") && nothing.rust().contains(".send_empty()?"));
        assert!(
            request("DELETE", None).rust().contains("ureq::delete(")
                && request("GET", None).rust().contains(".call()?")
        );
        assert!(!request("GET", None).javascript().contains("method:") && !request("GET", None).curl().contains("-X"));
    }

    #[test]
    fn what_means_something_in_a_language_is_text_in_its_example() {
        let text = |text: &str| json!({"a": text});
        for (of, shell, in_json) in [
            ("it's $5", r"'it'\''s $5'", r#"'{"a": "it'\''s $5"}'"#),
            ("$A_2: \" ` $b $$", r#""$A_2: \" \` \$b \$\$""#, r#"'{"a": "'"$A_2"': \" ` $b $$"}'"#),
            (r"\$A", r#""\\$A""#, r#"'{"a": "\\'"$A"'"}'"#),
        ] {
            assert_eq!(in_shell(of), shell);
            let code = json_in_shell(&text(of)).replace("{\n  ", "{").replace("\n}", "}");
            assert_eq!(code, in_json);
        }
        assert_eq!(javascript(r"$A `${x} \"), r"`${process.env.A} \`\${x} \\`");
        assert_eq!(javascript("`$5`"), r#""`$5`""#);
        assert_eq!(python("$A's \"$5\""), r#"os.environ["A"] + "'s \"$5\"""#);
        assert_eq!(rust("{$A} \"$5\""), r#"format!("{{{}}} \"$5\"", var("A")?)"#);
        assert_eq!(rust("{$5}"), r#""{$5}""#);
        let file = request("POST", Some(Body::File("text/csv".into(), "name\nO'Doe $A\n".into())));
        assert!(file.curl().ends_with("--data-binary 'name\nO'\\''Doe $A\n'"), "{}", file.curl());
    }
}
