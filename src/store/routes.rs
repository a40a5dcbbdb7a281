//! A route says whom notices are told, and how; its addresses and secrets are sealed and shown to nobody.
//!
//! A controller's routes come from that controller's file, the operator's from a file without a controller. What such a
//! file says is all there is: a route that is not in it any more is removed, and what waits for it is not sent.

use crate::db::{Arg, Row, Tx, args};
use crate::events::NewEvent;
use crate::sealed::place;
use crate::work::places;
use crate::{Error, Store};
use redress_domain::notice::{Channel, Delivery, NoticeKind, NotifyRole};
use redress_domain::{ControllerId, Personal, RouteId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteTarget {
    /// Addresses, for e-mail.
    pub to: Vec<Personal<String>>,
    /// Where to post, for webhooks and Slack.
    pub url: Option<Personal<String>>,
    /// What webhooks are signed with (`whsec_…`); without it, the controller's own webhook secret.
    pub secret: Option<Personal<String>>,
}

#[derive(Serialize, Deserialize)]
struct TargetForm {
    to: Vec<String>,
    url: Option<String>,
    secret: Option<String>,
}

impl RouteTarget {
    fn to_bytes(&self) -> Personal<Vec<u8>> {
        let form = TargetForm {
            to: self.to.iter().map(|to| to.expose().clone()).collect(),
            url: self.url.as_ref().map(|url| url.expose().clone()),
            secret: self.secret.as_ref().map(|secret| secret.expose().clone()),
        };
        Personal::new(serde_json::to_vec(&form).expect("texts are JSON"))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let form: TargetForm = serde_json::from_slice(bytes).map_err(|_| INCONSISTENT("target"))?;
        Ok(Self {
            to: form.to.into_iter().map(Personal::from).collect(),
            url: form.url.map(Personal::from),
            secret: form.secret.map(Personal::from),
        })
    }
}

/// A route as a file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRoute {
    /// Its name, unique among the routes of its owner.
    pub name: String,
    /// Who is told.
    pub role: NotifyRole,
    /// How.
    pub channel: Channel,
    /// Of what; none leaves it to the role.
    pub kinds: Option<Vec<NoticeKind>>,
    /// At once or in the morning.
    pub delivery: Delivery,
    /// Whose morning, IANA name.
    pub timezone: String,
    /// Names of the controllers that an operator's route is about; none is all.
    pub controllers: Option<Vec<String>>,
    /// Where it leads.
    pub target: RouteTarget,
}

/// A route as it is stored, without its target.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// Whose it is; none is the operator's.
    pub controller_id: Option<ControllerId>,
    /// See [`NewRoute::name`].
    pub name: String,
    /// See [`NewRoute::role`].
    pub role: NotifyRole,
    /// See [`NewRoute::channel`].
    pub channel: Channel,
    /// See [`NewRoute::kinds`].
    pub kinds: Option<Vec<NoticeKind>>,
    /// See [`NewRoute::delivery`].
    pub delivery: Delivery,
    /// See [`NewRoute::timezone`].
    pub timezone: String,
    /// See [`NewRoute::controllers`].
    pub controllers: Option<Vec<String>>,
    /// When people were last told at once (Unix ms).
    pub(crate) told_at: Option<i64>,
}

/// What applying a file did to a route, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteChange {
    /// It is new.
    Added,
    /// It says something else now.
    Changed,
    /// It is not in the file any more.
    Removed,
}

impl RouteChange {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            RouteChange::Added => "added",
            RouteChange::Changed => "changed",
            RouteChange::Removed => "removed",
        }
    }
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "notify_routes", column };
const COLUMNS: &str = "id, controller_id, controllers, name, role, channel, kinds, delivery, timezone, target, told_at";

