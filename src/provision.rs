//! A controller's file is what `redress apply` takes: one controller, its connected systems, and whom to tell, in TOML. A
//! file without a controller is the operator's: whom to tell about all of them.
//!
//! It is read strictly, and every fault is named at once with file, line and path. A connected system is read the same
//! way from a file and from the body of `PUT /v1/systems/{name}` ([`read_system`]); what the two may say differs only
//! by [`Origin`], because a file is written by the operator and a body by anybody who holds a controller's key.

mod controller;
mod notify;
mod reader;
mod system;
mod terms;
#[cfg(test)]
mod tests;

pub(crate) use controller::is_country;
pub use controller::{ControllerDef, read_controller};
pub use system::{Origin, SecretDef, SecretSource, SystemDef, read_system, to_spec};

use crate::config::document::{Document, join};
use reader::Reader;
use redress_domain::words::Fault;
use redress_store::NewRoute;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What one file says.
#[derive(Debug, Clone)]
pub struct ControllerFile {
    /// The controller that all systems of the file belong to.
    pub controller: ControllerDef,
    /// Its connected systems, in the order of the file.
    pub systems: Vec<SystemDef>,
    /// Whom notices about its requests are told.
    pub notify: Vec<NewRoute>,
}

/// What one file that is given to `redress apply` says.
#[derive(Debug, Clone)]
pub enum ApplyFile {
    /// A controller, with all that is its own.
    Controller(Box<ControllerFile>),
    /// Whom the operator wants to be told, about every controller.
    Operator(Vec<NewRoute>),
}

impl ApplyFile {
    /// Reads a file. `env` gives the value of a variable, for secrets. Inside a Tokio runtime only, see [`read_system`].
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ProvisionFaults> {
        let name = path.display().to_string();
        let unread = |error: std::io::Error| {
            let fault = ProvisionFault { line: None, path: String::new(), detail: format!("cannot be read: {error}") };
            ProvisionFaults { file: name.clone(), faults: vec![fault] }
        };
        let text = std::fs::read_to_string(path).map_err(unread)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A server that runs elsewhere must find what the file means, so its folder is made absolute now.
        let folder = std::path::absolute(folder).map_err(unread)?;
        Self::parse(&text, &name, &folder, env)
    }

    /// Reads a text. `name` stands in faults, `base_dir` is what relative paths are relative to.
    pub fn parse(
        text: &str,
        name: &str,
        base_dir: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ProvisionFaults> {
        let fail = |faults| ProvisionFaults { file: name.to_owned(), faults };
        let document = Document::parse(text).map_err(|syntax| {
            fail(
                syntax
                    .into_iter()
                    .map(|fault| ProvisionFault { line: Some(fault.line), path: String::new(), detail: fault.detail })
                    .collect(),
            )
        })?;
        let root = Value::Object(document.root.clone());
        match read(&root, &Origin::File { base_dir, env }) {
            Ok(file) => Ok(file),
            Err(faults) => {
                let mut faults: Vec<ProvisionFault> = faults
                    .into_iter()
                    .map(|fault| ProvisionFault {
                        line: document.line(&fault.pointer),
                        path: dotted(&root, &fault.pointer),
                        detail: fault.detail,
                    })
                    .collect();
                faults.sort_by_key(|fault| fault.line);
                Err(fail(faults))
            }
        }
    }
}

impl ControllerFile {
    /// Reads a controller's file, as [`ApplyFile::load`] does.
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ProvisionFaults> {
        Self::of(ApplyFile::load(path, env)?, &path.display().to_string())
    }

