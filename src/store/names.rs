//! What the people are called who stand in an audit log by their ids, for those who administer them.

use crate::db::args;
use crate::sessions::{Described, user_place};
use crate::{Error, Store};
use std::collections::BTreeMap;

impl Store {
    /// The names of these people by id; ids of keys, of the engine and of nobody are left out.
    ///
    /// # Errors
    /// The database is away.
    pub async fn names_of(&self, ids: Vec<String>) -> Result<BTreeMap<String, String>, Error> {
        let people: Vec<String> = ids.into_iter().filter(|id| id.starts_with("usr_")).collect();
        if people.is_empty() {
            return Ok(BTreeMap::new());
        }
        let rows = self.db.rows("-- names_of\nSELECT id, sealed FROM users WHERE id {in $1}", args![people]).await?;
        let mut names = BTreeMap::new();
        for row in &rows {
            let id = row.text("id")?;
            let clear = self.master.open(&user_place(&id), &row.bytes("sealed")?)?;
            let described: Described =
                serde_json::from_slice(&clear).map_err(|_| Error::Inconsistent { table: "users", column: "sealed" })?;
            names.insert(id, described.name);
        }
        Ok(names)
    }
}
