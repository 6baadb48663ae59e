//! Every table and column, as the database's own catalogue has them.

use std::collections::BTreeMap;

use usher::db::Row;

use crate::cluster::on_postgres;
use crate::harness::TestApp;

/// Every table with the names of its columns.
pub async fn tables(app: &TestApp) -> BTreeMap<String, Vec<String>> {
    let sql = if on_postgres() {
        "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = current_schema() \
         ORDER BY table_name, ordinal_position"
    } else {
        "SELECT m.name, p.name FROM sqlite_schema m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' ORDER BY m.name, p.cid"
    };
    let rows = app.store().read(move |tx| tx.query(sql, &[])).await.unwrap();
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        tables.entry(row.get(0).unwrap()).or_default().push(row.get(1).unwrap());
    }
    assert!(tables.len() > 10);
    tables
}

/// Every row of a table.
pub async fn rows(app: &TestApp, table: &str, columns: &[String]) -> Vec<Row> {
    let sql = format!("SELECT {} FROM {table}", columns.join(", "));
    app.store().scan(move |tx| tx.query(&sql, &[])).await.unwrap()
}

/// Everything that is stored, as text: for whoever wants to see that it stays as it is.
pub async fn everything(app: &TestApp) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for (table, columns) in tables(app).await {
        let mut rows: Vec<String> = rows(app, &table, &columns).await.iter().map(|row| format!("{row:?}")).collect();
        rows.sort_unstable();
        all.insert(table, rows);
    }
    all
}

/// Fails unless everything is as it was, but for refused requests, which stand in the trail.
#[track_caller]
pub fn assert_only_refused(before: &BTreeMap<String, Vec<String>>, now: &BTreeMap<String, Vec<String>>, what: &str) {
    for (table, was) in before {
        let is_refused = |row: &String| table == "audit" && row.contains("Text(\"request.refused\")");
        let is = now[table].iter().filter(|row| !is_refused(row) || was.contains(row));
        assert!(is.eq(was), "{what}: {table}");
    }
}

/// Fails unless everything is as it was, but for so many looks at health data, which stand in the trail.
#[track_caller]
pub fn assert_only_read(
    before: &BTreeMap<String, Vec<String>>,
    now: &BTreeMap<String, Vec<String>>,
    times: usize,
    what: &str,
) {
    for (table, was) in before {
        let is_a_look = |row: &&String| table == "audit" && row.contains("Text(\"user.health_read\")");
        let (new, is): (Vec<_>, Vec<_>) = now[table].iter().partition(|row| is_a_look(row) && !was.contains(row));
        assert!(is.into_iter().eq(was), "{what} changed {table}");
        assert_eq!(new.len(), if table == "audit" { times } else { 0 }, "looks at health data by {what}");
    }
}