    /// Reads the text of a controller's file, as [`ApplyFile::parse`] does.
    pub fn parse(
        text: &str,
        name: &str,
        base_dir: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ProvisionFaults> {
        Self::of(ApplyFile::parse(text, name, base_dir, env)?, name)
    }

    fn of(file: ApplyFile, name: &str) -> Result<Self, ProvisionFaults> {
        match file {
            ApplyFile::Controller(file) => Ok(*file),
            ApplyFile::Operator(_) => {
                let detail = "is missing; a file describes one [controller]".to_owned();
                let fault = ProvisionFault { line: None, path: "controller".into(), detail };
                Err(ProvisionFaults { file: name.to_owned(), faults: vec![fault] })
            }
        }
    }
}

fn read(root: &Value, origin: &Origin<'_>) -> Result<ApplyFile, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut reader = Reader::new(root, "", &mut faults);
    let controller = reader.take("controller").cloned();
    let systems = reader.take("system").cloned();
    let terms = reader.take("terms").cloned();
    let notify = reader.take("notify").cloned();
    reader.finish();
    if let (None, None, None, Some(notify)) = (&controller, &systems, &terms, &notify) {
        let routes = notify::read(notify, notify::Owner::Operator, origin, &mut faults);
        return if faults.is_empty() { Ok(ApplyFile::Operator(routes)) } else { Err(faults) };
    }
    if controller.is_none() {
        let detail = "is missing; a file describes one [controller], or only [[notify]] of the operator";
        faults.push(Fault::new("/controller", detail));
    }
    let mut controller = controller.and_then(|value| controller::read(&value, "/controller", &mut faults));
    let terms = terms.and_then(|value| terms::read(&value, "/terms", &mut faults));
    if let Some(controller) = &mut controller {
        controller.terms = terms;
    }
    let mut found: Vec<SystemDef> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    match &systems {
        None => {}
        Some(Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                let pointer = join("/system", &i.to_string());
                if let Some(name) = item.get("name").and_then(Value::as_str)
                    && let Some(first) = seen.insert(name.to_owned(), i)
                {
                    let detail = format!("is the name of system {} too; names are unique in a controller", first + 1);
                    faults.push(Fault::new(format!("{pointer}/name"), detail));
                }
                match system::read(item, &pointer, None, origin) {
                    Ok(system) => found.push(system),
                    Err(more) => faults.extend(more),
                }
            }
        }
        Some(_) => faults.push(Fault::new("/system", "must be a list of tables; write [[system]]")),
    }
    let timezone = controller.as_ref().map_or("UTC", |controller| controller.timezone.as_str());
    let owner = notify::Owner::Controller { timezone };
    let notify = notify.map(|value| notify::read(&value, owner, origin, &mut faults)).unwrap_or_default();
    match controller {
        Some(controller) if faults.is_empty() => {
            Ok(ApplyFile::Controller(Box::new(ControllerFile { controller, systems: found, notify })))
        }
        _ => Err(faults),
    }
}

/// A pointer as a reader of the file would say it: `/system/0/settings/port` is `system.crm.settings.port`.
fn dotted(root: &Value, pointer: &str) -> String {
    let mut path = String::new();
    let mut value = Some(root);
    for part in pointer.split('/').skip(1) {
        let key = part.replace("~1", "/").replace("~0", "~");
        let inside_list = value.is_some_and(Value::is_array);
        value =
            value.and_then(|v| if inside_list { key.parse().ok().and_then(|i: usize| v.get(i)) } else { v.get(&key) });
        if !path.is_empty() {
            path.push('.');
        }
        match value.and_then(|v| v.get("name")).and_then(Value::as_str) {
            Some(name) if inside_list && reader::is_name(name) => path.push_str(name),
            _ => path.push_str(&key),
        }
    }
    path
}

/// Everything that is wrong with a file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionFaults {
    /// The file.
    pub file: String,
    /// What is wrong, in the order of its lines.
    pub faults: Vec<ProvisionFault>,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionFault {
    /// Counted from 1; none if the file as a whole is meant.
    pub line: Option<usize>,
    /// Where, such as `system.crm.settings.port`; empty for a syntax fault.
    pub path: String,
    /// What is wrong and what would be right; never a secret.
    pub detail: String,
}

impl fmt::Display for ProvisionFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if let Some(line) = fault.line {
                write!(f, ":{line}")?;
            }
            if !fault.path.is_empty() {
                write!(f, ": {}", fault.path)?;
            }
            write!(f, ": {}", fault.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for ProvisionFaults {}
