//! The way back: users as rows that an import reads to the same records.

use std::collections::HashMap;
use std::io::Write;

use serde_json::{Map, Value};

use super::cell;
use super::rows::MARK;
use crate::audit;
use crate::caller::Caller;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::field::{Wire, show};
use crate::roles::{self, RoleId};
use crate::tenants;
use crate::users::names::Names;
use crate::users::{self, Health, IDENTITY, List, Person, Profile, User, search};

/// A user as a file has them.
pub type Row = Map<String, Value>;

/// What is told of a user besides their facts. The first three are told, and not read back.
const BESIDES: [&str; 7] = ["id", "created_at", "updated_at", "status", "tenant", "role", "email_verified"];

fn facts(health: bool) -> impl Iterator<Item = &'static Wire<Person>> {
    let health = if health { Health::FIELDS } else { &[] };
    IDENTITY.iter().chain(Profile::FIELDS).chain(health)
}

/// The columns, with those of the health record or without.
pub fn columns(health: bool) -> Vec<&'static str> {
    BESIDES.into_iter().chain(facts(health).map(|wire| wire.name)).collect()
}

/// Refuses an export whose first page is refused, before anything of it is written or noted.
///
/// # Errors
/// As [`page`].
pub fn check(tx: &Tx, caller: &Caller, (search, names): (Option<&str>, &Names), list: &List) -> Result<()> {
    search.map_or(Ok(()), |text| search::search_for_file(tx, caller, names, text, list).map(|_| ()))
}

/// A page of the users that `list` wants, of those only whom a search finds if there is one, as rows; and where the next page
/// begins. That somebody's health data was read is noted of each, so with `health` this must be able to write.
///
/// # Errors
/// As [`users::list`].
pub fn page(
    tx: &Tx,
    caller: &Caller,
    (search, names): (Option<&str>, &Names),
    list: &List,
    health: bool,
) -> Result<(Vec<Row>, Option<String>)> {
    let (users, next) = match search {
        Some(text) => search::search_for_file(tx, caller, names, text, list).map(|found| (found.users, found.next))?,
        None => users::list(tx, caller, list)?,
    };
    let roles: HashMap<RoleId, String> =
        roles::list(tx, caller.scope.environment)?.into_iter().map(|role| (role.id, role.name)).collect();
    let mut tenants = HashMap::new();
    let mut rows = Vec::with_capacity(users.len());
    for user in &users {
        if let Some(id) = user.tenant
            && !tenants.contains_key(&id)
        {
            tenants.insert(id, tenants::any_by_id(tx, id)?.map(|tenant| tenant.handle()));
        }
        let tenant = user.tenant.and_then(|id| tenants.get(&id)?.clone()).map(Value::from);
        let role = user.role.and_then(|id| roles.get(&id)).map(|name| Value::from(name.as_str()));
        rows.push(row(user, tenant, role, health));
        if health {
            audit::note_read(tx, caller.origin(), user)?;
        }
    }
    Ok((rows, next))
}

fn row(user: &User, tenant: Option<Value>, role: Option<Value>, health: bool) -> Row {
    let besides = [
        Some(show(&user.id)),
        Some(show(&user.created_at)),
        Some(show(&user.updated_at)),
        Some(show(&user.status())),
        tenant,
        role,
        Some(user.email_verified_at.is_some().into()),
    ];
    let fact = |wire: &Wire<Person>| match (wire.name, &user.person.phone) {
        // Whoever imports it may be in another region.
        ("phone_number", Some(phone)) => Some(phone.anywhere().into()),
        _ => (wire.show)(&user.person),
    };
    let facts = facts(health).map(|wire| (wire.name, fact(wire)));
    let all = BESIDES.into_iter().zip(besides).chain(facts);
    all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Writes rows to a file.
pub enum Writer<W: Write> {
    /// As CSV with these columns.
    Csv(Box<csv::Writer<W>>, Vec<&'static str>),
    /// As one JSON object a line.
    Jsonl(W),
}

impl<W: Write> Writer<W> {
    /// Begins a file of CSV, with the mark by which spreadsheets know UTF-8.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn csv(mut into: W, health: bool) -> Result<Writer<W>> {
        into.write_all(MARK).map_err(unwritable)?;
        let mut writer = csv::Writer::from_writer(into);
        let columns = columns(health);
        writer.write_record(&columns).map_err(unwritable)?;
        Ok(Writer::Csv(Box::new(writer), columns))
    }

    /// Goes on with a file of CSV that has its head already.
    pub fn csv_rows(into: W, health: bool) -> Writer<W> {
        Writer::Csv(Box::new(csv::Writer::from_writer(into)), columns(health))
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, row: &Row) -> Result<()> {
        match self {
            Writer::Jsonl(into) => {
                serde_json::to_writer(&mut *into, row).map_err(unwritable)?;
                into.write_all(b"\n").map_err(unwritable)
            }
            Writer::Csv(writer, columns) => {
                for column in columns.iter() {
                    let text = match row.get(*column) {
                        None => String::new(),
                        Some(Value::String(text)) => cell::write(text).into_owned(),
                        Some(other) => cell::write(&other.to_string()).into_owned(),
                    };
                    writer.write_field(text).map_err(unwritable)?;
                }
                writer.write_record(None::<&[u8]>).map_err(unwritable)
            }
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(self) -> Result<()> {
        match self {
            Writer::Jsonl(mut into) => into.flush().map_err(unwritable),
            Writer::Csv(mut writer, _) => writer.flush().map_err(unwritable),
        }
    }
}

fn unwritable(e: impl std::fmt::Display) -> Error {
    Error::operator(format!("the file cannot be written: {e}"))
}
