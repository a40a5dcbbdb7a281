//! A listing pages through requests in an order, both ways, from where a page began or ended: no row is counted through.
//!
//! What an index cannot sort out is looked at row by row in windows that grow, so that the usual page costs little, and only so many
//! rows are looked at for one page: then it is short and says where to go on.

use crate::db::Row;
use crate::db::texts;
use crate::filter::{Conditions, DsrFilter};
use crate::{DsrRow, Error, Store};
use redress_domain::{ControllerId, DsrId};

/// Rows of the first window, and of the largest.
const WINDOWS: [i64; 2] = [400, 20_000];
/// So many rows are looked at for one page.
const LOOKED_AT_MAX: i64 = 40_000;
/// Counting stops there.
const COUNTED_MAX: i64 = 1_000;
/// So many rows are looked at to count.
const COUNTED_AMONG: i64 = 5_000;

/// What requests are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DsrColumn {
    /// When they are due; only open ones, or those that are named by their ids.
    Due,
    /// When we got them.
    Received,
    /// When they ended; only those that did.
    Ended,
    /// When they are foreseen to end; only open ones of which that can be foreseen.
    Foreseen,
}

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DsrSort {
    /// By what.
    pub column: DsrColumn,
    /// The latest first.
    pub descending: bool,
}

/// A place in an order: between two rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DsrPlace {
    /// The instant that the order goes by (Unix ms).
    pub at: i64,
    /// The request.
    pub id: DsrId,
}

/// A page of requests.
#[derive(Debug)]
pub struct DsrPage {
    /// In the order that was asked for.
    pub rows: Vec<DsrRow>,
    /// From where to go on in the direction that was asked for, if there may be more.
    pub next: Option<DsrPlace>,
}

/// How many requests a filter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DsrCount {
    /// So many.
    pub count: i64,
    /// And perhaps more: counting stopped.
    pub or_more: bool,
}

impl DsrColumn {
    const fn name(self) -> &'static str {
        match self {
            DsrColumn::Due => "due_before",
            DsrColumn::Received => "instruction_received_at",
            DsrColumn::Ended => "closed_at",
            DsrColumn::Foreseen => "forecast_ends_at",
        }
    }

    /// Where a request stands in this order.
    pub fn place(self, row: &DsrRow) -> DsrPlace {
        let at = match self {
            DsrColumn::Due => row.due_before,
            DsrColumn::Received => row.instruction_received_at,
            DsrColumn::Ended => row.closed_at.unwrap_or_default(),
            DsrColumn::Foreseen => {
                let at = row.forecast.as_ref().and_then(|foreseen| foreseen.finishes_at);
                at.map(jiff::Timestamp::as_millisecond).unwrap_or_default()
            }
        };
        DsrPlace { at, id: row.id.clone() }
    }
}

impl DsrSort {
    /// Whether ids are the order: each begins with the moment of receipt. Among the open ones of several controllers they are not, as
    /// no index has only those.
    fn is_by_id(self, scope: Option<&[ControllerId]>, filter: &DsrFilter) -> bool {
        self.column == DsrColumn::Received && !(filter.open && scope.is_none_or(|scope| scope.len() != 1))
    }

    /// `ORDER BY` of the rows called `alias`, or the reverse.
    fn order(self, by_id: bool, alias: &str, reversed: bool) -> String {
        let direction = if self.descending == reversed { "ASC" } else { "DESC" };
        if by_id {
            return format!("{alias}.id {direction}");
        }
        format!("{alias}.{} {direction}, {alias}.id {direction}", self.column.name())
    }

    fn conditions(self, scope: Option<&[ControllerId]>, filter: &DsrFilter, now: i64) -> Conditions {
        let mut conditions = Conditions::of(filter, now);
        match scope {
            None => {}
            Some([one]) => conditions.walk_by("d.controller_id = ?", one.as_str()),
            Some(several) => conditions.add("d.controller_id {in ?}", texts(several.iter().map(ControllerId::as_str))),
        }
        match self.column {
            DsrColumn::Ended => conditions.walked.push("d.closed_at IS NOT NULL".into()),
            DsrColumn::Foreseen => {
                conditions.walked.push("d.closed_at IS NULL AND d.forecast_ends_at IS NOT NULL".into());
            }
            DsrColumn::Due if filter.ids.is_none() => conditions.walked.push("d.closed_at IS NULL".into()),
            DsrColumn::Due | DsrColumn::Received => {}
        }
        conditions
    }

    fn beyond(self, by_id: bool, conditions: &mut Conditions, from: &DsrPlace, backwards: bool) {
        let sign = if self.descending == backwards { ">" } else { "<" };
        let condition = if by_id {
            format!("d.id {sign} {}", conditions.place(from.id.as_str()))
        } else {
            let (at, id) = (conditions.place(from.at), conditions.place(from.id.as_str()));
            format!("(d.{}, d.id) {sign} ({at}, {id})", self.column.name())
        };
        conditions.walked.push(condition);
    }
}

