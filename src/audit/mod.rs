//! The audit trail: who did what to whom, written in the transaction that did it, so that neither is there without the
//! other; and who tried what and was refused. [`chain`] makes it tell when somebody changes it.

mod action;
pub mod chain;
mod changes;
mod entry;
mod note;
mod refusal;
mod store;
pub mod tally;

pub use action::Action;
pub use changes::{Changes, tells_of_health};
use entry::DONE;
pub use entry::{ActorKind, Entry, EntryId, INSTALLATION};
pub(crate) use note::empty;
pub use note::{
    Whose, erase, note, note_by_stranger, note_changes, note_grant, note_read, note_replay, record, record_changes,
    record_changes_of, record_verified,
};
pub use refusal::{Refusal, refuse, refuse_stranger};
pub use store::find::{Filter, Order, Outcome, entry, find, newest, of_installation, of_request_id, of_target};
pub use store::of_user::{addresses, after, before, has_acted, of_request};
