//! The SQL of an app's own words.

use std::collections::BTreeMap;

use super::{Template, Wording};
use crate::apps::AppId;
use crate::clock::Timestamp;
use crate::db::{Tx, params};
use crate::error::{Error, Result};
use crate::random;
use crate::words::Language;

/// What an app says there; nothing, where all is left to Usher.
///
/// # Errors
/// The database does not answer.
pub fn of(tx: &Tx, app: AppId, template: Template) -> Result<Wording> {
    let sql = "SELECT texts FROM mail_words WHERE app_id = $1 AND kind = $2 AND language = $3";
    let Some(row) = tx.query_opt(sql, params![app, template.kind, template.language.tag()])? else {
        return Ok(Wording::default());
    };
    // What cannot be read must not keep a mail from going out.
    let texts: BTreeMap<String, String> = serde_json::from_str(&row.get::<String>(0)?).unwrap_or_default();
    Ok(Wording(texts))
}

pub(super) fn set(tx: &Tx, app: AppId, template: Template, wording: &Wording) -> Result<()> {
    let (kind, language) = (template.kind, template.language.tag());
    tx.run("DELETE FROM mail_words WHERE app_id = $1 AND kind = $2 AND language = $3", params![app, kind, language])?;
    if wording.is_empty() {
        return Ok(());
    }
    let texts = serde_json::to_string(&wording.0).map_err(Error::internal)?;
    tx.add(
        "mail_words (id, app_id, kind, language, texts, changed_at)",
        params![random::ordered_uuid(tx.now()), app, kind, language, texts, tx.now()],
    )
}

/// The templates of which an app has words of its own, and since when.
pub(super) fn changed(tx: &Tx, app: AppId) -> Result<Vec<(Template, Timestamp)>> {
    let sql = "SELECT kind, language, changed_at FROM mail_words WHERE app_id = $1";
    let rows = tx.query(sql, params![app])?;
    let mut changed = Vec::new();
    for row in rows {
        if let Some(language) = Language::of_tag(&row.get::<String>(1)?) {
            changed.push((Template { kind: row.get(0)?, language }, row.get(2)?));
        }
    }
    Ok(changed)
}
