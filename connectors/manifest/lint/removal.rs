//! What holds for deletions: only of what was compared exactly, with a second look, and called what they are.

use super::Lint;
use super::flow::holes;
use super::words::Context;
use crate::manifest::format::{Delete, DeleteEffect, Find};
use crate::manifest::template::JsonTemplate;

impl Lint<'_> {
    pub(super) fn deletes(&mut self) {
        for (name, delete) in &self.file.delete {
            let at = format!("delete.{name}");
            self.known_find(&format!("{at}.from"), &delete.from);
            self.found_exactly(&at, delete);
            self.worth(&at, delete);
            self.order(&at, name, delete);
            self.request(&at, delete);
            self.poll(&at, delete);
            self.harmless(&format!("{at}.gone"), &delete.gone);
            if !self.file.verify.contains_key(name) {
                self.error(
                    &at,
                    format!("has no [verify.{name}]: nothing is said to be deleted that was not looked for again"),
                );
            }
        }
        self.cycle(
            "delete",
            self.file.delete.iter().map(|(name, delete)| (name, delete.after.iter().collect())).collect(),
        );
        self.verifies();
    }

    fn found_exactly(&mut self, at: &str, delete: &Delete) {
        let chain = self.chain(&delete.from);
        let Some(root) = chain.last().copied() else { return };
        if is_blind(root) {
            self.warn(
                format!("{at}.from"),
                "is a find that asks nobody (`key_is`): the vendor must match the identifier exactly; say in `notes` where it says so",
            );
        } else if !root
            .by
            .iter()
            .all(|kind| root.exact.iter().any(|exact| exact.by == *kind && !exact.pointers.is_empty()))
        {
            self.error(
                format!("{at}.from"),
                "is a find without `exact` for each of its types: somebody else's records could be deleted",
            );
        }
    }

    fn worth(&mut self, at: &str, delete: &Delete) {
        let residual = delete.residual_days.is_some_and(|days| days > 0);
        match delete.effect {
            DeleteEffect::PermanentDelete if residual => {
                self.error(
                    format!("{at}.residual_days"),
                    "contradicts permanent_delete: what can be restored is a soft_delete",
                );
            }
            DeleteEffect::SoftDelete if !residual => {
                self.error(at, "is a soft_delete without `residual_days`: say for how long it can be restored");
            }
            DeleteEffect::ScheduleDelete if delete.completes_within_days.is_none_or(|days| days == 0) => {
                self.error(
                    at,
                    "is a schedule_delete without `completes_within_days`: say when the vendor promises it is done",
                );
            }
            _ => {}
        }
        if delete.effect != DeleteEffect::ScheduleDelete
            && delete.completes_within_days.is_some()
            && delete.poll.is_none()
        {
            self.error(
                format!("{at}.completes_within_days"),
                "belongs to schedule_delete, or to a deletion with `poll`",
            );
        }
    }

    fn order(&mut self, at: &str, name: &str, delete: &Delete) {
        for (i, after) in delete.after.iter().enumerate() {
            if after == name {
                self.error(format!("{at}.after.{i}"), "is itself");
            } else if !self.file.delete.contains_key(after) {
                self.unknown(
                    &format!("{at}.after.{i}"),
                    "delete step of this manifest named",
                    after,
                    self.file.delete.keys(),
                );
            }
        }
    }

    fn request(&mut self, at: &str, delete: &Delete) {
        let batched = delete.batch.is_some();
        let context = Context {
            record: !batched,
            records: batched,
            each: batched && delete.each.is_some(),
            step: true,
            subject: !batched,
            ..self.of_record(&delete.from)
        };
        self.step(&format!("{at}.request"), &delete.request, context);
        let named = holes(&delete.request);
        let root = if batched { "records" } else { "record" };
        if !named.iter().any(|hole| hole.path[0] == root) {
            let example = if batched { "${records.key}" } else { "${record.key}" };
            self.error(format!("{at}.request"), format!("does not name what is deleted, such as {example}"));
        }
        if let Some(batch) = &delete.batch {
            self.batch(&format!("{at}.batch"), batch);
            match (&batch.correlate, &delete.items) {
                (Some(_), None) => {
                    self.error(format!("{at}.batch.correlate"), "needs `items`: where the answer's outcomes are");
                }
                (None, Some(_)) => {
                    self.error(
                        format!("{at}.batch"),
                        "has outcomes for each item but no `correlate`: say whose they are (\"order\" or a pointer)",
                    );
                }
                _ => {}
            }
        }
        if let Some(each) = &delete.each {
            let path = format!("{at}.each");
            if !batched {
                self.error(&path, "needs `batch`");
            }
            match JsonTemplate::parse(each) {
                Err(fault) => self.error(&path, fault.to_string()),
                Ok(template) => {
                    let holes = template.placeholders();
                    for hole in &holes {
                        self.word(&path, hole, self.of_record(&delete.from));
                    }
                    if !holes.iter().any(|hole| hole.path[0] == "record") {
                        self.error(&path, "does not name the record, such as ${record.key}");
                    }
                }
            }
            if batched && !named.iter().any(|hole| hole.name() == "records.each") {
                self.error(&path, "is not used: the request does not name ${records.each}");
            }
        }
        delete.items.iter().chain(&delete.if_has).for_each(|pointer| self.pointer(at, pointer));
    }

    fn poll(&mut self, at: &str, delete: &Delete) {
        let Some(poll) = &delete.poll else { return };
        let at = format!("{at}.poll");
        self.pointer(&format!("{at}.handle"), &poll.handle);
        self.pointer(&format!("{at}.status"), &poll.status);
        let batched = delete.batch.is_some();
        let context = Context { handle: true, record: !batched, ..self.of_record(&delete.from) };
        self.step(&format!("{at}.request"), &poll.request, context);
        if !holes(&poll.request).iter().any(|hole| matches!(hole.path[0].as_str(), "handle" | "record")) {
            self.error(format!("{at}.request"), "does not name the order (${handle}) nor the record");
        }
        if poll.done.is_empty() {
            self.error(format!("{at}.done"), "names no word that means done: it would be asked for ever");
        }
        if let Some(word) = poll.running.iter().find(|word| poll.done.contains(word)) {
            self.error(format!("{at}.done"), format!("{word:?} cannot mean both under way and done"));
        }
        if poll.every_seconds < 5 {
            self.error(format!("{at}.every_seconds"), "must be at least 5");
        }
    }

    fn verifies(&mut self) {
        for (name, verify) in &self.file.verify {
            let at = format!("verify.{name}");
            if !self.file.delete.contains_key(name) {
                self.unknown(&at, "delete step named", name, self.file.delete.keys());
            }
            self.known_find(&format!("{at}.uses"), &verify.uses);
            verify.gone_if.keys().for_each(|pointer| self.pointer(&format!("{at}.gone_if"), pointer));
            let about = self.file.delete.get(name).map_or(verify.uses.as_str(), |delete| delete.from.as_str());
            if let Some(step) = &verify.request {
                let context = self.of_record(about);
                self.step(&format!("{at}.request"), step, context);
                self.names_record(&format!("{at}.request"), step);
            }
            let asks_nobody = self.file.find.get(&verify.uses).is_some_and(is_blind);
            if asks_nobody && verify.request.is_none() {
                self.error(
                    format!("{at}.uses"),
                    "is a find that asks nobody (`key_is`): it can never see that something is still there",
                );
            }
        }
    }
}

/// Whether a find asks nobody: its key follows from the identifier.
fn is_blind(find: &Find) -> bool {
    find.key_is.is_some() && find.request.is_none() && find.requests.is_empty()
}