fn read(row: &Row) -> Result<Route, Error> {
    let list = |column| -> Result<Option<Vec<String>>, Error> {
        let text = row.opt_text(column)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| INCONSISTENT(column))
    };
    let kinds = list("kinds")?.map(|kinds| {
        kinds.iter().map(|kind| NoticeKind::parse(kind).ok_or(INCONSISTENT("kinds"))).collect::<Result<Vec<_>, _>>()
    });
    Ok(Route {
        id: RouteId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?,
        controller_id: row
            .opt_text("controller_id")?
            .map(|id| ControllerId::parse(&id))
            .transpose()
            .map_err(|_| INCONSISTENT("controller_id"))?,
        name: row.text("name")?,
        role: NotifyRole::parse(&row.text("role")?).ok_or(INCONSISTENT("role"))?,
        channel: Channel::parse(&row.text("channel")?).ok_or(INCONSISTENT("channel"))?,
        kinds: kinds.transpose()?,
        delivery: Delivery::parse(&row.text("delivery")?).ok_or(INCONSISTENT("delivery"))?,
        timezone: row.text("timezone")?,
        controllers: list("controllers")?,
        told_at: row.opt_int("told_at")?,
    })
}

fn target_place(owner: Option<&ControllerId>, id: &RouteId) -> Vec<u8> {
    place(&[owner.map_or("installation", ControllerId::as_str), id.as_str(), "notify_target"])
}

