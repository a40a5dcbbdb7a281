//! What is told of a request: a status, to the address its controller gave, signed with that controller's secret.

use crate::db::{Row, args, texts};
use crate::sealed::place;
use crate::work::Lease;
use crate::{Error, Store};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_domain::{ControllerId, Personal, RequestType};
use std::collections::HashMap;

/// What is needed to tell a status of one request.
#[derive(Debug, Clone)]
pub struct Tellable {
    /// Where it is told; nowhere if the controller gave no address.
    pub callback_url: Option<Personal<String>>,
    /// Which right.
    pub kind: RequestType,
    /// The controller's own name for the request.
    pub reference: Option<Personal<String>>,
    /// The last day that counts.
    pub due_on: Option<String>,
    /// The controller's webhook secret as it is written down (`whsec_` and base64).
    pub secret: Personal<String>,
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };

impl Store {
    /// What is told of these requests, in the order of the leases. A request whose row is damaged or whose personal data are
    /// gone has its error; its neighbours do not share it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn tellable(&self, leases: &[Lease]) -> Result<Vec<Result<Tellable, Error>>, Error> {
        let rows = self
            .db
            .rows(
                "-- tellable\nSELECT d.id, d.controller_id, d.kind, d.deadlines, d.wrapped_key, d.sealed, c.webhook_secret FROM dsrs d JOIN controllers c ON c.id = d.controller_id WHERE d.id {in $1}",
                args![texts(leases.iter().map(|l| l.dsr_id.as_str()))],
            )
            .await?;
        let mut by_id = HashMap::with_capacity(rows.len());
        for row in rows {
            by_id.insert(row.text("id")?, row);
        }
        let mut secrets = HashMap::new();
        let mut all = Vec::with_capacity(leases.len());
        for lease in leases {
            let read = match by_id.get(lease.dsr_id.as_str()) {
                Some(row) => self.read_tellable(lease, row, &mut secrets).await,
                None => Err(Error::NotFound),
            };
            all.push(match read {
                Err(error) if error.is_transient() => return Err(error),
                read => read,
            });
        }
        Ok(all)
    }

    async fn read_tellable(
        &self,
        lease: &Lease,
        row: &Row,
        secrets: &mut HashMap<ControllerId, Personal<String>>,
    ) -> Result<Tellable, Error> {
        let controller_id = &lease.controller_id;
        if row.text("controller_id")? != controller_id.as_str() {
            return Err(Error::NotFound);
        }
        let wrapped = row.opt_bytes("wrapped_key")?.ok_or(Error::Purged)?;
        let sealed = row.opt_bytes("sealed")?.ok_or(Error::Purged)?;
        let key = self.unwrap_dsr_key(controller_id, &lease.dsr_id, &wrapped).await?;
        let personal = crate::dsrs::open_personal(&key, controller_id, &lease.dsr_id, &sealed)?;
        let deadlines: serde_json::Value =
            serde_json::from_str(&row.text("deadlines")?).map_err(|_| INCONSISTENT("deadlines"))?;
        let secret = if let Some(secret) = secrets.get(controller_id) {
            secret.clone()
        } else {
            let own = self.controller_key(controller_id).await?;
            let at = place(&[controller_id.as_str(), "webhook_secret"]);
            let secret = own.open(&at, &row.bytes("webhook_secret")?)?;
            let text = Personal::from(format!("whsec_{}", STANDARD.encode(secret)));
            secrets.insert(controller_id.clone(), text.clone());
            text
        };
        Ok(Tellable {
            callback_url: personal.callback_url,
            kind: RequestType::parse(&row.text("kind")?).ok_or(INCONSISTENT("kind"))?,
            reference: personal.reference,
            due_on: deadlines["effective"]["due_on"].as_str().map(str::to_owned),
            secret,
        })
    }
}
