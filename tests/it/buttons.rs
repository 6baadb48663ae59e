//! The buttons of the dashboard's pages: found in the HTML with what their forms hold, pressed on a copy of an installation, and
//! what that changed, to compare with what a command changes.

use std::collections::{BTreeMap, BTreeSet};

use usher::admins::Role;
use usher::app::answer_admins;
use usher::audit::{self, Entry, Filter, Order};
use usher::clock::Timestamp;
use usher::db::{IfMissing, Store};
use uuid::Uuid;

use crate::harness::{Answer, Folder, TestApp};
use crate::imports_api::take_over;
use crate::imports_page::form_with;

/// What a person types where a form holds nothing: the field, the words.
pub const TYPED: &[(&str, &str)] = &[
    ("email", "new@clinic.example"),
    ("uri", "https://app.example.com/new"),
    ("url", "https://hooks.example.com/usher"),
    ("name", "NAME"),
    ("reason", "REASON"),
];

/// A button of a page that posts something.
pub struct Button {
    /// Where it posts to.
    pub action: String,
    /// What its form holds, and what a person types.
    pub fields: Vec<(String, String)>,
    /// What the form holds and does not show.
    pub hidden: Vec<(String, String)>,
    wants_file: bool,
    is_multipart: bool,
}

pub fn plain(html: &str) -> String {
    let named = [("&#38;", "&"), ("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&amp;", "&")];
    named.iter().fold(html.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    tag.split(&format!(" {name}=\"")).nth(1).map(|rest| plain(rest.split('"').next().unwrap()))
}

/// Every button of a page; where a form has several, each.
pub fn buttons(html: &str) -> Vec<Button> {
    let forms = html.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap());
    forms.filter(|form| attribute(form, "method").as_deref() == Some("post")).flat_map(of_form).collect()
}

fn of_form(form: &str) -> Vec<Button> {
    let (mut fields, mut hidden, mut pressed) = (Vec::new(), Vec::new(), Vec::new());
    let mut wants_file = false;
    let mut select = String::new();
    for tag in form.split('<').skip(1) {
        let (head, text) = tag.split_once('>').unwrap_or((tag, ""));
        let name = attribute(head, "name").unwrap_or_default();
        let typed = || {
            let words = TYPED.iter().find(|(field, _)| *field == name && head.contains(" required"));
            attribute(head, "data-words").or(words.map(|(_, words)| (*words).to_owned())).unwrap_or_default()
        };
        match head.split([' ', '\n']).next().unwrap() {
            "input" => {
                let value = attribute(head, "value").filter(|value| !value.is_empty()).unwrap_or_else(typed);
                match attribute(head, "type").as_deref() {
                    Some("hidden") => hidden.push((name, value)),
                    Some("checkbox" | "radio") if !head.contains(" checked") => {}
                    Some("file") => wants_file |= head.contains(" required"),
                    _ => fields.push((name, value)),
                }
            }
            "select" => select = name,
            "option" => {
                let value = attribute(head, "value").unwrap_or_else(|| plain(text));
                let is_first = !fields.iter().any(|(field, _)| *field == select);
                if is_first || head.contains(" selected") {
                    fields.retain(|(field, _)| *field != select);
                    fields.push((select.clone(), value));
                }
            }
            "textarea" => fields.push((name, plain(text))),
            "button" => pressed.push(attribute(head, "value").map(|value| (name, value))),
            _ => {}
        }
    }
    let button = |pressed: Option<(String, String)>| Button {
        action: attribute(form, "action").unwrap(),
        fields: fields.iter().chain(&hidden).cloned().chain(pressed).collect(),
        hidden: hidden.clone(),
        wants_file,
        is_multipart: attribute(form, "enctype").is_some(),
    };
    pressed.into_iter().map(button).collect()
}

