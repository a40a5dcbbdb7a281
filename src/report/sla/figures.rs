//! Figures are shown twice, as members and as columns; both name the same counts.

use crate::report::table::{Cell, cells};
use redress_domain::deadline::Band;
use redress_domain::regulation::PauseKind;
use redress_domain::report::{AGES, ClosedFigures, Figures, OpenFigures, Share};
use redress_domain::stage::Stage;
use serde_json::{Map, Value, json};

/// The columns that [`columns`] fills.
pub(super) const COLUMNS: [&str; 44] = [
    "open",
    "on_track",
    "at_risk",
    "critical",
    "overdue",
    "due_today",
    "past_statutory",
    "needs_attention",
    "awaiting_controller",
    "clock_not_started",
    "paused",
    "paused_identity",
    "paused_clarification",
    "paused_fee",
    "paused_controller",
    "paused_unknown",
    "open_extended",
    "forecast_late",
    "age_0_7",
    "age_8_14",
    "age_15_21",
    "age_22_30",
    "age_31_45",
    "age_46_60",
    "age_61_90",
    "age_over_90",
    "closed",
    "completed",
    "partially_completed",
    "rejected",
    "withdrawn",
    "expired",
    "answered",
    "on_time",
    "on_time_percent",
    "statutory_answered",
    "statutory_on_time",
    "statutory_on_time_percent",
    "extended",
    "extended_percent",
    "late_without_answer",
    "days_median",
    "days_p95",
    "days_mean",
];

/// What a clock can wait for, and what it is called when nobody knows.
const WAITING: [(Option<PauseKind>, &str); 5] = [
    (Some(PauseKind::Identity), "identity"),
    (Some(PauseKind::Clarification), "clarification"),
    (Some(PauseKind::Fee), "fee"),
    (Some(PauseKind::Controller), "controller"),
    (None, "unknown"),
];

/// The figures in the order of [`COLUMNS`].
pub(super) fn columns(figures: &Figures) -> Vec<Cell> {
    let (open, closed) = (&figures.open, &figures.closed);
    let mut row = cells![
        open.total,
        open.in_band(Band::OnTrack),
        open.in_band(Band::AtRisk),
        open.in_band(Band::Critical),
        open.in_band(Band::Overdue),
        open.due_today,
        open.past_statutory,
        open.needs_attention,
        open.awaiting_controller,
        open.not_started,
        open.paused.values().sum::<u64>(),
    ];
    row.extend(WAITING.iter().map(|(kind, _)| Cell::from(open.waiting_for(*kind))));
    row.extend(cells![open.extended, open.forecast_late]);
    row.extend(open.ages.iter().map(|count| Cell::from(*count)));
    row.extend(cells![
        closed.total(),
        closed.ended(Stage::Completed),
        closed.ended(Stage::PartiallyCompleted),
        closed.ended(Stage::Rejected),
        closed.ended(Stage::Withdrawn),
        closed.ended(Stage::Expired),
        closed.on_time.denominator,
        closed.on_time.numerator,
        closed.on_time.percent(),
        closed.within_statutory.denominator,
        closed.within_statutory.numerator,
        closed.within_statutory.percent(),
        closed.extended.numerator,
        closed.extended.percent(),
        closed.late_without_answer,
        closed.days.median(),
        closed.days.percentile(95),
        closed.days.mean(),
    ]);
    row
}

/// The figures as members.
pub(super) fn figures_json(figures: &Figures) -> Value {
    json!({ "open": open_json(&figures.open), "closed": closed_json(&figures.closed) })
}

fn open_json(open: &OpenFigures) -> Value {
    let kinds: Map<String, Value> =
        WAITING.iter().map(|(kind, name)| ((*name).to_owned(), json!(open.waiting_for(*kind)))).collect();
    let ages: Vec<Value> =
        AGES.iter().zip(open.ages).map(|((days, _), count)| json!({ "days": days, "count": count })).collect();
    json!({
        "total": open.total,
        "on_track": open.in_band(Band::OnTrack),
        "at_risk": open.in_band(Band::AtRisk),
        "critical": open.in_band(Band::Critical),
        "overdue": open.in_band(Band::Overdue),
        "due_today": open.due_today,
        "past_statutory": open.past_statutory,
        "needs_attention": open.needs_attention,
        "awaiting_controller": open.awaiting_controller,
        "clock_not_started": open.not_started,
        "paused": { "total": open.paused.values().sum::<u64>(), "by_kind": kinds },
        "extended": open.extended,
        "forecast_late": open.forecast_late,
        "ageing": ages,
    })
}

fn closed_json(closed: &ClosedFigures) -> Value {
    json!({
        "total": closed.total(),
        "completed": closed.ended(Stage::Completed),
        "partially_completed": closed.ended(Stage::PartiallyCompleted),
        "rejected": closed.ended(Stage::Rejected),
        "withdrawn": closed.ended(Stage::Withdrawn),
        "expired": closed.ended(Stage::Expired),
        "answered": closed.on_time.denominator,
        "on_time": share_json(closed.on_time),
        "statutory_on_time": share_json(closed.within_statutory),
        "extended": share_json(closed.extended),
        "late_without_answer": closed.late_without_answer,
        "days_to_answer": {
            "median": closed.days.median(), "p95": closed.days.percentile(95), "mean": closed.days.mean(), "requests": closed.days.count(),
        },
    })
}

/// A part with its whole and the percentage.
pub(super) fn share_json(share: Share) -> Value {
    json!({ "numerator": share.numerator, "denominator": share.denominator, "percent": share.percent() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_one_cell() {
        assert_eq!(columns(&Figures::default()).len(), COLUMNS.len());
    }

    #[test]
    fn every_kind_of_pause_has_a_column_of_its_own() {
        for kind in PauseKind::ALL {
            assert!(WAITING.contains(&(Some(*kind), kind.as_str())), "{kind}");
            assert!(COLUMNS.contains(&format!("paused_{kind}").as_str()), "{kind}");
        }
    }
}
