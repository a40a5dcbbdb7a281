//! The check signs in, reads what the org says of the objects that are set up, and tells what the day has left.

use super::session::{Body, unreadable};
use super::{Desk, schema};
use crate::http::Method;
use crate::{CheckReport, Trouble};

/// Looks; changes nothing.
pub(super) async fn check(desk: &Desk) -> Result<CheckReport, Trouble> {
    let schema = schema::get(desk, true).await?;
    let mut report = CheckReport::default();
    for object in &schema.objects {
        let fields: Vec<&str> = object.identify.iter().map(|(_, field)| field.as_str()).collect();
        report.ok.push(format!("{}: people are found by {}", object.name, fields.join(", ")));
    }
    for child in &schema.children {
        report.ok.push(format!("{}: found by {}, which refers to {}", child.name, child.field, child.of));
    }
    if desk.setup.objects.is_none() && schema.object("Account").is_none() {
        report.ok.push("Account: the org has no person accounts, so accounts are left alone".to_owned());
    }
    if !schema.left_out.is_empty() {
        report.warnings.push(format!(
            "custom objects or fields with e-mail addresses are not searched: {}; name those that hold the person's own in settings.objects, or set custom_objects = true",
            schema.left_out.join(", ")
        ));
    }
    if !desk.setup.hard {
        report.warnings.push("delete is soft: the recycle bin keeps what is deleted for 15 days".to_owned());
    }
    let limits = desk.org.json(&desk.setup, Method::GET, &desk.path("limits"), &[], &Body::None).await?;
    let day = &limits["DailyApiRequests"];
    let (most, left) = (day["Max"].as_u64().ok_or_else(unreadable)?, day["Remaining"].as_u64().ok_or_else(unreadable)?);
    report.ok.push(format!(
        "calls of the day: {left} of {most} left in the org; nothing is sent once {:.0} % are used",
        desk.setup.daily_share * 100.0
    ));
    Ok(report)
}