impl Button {
    /// What kind of button it is: its address below the environment with a star for each id, and what distinguishes those
    /// that share one.
    pub fn kind(&self) -> String {
        let path = self.action.split('?').next().unwrap();
        let below = path.split('/').skip(4).map(|part| if part.parse::<Uuid>().is_ok() { "*" } else { part });
        let names = self.hidden.iter().map(|(name, _)| name.as_str());
        let chosen = self.fields.iter().filter(|(name, _)| name == "do").map(|(_, value)| value.as_str());
        std::iter::once(below.collect::<Vec<_>>().join("/"))
            .chain(names.chain(chosen).map(str::to_owned))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Presses it on a copy of an installation, with a server beside that does what it leaves to do, and says what changed.
    pub async fn press(&self, folder: &Folder, known: &str) -> Result<Effect, String> {
        let app = TestApp::of_copy(folder).await;
        app.catch_up();
        let owner = app.admin(Role::Owner).await;
        let before = State::of(&app.folder).await;
        let answer: Answer = if self.is_multipart {
            let part = |(name, value): &(String, String)| {
                format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            };
            let end = if self.wants_file { form_with("email\nfrida@doe.com\n") } else { "--XX--\r\n".to_owned() };
            let body = self.fields.iter().map(part).collect::<String>() + &end;
            owner.with("Content-Type", "multipart/form-data; boundary=XX").send("POST", &self.action, body).await
        } else {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.fields).finish();
            owner.send("POST", &self.action, body).await
        };
        if !matches!(answer.status, 200 | 303) {
            return Err(format!("{} answers {}: {}", self.action, answer.status, answer.text));
        }
        take_over(&app).await;
        // Without a mail server a link is told in the terminal.
        answer_admins(app.app.api(), |_| ()).await.unwrap();
        Ok(State::of(&app.folder).await.since(&before, known))
    }
}

/// What an installation holds: the entries of its trail, and how many rows there are of what.
pub struct State {
    entries: Vec<Entry>,
    rows: BTreeMap<String, i64>,
}

/// What was changed: new entries of the trail, and how many rows of what came or went.
#[derive(Debug, PartialEq, Eq)]
pub struct Effect {
    pub entries: Vec<String>,
    pub rows: BTreeMap<String, i64>,
}

impl State {
    pub async fn of(folder: &Folder) -> State {
        let store = Store::open(&folder.location(), usher::clock::Clock::System, IfMissing::Refuse).await.unwrap();
        let all = |tx: &usher::db::Tx| audit::find(tx, &Filter::default(), Order::NewestFirst, 10_000);
        let entries = store.scan(all).await.unwrap();
        let file = rusqlite::Connection::open(folder.0.join("usher.db")).unwrap();
        let mut tables = file.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
        let names = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap);
        // What is sealed depends on when, and not on what was done; and what people may do so often, the operator may always.
        let names = names.filter(|name: &String| name != "audit_seals" && name != "limits");
        let count = |name: String| {
            let count = file.query_row(&format!("SELECT COUNT(*) FROM {name}"), [], |row| row.get(0)).unwrap();
            (name, count)
        };
        State { entries, rows: names.map(count).collect() }
    }

    /// What is different since then. `known` is all that was on the pages: an id that is not there was made since.
    pub fn since(&self, before: &State, known: &str) -> Effect {
        let old: BTreeSet<_> = before.entries.iter().map(|entry| entry.id.0).collect();
        let mask = |word: &str| {
            // An id or a key.
            let is_new = (word.parse::<Uuid>().is_ok() || word.len() > 40) && !known.contains(word);
            if is_new || Timestamp::parse(word).is_some() { "…".to_owned() } else { word.to_owned() }
        };
        let entry = |entry: &Entry| {
            let about = |id: Option<Uuid>| id.map(|id| mask(&id.to_string()));
            let (user, target) = (about(entry.user.map(|id| id.0)), about(entry.target));
            let changes: Vec<String> = entry.changes.0.to_string().split('"').map(mask).collect();
            let action = entry.action.as_str();
            format!("{action} {} {user:?} {target:?} {} {}", entry.environment, entry.result, changes.join("\""))
        };
        let mut entries: Vec<String> =
            self.entries.iter().filter(|entry| !old.contains(&entry.id.0)).map(entry).collect();
        entries.sort();
        let rows = self.rows.iter().map(|(name, count)| (name.clone(), count - before.rows.get(name).unwrap_or(&0)));
        Effect { entries, rows: rows.filter(|(_, change)| *change != 0).collect() }
    }
}
