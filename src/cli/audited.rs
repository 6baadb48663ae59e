//! The store as commands write to it: what they are refused leaves an entry in the audit trail, as a refused request does. No
//! command does so by itself.

use std::io::Write;
use std::ops::Deref;

use clap::ArgMatches;
use uuid::Uuid;

use super::told;
use crate::audit::{self, Action, INSTALLATION, Refusal};
use crate::caller::{Actor, Origin};
use crate::db::{Store, Tx};
use crate::error::{Error, Result};

/// Which command it is: its name, without what it was given, which may be an address or a secret; and the first id of that.
#[derive(Clone, Default)]
pub struct Attempt {
    operation: String,
    target: Option<Uuid>,
}

impl Attempt {
    pub fn of(matches: &ArgMatches, arguments: &[String]) -> Attempt {
        let (mut operation, mut rest) = ("usher".to_owned(), matches);
        while let Some((name, below)) = rest.subcommand() {
            operation = format!("{operation} {name}");
            rest = below;
        }
        Attempt { operation, target: target(arguments) }
    }
}

/// The first id: `--user ID`, `--user=ID` or `ID`. One inside of anything else may be a secret.
fn target(arguments: &[String]) -> Option<Uuid> {
    let value = |argument: &String| {
        let option = argument.strip_prefix("--").and_then(|option| option.split_once('='));
        let word = option.map_or(argument.as_str(), |(_, value)| value);
        (word.len() == 36).then(|| word.parse::<Uuid>().ok()).flatten()
    };
    arguments.iter().find_map(value)
}

/// The store of a command.
pub struct AuditedStore {
    store: Store,
    attempt: Attempt,
}

/// Whoever only reads does so by the store itself.
impl Deref for AuditedStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl AuditedStore {
    pub fn new(store: Store, attempt: Attempt) -> AuditedStore {
        AuditedStore { store, attempt }
    }

    /// As [`Store::write`].
    pub async fn write<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx) -> Result<T> + Send + 'static,
    {
        let outcome = self.store.write(operation).await;
        self.note(outcome).await
    }

    /// As [`Store::scan`], for what somebody must find who is going to write, or to rehearse that.
    pub async fn prepare<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx) -> Result<T> + Send + 'static,
    {
        let outcome = self.store.scan(operation).await;
        self.note(outcome).await
    }

    /// Notes a refusal, and gives the outcome back as it was.
    async fn note<T>(&self, outcome: Result<T>) -> Result<T> {
        let Some(code) = outcome.as_ref().err().filter(|error| refuses(error)).map(Error::code) else { return outcome };
        let refusal = Refusal {
            operation: Some(self.attempt.operation.clone()),
            target: self.attempt.target,
            ..Refusal::of(Action::RequestRefused, code)
        };
        let operator = Origin::of(Actor::Operator);
        let note = move |tx: &Tx| audit::refuse(tx, INSTALLATION, Some(operator), &refusal);
        if let Err(why) = self.store.write(note).await {
            let words = "usher: the audit trail does not say that this was refused";
            let _ = writeln!(std::io::stderr(), "{words}: {}", told(&why));
        }
        outcome
    }
}

/// Whether it is a refusal, and no failure of ours.
fn refuses(error: &Error) -> bool {
    matches!(error, Error::Operator(_)) || (400..500).contains(&error.status())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_is_about_is_an_id_that_it_was_given_and_none_inside_of_what_may_be_secret() {
        let id = "11111111-1111-4111-8111-111111111111";
        for (words, found) in [
            (vec!["usher", "user", "freeze", id], true),
            (vec!["usher", "key", "list", "--app", id], true),
            (vec!["usher", "key", "list", &format!("--app={id}")], true),
            (vec!["usher", "user", "freeze", "--database", &format!("postgres://db/usher?password={id}")], false),
            (vec!["usher", "user", "freeze", &format!("--database=postgres://db/usher?password={id}")], false),
            (vec!["usher", "mail", "template", "set", &format!("subject={id}")], false),
            (vec!["usher", "user", "freeze", &id.replace('-', "")], false),
        ] {
            let arguments: Vec<String> = words.into_iter().map(str::to_owned).collect();
            assert_eq!(target(&arguments), id.parse::<Uuid>().ok().filter(|_| found), "{arguments:?}");
        }
    }
}
