//! A line of the queue: when, what, where, since when, who, and the form that does it.

use super::Names;
use super::entry::{Entry, What, remedy, who_can};
use crate::http::auth::Viewer;
use crate::http::board::parts::{self, at, count, day, distance, form, plain, term};
use crate::http::four_eyes;
use crate::http::view::instant;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::{DsrId, Permit};
use redress_store::{Approval, Controller, Dead, DeadLetter, DeskTask, Stopped, StuckGroup};

/// What a line is written with.
struct Desk<'a> {
    viewer: &'a Viewer,
    /// None for what is the operator's own.
    controller: Option<&'a Controller>,
    zone: TimeZone,
    now: i64,
}

pub(super) fn line(viewer: &Viewer, names: &Names, entry: &Entry, now: i64) -> Markup {
    let controller = entry.controller_id.as_ref().and_then(|id| names.get(id));
    let zone = controller.and_then(|c| TimeZone::get(&c.timezone).ok()).unwrap_or(TimeZone::UTC);
    let desk = Desk { viewer, controller, zone, now };
    let (what, who, action) = match &entry.what {
        What::Stuck(group) => desk.stuck(group),
        What::Task(task) => desk.task(task),
        What::Approval(approval) => desk.approval(approval),
        What::Dead(letter) => desk.dead(letter, names),
    };
    html! {
        tr data-row {
            td.date { (desk.due(entry.due_before)) }
            td { (what) }
            td { @match desk.controller {
                Some(controller) => a href=(parts::controller_path(&controller.name)) { bdi { (controller.name) } },
                None => span.quiet { "the operator's" },
            } }
            td.date { @if let Some(since) = entry.since { (ago(since, now)) } }
            td { (who) }
            td { (action) }
        }
    }
}

/// How long ago, with the moment for programs.
fn ago(since: i64, now: i64) -> Markup {
    html! { time datetime=[crate::http::view::time(since)] { (parts::span(now - since)) } }
}

fn request(id: &DsrId) -> Markup {
    html! { a.id href={ "/requests/" (id) } { (id) } }
}

/// `3 requests`
fn requests(n: i64) -> String {
    if n == 1 { "1 request".to_owned() } else { format!("{} requests", count(n)) }
}

