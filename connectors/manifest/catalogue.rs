//! The catalogue: the manifests that ship with the program, and those that the operator keeps in a folder of their own.
//!
//! An operator's manifest of a shipped one's name takes its place: a vendor's change need not wait for a release.

use super::builtin;
use super::finding::Finding;
use super::load::Loaded;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

type Known = BTreeMap<String, Result<Arc<Loaded>, String>>;

static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(|| {
    let shipped = builtin::ALL.iter().map(|(name, text)| ((*name).to_owned(), Loaded::trusted(text).map(Arc::new)));
    RwLock::new(shipped.collect())
});

/// The manifest of this name.
pub(super) fn get(name: &str) -> Option<Result<Arc<Loaded>, String>> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
}

/// Every manifest that can be used, by name.
pub fn known() -> Vec<Arc<Loaded>> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).values().filter_map(|loaded| loaded.clone().ok()).collect()
}

/// Their names.
pub fn names() -> Vec<String> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
}

/// An operator's own manifests, read and found sound.
#[derive(Debug)]
pub struct Own(Vec<Loaded>);

/// What is wrong with an operator's manifests.
#[derive(Debug)]
pub enum OwnFault {
    /// The folder or a file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// A manifest is not sound.
    Unsound(PathBuf, Vec<Finding>),
    /// The name is that of a connector that is no manifest, or of another file.
    Taken(PathBuf, String),
}

impl fmt::Display for OwnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, fault) => write!(f, "{}: {fault}", path.display()),
            Self::Unsound(path, findings) => {
                let errors = findings.iter().filter(|finding| finding.severity == super::Severity::Error);
                for (i, finding) in errors.enumerate() {
                    write!(f, "{}{}: {finding}", if i == 0 { "" } else { "; " }, path.display())?;
                }
                Ok(())
            }
            Self::Taken(path, id) => {
                write!(f, "{}: connector.id: {id:?} is taken; choose another name", path.display())
            }
        }
    }
}

impl Own {
    /// Reads every `.toml` file of a folder.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn read(folder: &Path) -> Result<Self, Vec<OwnFault>> {
        let unreadable = |path: &Path, fault| vec![OwnFault::Unreadable(path.to_owned(), fault)];
        let entries = std::fs::read_dir(folder).map_err(|fault| unreadable(folder, fault))?;
        let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths.map_err(|fault| unreadable(folder, fault))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        let (mut own, mut faults) = (Vec::<Loaded>::new(), Vec::new());
        for path in paths {
            match std::fs::read_to_string(&path) {
                Err(fault) => faults.push(OwnFault::Unreadable(path, fault)),
                Ok(text) => match Loaded::parse(&text) {
                    Err(findings) => faults.push(OwnFault::Unsound(path, findings)),
                    Ok(loaded) => {
                        let id = loaded.file.connector.id.clone();
                        let twice = own.iter().any(|other| other.file.connector.id == id);
                        if twice || crate::registry::is_native(&id) {
                            faults.push(OwnFault::Taken(path, id));
                        } else {
                            own.push(loaded);
                        }
                    }
                },
            }
        }
        if faults.is_empty() { Ok(Self(own)) } else { Err(faults) }
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|loaded| loaded.file.connector.id.as_str()).collect()
    }

    /// Makes them known to the whole process.
    pub fn install(self) {
        let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
        for loaded in self.0 {
            known.insert(loaded.file.connector.id.clone(), Ok(Arc::new(loaded)));
        }
    }
}