impl Store {
    /// Makes the routes of an owner those that its file describes, in one transaction; with `dry_run` only tells what would
    /// change. Returns the routes that changed, by name.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn apply_routes(
        &self,
        owner: Option<&ControllerId>,
        wanted: &[NewRoute],
        dry_run: bool,
        actor: &str,
    ) -> Result<Vec<(String, RouteChange)>, Error> {
        let now = self.now_ms();
        let mut tx = self.db.begin("apply routes").await?;
        let rows = tx
            .rows(
                &format!("-- routes_of_owner\nSELECT {COLUMNS} FROM notify_routes WHERE COALESCE(controller_id, '') = $1 AND deleted_at IS NULL ORDER BY name {{for_update}}"),
                args![owner.map_or("", ControllerId::as_str)],
            )
            .await?;
        let mut changes = Vec::new();
        let (mut kept, mut removed, mut changed) = (BTreeSet::new(), Vec::new(), Vec::new());
        for row in &rows {
            let old = read(row)?;
            let Some(new) = wanted.iter().find(|new| new.name == old.name) else {
                changes.push((old.name.clone(), RouteChange::Removed));
                if !dry_run {
                    tx.exec(
                        "-- remove_route\nUPDATE notify_routes SET deleted_at = $2 WHERE id = $1",
                        args![old.id.as_str(), now],
                    )
                    .await?;
                    removed.push(old.id);
                }
                continue;
            };
            kept.insert(old.name.clone());
            let target = self.open_target(owner, &old.id, &row.bytes("target")?).await?;
            let same = (&old.role, &old.channel, &old.kinds, &old.delivery, &old.timezone, &old.controllers, &target)
                == (&new.role, &new.channel, &new.kinds, &new.delivery, &new.timezone, &new.controllers, &new.target);
            if !same {
                changes.push((old.name.clone(), RouteChange::Changed));
                if !dry_run {
                    self.write_route(&mut tx, owner, &old.id, new, now).await?;
                    changed.push(old.id);
                }
            }
        }
        for new in wanted.iter().filter(|new| !kept.contains(&new.name)) {
            changes.push((new.name.clone(), RouteChange::Added));
            if !dry_run {
                let (ms, bytes) = self.id_parts()?;
                self.write_route(&mut tx, owner, &RouteId::from_parts(ms, bytes), new, now).await?;
            }
        }
        if dry_run || changes.is_empty() {
            return Ok(changes);
        }
        if let Some(owner) = owner {
            let names: Vec<_> =
                changes.iter().map(|(name, change)| json!({ "name": name, "change": change.as_str() })).collect();
            let event = NewEvent::new(None, "notify_routes_changed", json!({ "routes": names }));
            self.append_events(&mut tx, owner, actor, vec![event]).await?;
        }
        self.commit(tx).await?;
        self.settle_messages(&removed, &changed, now).await?;
        Ok(changes)
    }

    /// What waits for a removed route is dropped, and what could not be sent to a route as it was may be sent to it as it is.
    /// A transaction of its own: senders lock messages before routes. Should it be lost, the senders find out by themselves, as
    /// they do of announcements: that one was not told is recorded.
    async fn settle_messages(&self, removed: &[RouteId], changed: &[RouteId], now: i64) -> Result<(), Error> {
        let mut tx = self.db.begin("settle messages").await?;
        for id in removed {
            tx.exec(
                "-- drop_messages\nUPDATE messages SET q = NULL, open = 0, outcome = 'route_removed' WHERE id IN (SELECT id FROM messages WHERE route_id = $1 AND q = 'wait' AND announces IS NULL ORDER BY id {for_update})",
                args![id.as_str()],
            )
            .await?;
        }
        for id in changed {
            tx.exec(
                "-- try_route_again\nUPDATE messages SET not_before = $2 WHERE id IN (SELECT id FROM messages WHERE route_id = $1 AND q = 'wait' AND open = 0 AND not_before > $2 ORDER BY id {for_update})",
                args![id.as_str(), now],
            )
            .await?;
        }
        self.commit(tx).await
    }

    async fn write_route(
        &self,
        tx: &mut Tx,
        owner: Option<&ControllerId>,
        id: &RouteId,
        new: &NewRoute,
        now: i64,
    ) -> Result<(), Error> {
        let key = match owner {
            Some(owner) => self.controller_key(owner).await?,
            None => self.master.clone(),
        };
        let target = key.seal(&target_place(owner, id), new.target.to_bytes().expose())?;
        let kinds = new.kinds.as_ref().map(|kinds| json!(kinds).to_string());
        tx.exec(
            "-- write_route\nINSERT INTO notify_routes (id, controller_id, controllers, name, role, channel, kinds, delivery, timezone, target, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO UPDATE SET controllers = excluded.controllers, role = excluded.role, channel = excluded.channel, kinds = excluded.kinds, delivery = excluded.delivery, timezone = excluded.timezone, target = excluded.target",
            args![
                id.as_str(), owner.map(ControllerId::as_str), new.controllers.as_ref().map(|names| json!(names).to_string()), &new.name,
                new.role.as_str(), new.channel.as_str(), kinds, new.delivery.as_str(), &new.timezone, target, now
            ],
        )
        .await
        .map(drop)
    }

    /// Every route, by owner and name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn routes(&self) -> Result<Vec<Route>, Error> {
        let rows = self
            .db
            .rows(
                &format!("-- routes\nSELECT {COLUMNS} FROM notify_routes WHERE deleted_at IS NULL ORDER BY COALESCE(controller_id, ''), name"),
                vec![],
            )
            .await?;
        rows.iter().map(read).collect()
    }

    /// The routes that may have to be told of something that concerns these controllers.
    pub(crate) async fn routes_about(
        &self,
        tx: &mut Tx,
        controllers: &BTreeSet<&ControllerId>,
    ) -> Result<Vec<Route>, Error> {
        let arguments: Vec<Arg> = controllers.iter().map(|id| Arg::from(id.as_str())).collect();
        let rows = tx
            .rows(
                &format!("-- routes_about\nSELECT {COLUMNS} FROM notify_routes WHERE deleted_at IS NULL AND COALESCE(controller_id, '') IN ('', {}) ORDER BY id", places(1, arguments.len())),
                arguments,
            )
            .await?;
        rows.iter().map(read).collect()
    }

    /// Where a route leads, in clear.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was removed; or the master key is another one.
    pub async fn route_target(&self, id: &RouteId) -> Result<(Route, RouteTarget), Error> {
        let row = self
            .db
            .row(
                &format!("-- route_target\nSELECT {COLUMNS} FROM notify_routes WHERE id = $1 AND deleted_at IS NULL"),
                args![id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let mut route = read(&row)?;
        let owner = route.controller_id.take();
        let mut target = self.open_target(owner.as_ref(), id, &row.bytes("target")?).await?;
        if let (Some(owner), Channel::Webhook, None) = (&owner, route.channel, &target.secret) {
            target.secret = Some(Personal::from(self.webhook_secret_text(owner).await?));
        }
        route.controller_id = owner;
        Ok((route, target))
    }

    async fn open_target(
        &self,
        owner: Option<&ControllerId>,
        id: &RouteId,
        sealed: &[u8],
    ) -> Result<RouteTarget, Error> {
        let key = match owner {
            Some(owner) => self.controller_key(owner).await?,
            None => self.master.clone(),
        };
        let clear = Personal::new(key.open(&target_place(owner, id), sealed)?);
        RouteTarget::from_bytes(clear.expose())
    }
}
