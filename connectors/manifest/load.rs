//! Loading a manifest: everything that is wrong with it is told at once, with the line and what to do.

use super::finding::{Finding, Lines, Severity, line};
use super::format::ManifestFile;
use super::lint;
use super::plan::Plan;
use super::schema::schema;
use super::shape::{Misfit, Shape, What};
use super::template::nearest;
use serde_json::Value;
use std::sync::Arc;

/// A manifest that may be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub file: ManifestFile,
    /// What the engine runs.
    pub(super) plan: Arc<Plan>,
    /// What should be looked at although it can be used.
    pub warnings: Vec<Finding>,
}

impl Loaded {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Everything that is wrong with it, warnings besides, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        let lines = Lines::of(text);
        let (file, mut findings) = read(text, &lines)?;
        findings.extend(lint::of(&file).into_iter().map(|mut finding| {
            finding.line = lines.at(&finding.path);
            finding
        }));
        findings.sort_by_key(|finding| finding.line);
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(findings);
        }
        match Plan::of(file.clone()) {
            Ok(plan) => Ok(Self { file, plan: Arc::new(plan), warnings: findings }),
            Err(fault) => {
                let (path, severity) = (String::new(), Severity::Error);
                findings.push(Finding { path, line: None, severity, message: fault });
                Err(findings)
            }
        }
    }

    /// Reads a manifest that was looked at before: one of ours, which a test lints.
    pub(super) fn trusted(text: &str) -> Result<Self, String> {
        let file: ManifestFile = toml::from_str(text).map_err(|fault| fault.message().to_owned())?;
        let plan = Arc::new(Plan::of(file.clone())?);
        Ok(Self { file, plan, warnings: Vec::new() })
    }
}

/// Reads the types. What can be read although keys are misspelt is read, so that the lint can speak about the rest.
fn read(text: &str, lines: &Lines) -> Result<(ManifestFile, Vec<Finding>), Vec<Finding>> {
    let error =
        |line: Option<usize>, path: String, message: String| Finding { path, line, severity: Severity::Error, message };
    let unreadable = |fault: &toml::de::Error| {
        vec![error(fault.span().map(|span| line(text, span.start)), String::new(), fault.message().to_owned())]
    };
    let json: Value = toml::from_str(text).map_err(|fault| {
        let (_, faults) = toml::de::DeTable::parse_recoverable(text);
        if faults.is_empty() { unreadable(&fault) } else { faults.iter().flat_map(unreadable).collect() }
    })?;
    let misfits = Shape::of(schema()).misfits(schema(), &json);
    let mut without = json;
    let findings: Vec<Finding> = misfits
        .iter()
        .map(|misfit| {
            let path = misfit.at.join(".");
            if matches!(misfit.what, What::Unknown(_)) {
                remove(&mut without, &misfit.at);
            }
            error(lines.at(&path), path, words(misfit))
        })
        .collect();
    match serde_json::from_value(without) {
        Ok(file) => Ok((file, findings)),
        Err(_) if !findings.is_empty() => Err(findings),
        // The schema and the types are one source; this says so if they ever part.
        Err(fault) => Err(vec![error(None, String::new(), fault.to_string())]),
    }
}

fn words(misfit: &Misfit) -> String {
    match &misfit.what {
        What::Unknown(known) => {
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let word = misfit.at.last().map_or("", String::as_str);
            format!("is not a key that is known here{}; there are {}", nearest(word, &names), known.join(", "))
        }
        other => other.to_string(),
    }
}

fn remove(value: &mut Value, at: &[String]) {
    let Some((last, way)) = at.split_last() else { return };
    let place = way.iter().try_fold(value, |value, part| match value {
        Value::Object(map) => map.get_mut(part),
        Value::Array(list) => list.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    });
    if let Some(Value::Object(map)) = place {
        map.remove(last);
    }
}
