//! A filter says which requests are meant; its conditions are one text for lists, counts and exports.

use crate::db::{Arg, texts};
use redress_domain::deadline::Band;
use redress_domain::{ControllerId, DsrId, RequestType};

/// Which requests to list.
#[derive(Debug, Clone, Default)]
pub struct DsrFilter {
    /// With this status.
    pub status: Option<String>,
    /// Of this type.
    pub kind: Option<RequestType>,
    /// Governed by this law.
    pub regulation: Option<String>,
    /// With a step on the system of this name.
    pub system: Option<String>,
    /// Due before this instant (Unix ms).
    pub due_before: Option<i64>,
    /// Due at or after this instant (Unix ms).
    pub due_after: Option<i64>,
    /// Due at the latest at these instants (Unix ms): where the day ends depends on the controller. Whoever is not named is left out.
    pub due_by: Option<Vec<(i64, Vec<ControllerId>)>>,
    /// Received before this instant (Unix ms).
    pub received_before: Option<i64>,
    /// Received at or after this instant (Unix ms).
    pub received_after: Option<i64>,
    /// In this band, as the watch saw it last; overdue by this moment.
    pub band: Option<Band>,
    /// Those whose clock stands still, or the others.
    pub paused: Option<bool>,
    /// Only those that have not ended.
    pub open: bool,
    /// Only those that have ended.
    pub ended: bool,
    /// Those that are expected to end late, or the others.
    pub late: Option<bool>,
    /// Only these.
    pub ids: Option<Vec<DsrId>>,
    /// Older than this one.
    pub before: Option<DsrId>,
    /// At most so many.
    pub limit: i64,
}

/// Conditions with their arguments. Those by which an order is walked through stand apart from those that only sort out.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) arguments: Vec<Arg>,
    /// Served by an index.
    pub(crate) walked: Vec<String>,
    /// Looked at row by row.
    pub(crate) sorted_out: Vec<String>,
}

impl Conditions {
    pub(crate) fn of(filter: &DsrFilter, now: i64) -> Self {
        let mut all = Self::default();
        all.walk(filter);
        all.sort_out(filter, now);
        all
    }

    fn walk(&mut self, filter: &DsrFilter) {
        if filter.open {
            self.walked.push("d.closed_at IS NULL".into());
        }
        if filter.ended {
            self.walked.push("d.closed_at IS NOT NULL".into());
        }
        if filter.late == Some(true) {
            self.walked.push("d.forecast_late = 1 AND d.closed_at IS NULL".into());
        }
        if filter.status.as_deref() == Some("needs_attention") {
            // Written out, so that the index of these few is known to serve.
            self.walked.push("d.status = 'needs_attention' AND d.attention IS NOT NULL AND d.closed_at IS NULL".into());
        }
        if let Some(status) = filter.status.as_deref().filter(|status| filter.open && *status != "needs_attention") {
            self.walk_by("d.status = ?", status);
        }
        for (condition, at) in [("d.due_before < ?", filter.due_before), ("d.due_before >= ?", filter.due_after)] {
            if let Some(at) = at {
                self.walk_by(condition, at);
            }
        }
        if let Some(last) = filter.due_by.iter().flatten().map(|(at, _)| *at).max() {
            self.walk_by("d.due_before <= ?", last);
        }
        if let Some(ids) = &filter.ids {
            self.walk_by("d.id {in ?}", texts(ids.iter().map(DsrId::as_str)));
        }
    }

    fn sort_out(&mut self, filter: &DsrFilter, now: i64) {
        if let Some(status) = filter.status.as_deref().filter(|status| !filter.open && *status != "needs_attention") {
            self.add("d.status = ?", status);
        }
        if let Some(kind) = filter.kind {
            self.add("d.kind = ?", kind.as_str());
        }
        if let Some(regulation) = &filter.regulation {
            self.add("d.regulation = ?", regulation);
        }
        for (condition, at) in [
            ("d.instruction_received_at < ?", filter.received_before),
            ("d.instruction_received_at >= ?", filter.received_after),
        ] {
            if let Some(at) = at {
                self.add(condition, at);
            }
        }
        if let Some(ends) = &filter.due_by {
            let each: Vec<String> = ends
                .iter()
                .map(|(at, whose)| {
                    let (whose, at) = (self.place(texts(whose.iter().map(ControllerId::as_str))), self.place(*at));
                    format!("(d.controller_id {{in {whose}}} AND d.due_before <= {at})")
                })
                .collect();
            self.sorted_out.push(if each.is_empty() { "1 = 0".into() } else { format!("({})", each.join(" OR ")) });
        }
        match filter.band {
            Some(Band::Overdue) => self.add("(d.due_before <= ? OR d.band = 'overdue')", now),
            Some(band) => {
                let (band, now) = (self.place(band.as_str()), self.place(now));
                self.sorted_out.push(format!("d.band = {band} AND (d.due_before > {now} OR d.closed_at IS NOT NULL)"));
            }
            None => {}
        }
        match filter.paused {
            Some(true) => self.sorted_out.push("d.clock_state = 'paused' AND d.closed_at IS NULL".into()),
            Some(false) => self.sorted_out.push("(d.clock_state <> 'paused' OR d.closed_at IS NOT NULL)".into()),
            None => {}
        }
        if let Some(system) = &filter.system {
            self.add(
                "EXISTS (SELECT 1 FROM steps st JOIN systems sy ON sy.id = st.system_id WHERE st.dsr_id = d.id AND sy.name = ?)",
                system,
            );
        }
        if filter.late == Some(false) {
            self.sorted_out.push("(d.forecast_late = 0 OR d.closed_at IS NOT NULL)".into());
        }
    }

    /// Takes an argument; the text of its place.
    pub(crate) fn place(&mut self, argument: impl Into<Arg>) -> String {
        self.arguments.push(argument.into());
        format!("${}", self.arguments.len())
    }

    /// Adds a condition that only sorts out.
    pub(crate) fn add(&mut self, condition: &str, argument: impl Into<Arg>) {
        let place = self.place(argument);
        self.sorted_out.push(condition.replace('?', &place));
    }

    /// Adds a condition that an index serves.
    pub(crate) fn walk_by(&mut self, condition: &str, argument: impl Into<Arg>) {
        let place = self.place(argument);
        self.walked.push(condition.replace('?', &place));
    }

    /// Those by which the order is walked.
    pub(crate) fn walked(&self) -> String {
        joined(self.walked.iter())
    }

    /// All of them.
    pub(crate) fn all(&self) -> String {
        joined(self.walked.iter().chain(&self.sorted_out))
    }
}

fn joined<'a>(conditions: impl Iterator<Item = &'a String>) -> String {
    let text = conditions.map(String::as_str).collect::<Vec<_>>().join(" AND ");
    if text.is_empty() { "1 = 1".to_owned() } else { text }
}
