//! Who a request is about is opened for a reason, and that somebody saw it is recorded before they do.

use crate::clock::ClockNote;
use crate::db::args;
use crate::dsrs::{Sealed, open_personal};
use crate::events::NewEvent;
use crate::{Error, Store};
use redress_domain::{ControllerId, DsrId, Personal};
use serde_json::{Value, json};

/// Who a request is about, in clear.
#[derive(Debug)]
pub struct Revealed {
    /// Type and value of each identifier.
    pub identifiers: Vec<(String, Personal<String>)>,
    /// Field and new value of each correction.
    pub corrections: Vec<(String, Personal<String>)>,
    /// The controller's own name for the request.
    pub reference: Option<Personal<String>>,
}

impl Store {
    /// Opens who a request is about. `reason` is a code, or words that are sealed with the request; what is recorded is the code,
    /// or that words were given; and with `marks` (a JSON object) what else belongs to it.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Purged`]; whenever it fails nothing is shown.
    pub async fn reveal(
        &self,
        controller_id: &ControllerId,
        id: &DsrId,
        actor: &str,
        reason: &str,
        marks: Value,
    ) -> Result<Revealed, Error> {
        let mut tx = self.db.begin("reveal").await?;
        let row = tx
            .row(
                "-- lock_revealed\nSELECT wrapped_key, sealed, clock_notes FROM dsrs WHERE controller_id = $1 AND id = $2 {for_update}",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let wrapped = row.opt_bytes("wrapped_key")?.ok_or(Error::Purged)?;
        let sealed = row.opt_bytes("sealed")?.ok_or(Error::Purged)?;
        let key = self.unwrap_dsr_key(controller_id, id, &wrapped).await?;
        let personal = open_personal(&key, controller_id, id, &sealed)?;
        let code = is_code(reason);
        if !code {
            let note = ClockNote { at: self.now_ms(), action: "revealed".into(), reason: reason.to_owned() };
            self.add_note(&mut tx, controller_id, id, &row, note).await?;
        }
        let mut event = NewEvent::new(Some(id), "personal_revealed", marks);
        event.data.insert("reason".into(), json!(if code { reason } else { "given" }));
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        self.commit(tx).await?;
        Ok(opened(personal))
    }

    /// Who a request is about, so far masked that a person who knows them recognises them and nobody else learns anything; none if
    /// it was destroyed.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn masked(
        &self,
        controller_id: &ControllerId,
        id: &DsrId,
    ) -> Result<Option<Vec<(String, String)>>, Error> {
        match self.personal(controller_id, id).await {
            Ok(personal) => {
                let pair = |i: &redress_domain::Identifier| (i.kind().as_str().to_owned(), i.masked());
                Ok(Some(personal.subject.identifiers.iter().map(pair).collect()))
            }
            Err(Error::Purged) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn opened(personal: Sealed) -> Revealed {
    Revealed {
        identifiers: personal
            .subject
            .identifiers
            .iter()
            .map(|i| (i.kind().as_str().to_owned(), i.given().clone()))
            .collect(),
        corrections: personal.corrections.into_iter().map(|c| (c.field, c.value)).collect(),
        reference: personal.reference,
    }
}

/// A code says nothing about the person; words may.
fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
