//! Puts the holiday calendars of `config/holidays` into the executable, so that it needs no file beside it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

#[expect(clippy::disallowed_methods, reason = "cargo speaks to a build script through the environment")]
fn main() {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("config/holidays");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("config/holidays is there")
        .map(|entry| entry.expect("can be listed").file_name().into_string().expect("UTF-8"))
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "toml"))
        .collect();
    names.sort();
    let mut list = String::from("&[\n");
    for name in names {
        let path = folder.join(&name);
        let path = path.to_str().expect("UTF-8");
        writeln!(list, "    ({name:?}, include_str!({path:?})),").expect("a text takes any text");
    }
    list.push(']');
    let out = Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("holidays.rs");
    fs::write(out, list).expect("the folder for generated files can be written");
}