impl Store {
    /// A page of the requests of these controllers (or of all): those after `from` in this order, or with `backwards` those before
    /// it. At most `limit`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn list_dsrs(
        &self,
        scope: Option<&[ControllerId]>,
        filter: &DsrFilter,
        sort: DsrSort,
        from: Option<DsrPlace>,
        backwards: bool,
        limit: i64,
    ) -> Result<DsrPage, Error> {
        let by_id = sort.is_by_id(scope, filter);
        let (mut rows, mut place, mut looked_at) = (Vec::new(), from, 0);
        // Where nothing is sorted out, the page is the window.
        let plain = sort.conditions(scope, filter, 0).sorted_out.is_empty();
        let mut window = if plain { limit + 1 } else { WINDOWS[0].max(limit + 1) };
        let column = sort.column;
        let next = loop {
            let mut conditions = sort.conditions(scope, filter, self.now_ms());
            if let Some(place) = &place {
                sort.beyond(by_id, &mut conditions, place, backwards);
            }
            let inner = format!(
                "SELECT d.id, d.{} FROM dsrs d WHERE {} ORDER BY {} LIMIT {}",
                column.name(),
                conditions.walked(),
                sort.order(by_id, "d", backwards),
                conditions.place(window)
            );
            let rest = conditions.sorted_out.join(" AND ");
            let rest = if rest.is_empty() { "1 = 1" } else { &rest };
            let left = limit + 1 - rows.len() as i64;
            let sql = format!(
                "-- list_dsrs\nSELECT d.* FROM ({inner}) w JOIN dsrs d ON d.id = w.id WHERE {rest} ORDER BY {} LIMIT {}",
                sort.order(by_id, "d", backwards),
                conditions.place(left)
            );
            rows.extend(self.read_dsrs(&sql, conditions.arguments).await?);
            if rows.len() as i64 > limit {
                rows.truncate(usize::try_from(limit).unwrap_or_default());
                break rows.last().map(|row| column.place(row));
            }
            let Some((last, walked)) =
                self.end_of_window(scope, filter, sort, place.as_ref(), backwards, window).await?
            else {
                break None;
            };
            looked_at += walked;
            if walked < window {
                break None;
            }
            place = Some(last);
            if looked_at >= LOOKED_AT_MAX {
                break place;
            }
            window = (window * 8).min(WINDOWS[1]);
        };
        if backwards {
            rows.reverse();
        }
        Ok(DsrPage { rows, next })
    }

    /// The last row of a window and how many it has; none if it is empty.
    async fn end_of_window(
        &self,
        scope: Option<&[ControllerId]>,
        filter: &DsrFilter,
        sort: DsrSort,
        from: Option<&DsrPlace>,
        backwards: bool,
        window: i64,
    ) -> Result<Option<(DsrPlace, i64)>, Error> {
        // Those that only sort out are left out, and with them their arguments: they are made anew for an empty rest of the filter.
        let walked = DsrFilter {
            open: filter.open,
            ended: filter.ended,
            late: filter.late.filter(|late| *late),
            status: filter.status.clone().filter(|status| filter.open || status == "needs_attention"),
            due_before: match (filter.due_before, filter.due_by.iter().flatten().map(|(at, _)| *at + 1).max()) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            due_after: filter.due_after,
            ids: filter.ids.clone(),
            ..DsrFilter::default()
        };
        let by_id = sort.is_by_id(scope, filter);
        let scope = scope.filter(|scope| scope.len() == 1);
        let mut conditions = sort.conditions(scope, &walked, self.now_ms());
        if let Some(from) = from {
            sort.beyond(by_id, &mut conditions, from, backwards);
        }
        let inner = format!(
            "SELECT d.id, d.{} FROM dsrs d WHERE {} ORDER BY {} LIMIT {}",
            sort.column.name(),
            conditions.walked(),
            sort.order(by_id, "d", backwards),
            conditions.place(window)
        );
        let sql = format!(
            "-- end_of_window\nSELECT w.id, w.{} AS at, COUNT(*) OVER () AS n FROM ({inner}) w ORDER BY {} LIMIT 1",
            sort.column.name(),
            sort.order(by_id, "w", !backwards),
        );
        let row = self.db.row(&sql, conditions.arguments).await?;
        row.map(|row| Ok((read_place(&row)?, row.int("n")?))).transpose()
    }

    /// How many requests a filter means; counting stops at a thousand, or when too many rows were looked at.
    ///
    /// # Errors
    /// The database is away.
    pub async fn count_dsrs(
        &self,
        scope: Option<&[ControllerId]>,
        filter: &DsrFilter,
        column: DsrColumn,
    ) -> Result<DsrCount, Error> {
        let sort = DsrSort { column, descending: false };
        let conditions = sort.conditions(scope, filter, self.now_ms());
        let all_count = conditions.sorted_out.is_empty();
        let window = if all_count { COUNTED_MAX + 1 } else { COUNTED_AMONG };
        let inner = format!("SELECT d.id FROM dsrs d WHERE {} LIMIT {window}", conditions.walked());
        let sql = if all_count {
            format!("-- count_all\nSELECT COUNT(*) AS n, COUNT(*) AS walked FROM ({inner}) w")
        } else {
            format!(
                "-- count_dsrs\nSELECT COUNT(*) AS n, (SELECT COUNT(*) FROM ({inner}) v) AS walked FROM (SELECT 1 FROM ({inner}) w JOIN dsrs d ON d.id = w.id WHERE {} LIMIT {}) m",
                conditions.sorted_out.join(" AND "),
                COUNTED_MAX + 1
            )
        };
        let row = self.db.row(&sql, conditions.arguments).await?.ok_or(Error::NotFound)?;
        let (count, walked) = (row.int("n")?, row.int("walked")?);
        let or_more = count > COUNTED_MAX || (!all_count && walked >= window);
        Ok(DsrCount { count: count.min(COUNTED_MAX), or_more })
    }
}

fn read_place(row: &Row) -> Result<DsrPlace, Error> {
    let id = DsrId::parse(&row.text("id")?).map_err(|_| Error::Inconsistent { table: "dsrs", column: "id" })?;
    Ok(DsrPlace { at: row.int("at")?, id })
}