impl Desk<'_> {
    fn due(&self, due_before: Option<i64>) -> Markup {
        // The due date is the last day that counts: that of the instant before the first that is too late.
        let date = due_before.and_then(|ms| instant(ms - 1)).map(|at| at.to_zoned(self.zone.clone()).date());
        html! {
            @if let Some(date) = date { (day(date)) " " span.quiet { (distance(date, self.now, &self.zone)) } }
            @else { span.quiet { "no date" } }
        }
    }

    fn name(&self) -> &str {
        self.controller.map_or("", |controller| controller.name.as_str())
    }

    fn system(&self, name: &str) -> Markup {
        html! { a href=(parts::system_path(self.name(), name)) { bdi { (name) } } }
    }

    fn who(&self, permit: Permit) -> Markup {
        html! { @if self.viewer.may(permit) { b { "You" } } @else { (who_can(permit)) } }
    }

    fn retry(&self, id: &DsrId, label: &str) -> Markup {
        let path = format!("/v1/requests/{id}/retry");
        html! {
            @if self.viewer.may(Permit::Retry) {
                (form(self.viewer, &path, "/queue", "retried", &html! {
                    button type="submit" { (label) span.hidden { " " (id) } }
                }))
            }
        }
    }

    fn stuck(&self, group: &StuckGroup) -> (Markup, Markup, Markup) {
        let (permit, helps) = remedy(&group.code);
        let n = group.count + group.waiting;
        let what = html! {
            @match &group.system {
                Some(system) => { (self.system(system)) ": " (term(&group.code, &plain(&group.code))) }
                None if group.code == "no_system_instructed" => "No connected system is instructed",
                None => { "The answer cannot be made: " (plain(&group.code)) }
            }
            @if n > 1 { " · " b { (requests(n)) " wait" @if n == 1 { "s" } } }
            @if !group.detail.is_empty() { p.quiet { bdi { (group.detail) } } }
            p.quiet { (helps) }
            @match &group.first[..] {
                [only] if group.count == 1 => p { (request(&only.dsr_id)) " " span.quiet { (only.kind) } },
                several => (self.several(group, several)),
            }
        };
        (what, self.who(permit), self.help(group))
    }

    fn several(&self, group: &StuckGroup, first: &[Stopped]) -> Markup {
        let mut list = url::form_urlencoded::Serializer::new(String::new());
        list.append_pair("status", "needs_attention").append_pair("controller", self.name());
        if let Some(system) = &group.system {
            list.append_pair("system", system);
        }
        let list = list.finish();
        html! {
            details {
                summary { "The most urgent" }
                ul { @for stopped in first { li { (request(&stopped.dsr_id)) " " span.quiet { (stopped.kind) } " " (self.due(Some(stopped.due_before))) } } }
                p { a href={ "/requests?" (list) } { "All of them" } }
            }
        }
    }

    /// The action for a cause: that of one request, or of the system that stops several.
    fn help(&self, group: &StuckGroup) -> Markup {
        let check = group.system.as_ref().filter(|_| group.count > 1 || group.code == "credentials_refused");
        html! {
            @if let Some(system) = check {
                @if self.viewer.may(Permit::Operate) {
                    (form(self.viewer, &parts::system_call(self.name(), system, "check"), "/queue", "checked", &html! {
                        button type="submit" { "Check " bdi { (system) } }
                    }))
                    p.quiet { "If it answers, everything that waits there is tried again." }
                } @else {
                    p { "Mend " (self.system(system)) }
                }
            } @else if let [only, ..] = &group.first[..] {
                (self.retry(&only.dsr_id, "Try again"))
                @if let Some(system) = &group.system { p.quiet { "Look at " (self.system(system)) } }
            }
        }
    }

    fn task(&self, task: &DeskTask) -> (Markup, Markup, Markup) {
        let id = &task.request.dsr_id;
        let what = html! {
            (term("task", "Task")) " in " (self.system(&task.system)) ": " (plain(task.verb.as_str()))
            @if task.late { " " span.badge { "not reported in time" } }
            @if let Some(by) = task.report_by { p.quiet { "to be reported by " (at(by, &self.zone)) } }
            p { (request(id)) " " span.quiet { (task.request.kind) } }
        };
        let action = html! {
            @if self.viewer.may(Permit::Task) {
                a href=(parts::task_path(id, &task.system)) { "Open the task" span.hidden { " of " (id) } }
            }
        };
        (what, self.who(Permit::Task), action)
    }

    fn approval(&self, approval: &Approval) -> (Markup, Markup, Markup) {
        let id = &approval.request.dsr_id;
        let asks = if approval.is_review {
            "Look at the result before it is handed over"
        } else {
            "Approve before anything is done"
        };
        let what = html! {
            (term("approval", "Approval")) ": " (asks)
            p { (request(id)) " " span.quiet { (approval.request.kind) } }
            p.quiet { "submitted by " span.id { (approval.submitter) } }
        };
        let policy = self.controller.map(|controller| &controller.policy);
        let eyes = policy.and_then(|policy| four_eyes::refusal(policy, &approval.submitter, self.viewer.actor()));
        let may = self.viewer.may(Permit::Decide);
        let who = html! {
            @match eyes {
                Some(reason) if may => { "Somebody else: " span.quiet { (reason) } }
                _ => (self.who(Permit::Decide)),
            }
        };
        let action = html! {
            @if may && eyes.is_none() {
                details.action {
                    summary { "Approve" span.hidden { " " (id) } }
                    (form(self.viewer, &format!("/v1/requests/{id}/approve"), "/queue", "approved", &html! {
                        p { (if approval.is_review { "The answer is handed over at once." } else { "Work begins at once." }) }
                        button.primary type="submit" { "Approve" }
                    }))
                }
            }
            @if may { p.quiet { a href={ "/requests/" (id) } { "Look, or reject" } } }
        };
        (what, who, action)
    }

    fn dead(&self, letter: &DeadLetter, names: &Names) -> (Markup, Markup, Markup) {
        let why = given_up(&letter.code);
        let what = match &letter.what {
            Dead::Step { dsr_id, system, verb } => html! {
                (term("dead_letter", "Given up")) ": "
                @match system { Some(system) => { (plain(verb)) " in " (self.system(system)) } None => "the answer" }
                p.quiet { (why) }
                p { (request(dsr_id)) }
            },
            Dead::Callback { dsr_id, count: n } => html! {
                (term("dead_letter", "Given up")) ": the controller was not told " (count(*n)) @if *n == 1 { " status" } @else { " statuses" }
                p.quiet { (why) }
                p { (request(dsr_id)) }
            },
            Dead::Message { id, route, channel, notices } => html! {
                (term("dead_letter", "Given up")) ": a message to " bdi { (route) } " (" (plain(channel)) ") "
                @match notices {
                    0 => "about emergency rights",
                    1 => "with 1 notice",
                    n => { "with " (count(*n)) " notices" }
                }
                p.quiet { (why) }
                p.quiet.id { (id) }
            },
        };
        let again = letter.what.can_be_replayed(&letter.code) && self.viewer.may(Permit::Retry);
        let send = |path: &str, label: &str| {
            form(self.viewer, path, "/queue", "sent_again", &html! { button type="submit" { (label) } })
        };
        let action = html! {
            @if again {
                @match &letter.what {
                    Dead::Step { dsr_id, .. } => (self.retry(dsr_id, "Try again")),
                    Dead::Callback { dsr_id, .. } => (send(&format!("/v1/requests/{dsr_id}/notify"), "Tell again")),
                    Dead::Message { id, .. } => {
                        // What is the operator's own is asked for in the name of any controller, by those who see all.
                        @let name = self.controller.or_else(|| names.values().next()).map_or("", |c| c.name.as_str());
                        (send(&parts::address(&format!("/v1/messages/{id}/replay"), &[("controller", name)]), "Send again"))
                    }
                }
            }
        };
        (what, self.who(Permit::Retry), action)
    }
}

/// Why something was given up, in a sentence.
fn given_up(code: &str) -> String {
    match code {
        "quarantined" => "Three workers died or stalled over it, so it is not tried by itself.".to_owned(),
        "given_up" => "Nobody answered in any of the tries, which went on for days.".to_owned(),
        "gone" => "The other side said that this address is gone for good.".to_owned(),
        "address_not_allowed" => "The address is not one that may be reached from here.".to_owned(),
        "sent_in_part" => "Some of the addresses were refused for good; mend them in the route.".to_owned(),
        "no_callback" => "There is no address to tell it to.".to_owned(),
        other => format!("The reason was: {}.", plain(other)),
    }
}
