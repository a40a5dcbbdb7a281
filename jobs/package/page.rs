//! The page is what a person opens first: everything that was found, in an order that can be read.
//!
//! It has no script and loads nothing, and says so to the browser. Every value is escaped where it is written.

use super::PackageInfo;
use super::manifest::{FileEntry, SourceEntry};
use super::table::Preview;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Records with more fields than this are shown as lists, one below the other: a wide table cannot be read or printed.
const TABLE_COLUMNS: usize = 6;
/// The most records that are shown as lists.
const LISTS: usize = 20;

const CSS: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--dim:#5b6675;--line:#dde2e8;--soft:#f5f7f9;--back:#fff;--link:#0b5cad}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--dim:#9aa5b4;--line:#333c48;--soft:#1c232c;--back:#13181f;--link:#7db8f5}}\
*{box-sizing:border-box}\
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
main{max-width:58rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}\
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .5rem;letter-spacing:-.01em}\
h2{font-size:1.3rem;margin:3rem 0 .75rem;padding-top:1.25rem;border-top:1px solid var(--line)}\
h3{font-size:1rem;margin:1.75rem 0 .5rem}\
p{margin:.5rem 0}\
a{color:var(--link)}\
.dim,caption,footer{color:var(--dim)}\
.lead{font-size:1.1rem;margin:1.25rem 0}\
.wide{overflow-x:auto}\
table{border-collapse:collapse;width:100%;font-size:.9rem}\
th,td{text-align:left;vertical-align:top;padding:.45rem .75rem .45rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}\
th{color:var(--dim);font-weight:600;white-space:nowrap}\
td{white-space:pre-wrap;min-width:6.5rem}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;min-width:4rem;padding-right:1.75rem}\
h3 span{font-weight:400;margin-left:.4rem}\
dl{display:grid;grid-template-columns:minmax(7rem,13rem) 1fr;gap:.3rem 1rem;margin:0 0 .9rem;padding:.8rem 1rem;background:var(--soft);border-radius:8px;font-size:.9rem}\
dl.top{background:none;padding:0;margin:1rem 0}\
dt{color:var(--dim);overflow-wrap:anywhere}\
dd{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}\
ul{padding-left:1.2rem}\
li{margin:.25rem 0;overflow-wrap:anywhere}\
footer{margin-top:3rem;padding-top:1.25rem;border-top:1px solid var(--line);font-size:.85rem}\
@media(max-width:36rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}}\
@media print{body{font-size:10.5pt}main{max-width:none;padding:0}.wide{overflow:visible}dl,tr{break-inside:avoid}h2,h3{break-after:avoid}thead{display:table-header-group}a{color:inherit}}\
";

/// The text of index.html.
pub(super) fn render(info: &PackageInfo, sources: &[SourceEntry], previews: &[Preview], files: &[FileEntry]) -> String {
    let records: u64 = sources.iter().map(|source| source.records).sum();
    let attachments: usize = sources.iter().flat_map(|s| &s.collections).map(|c| c.attachments.len()).sum();
    let title = format!("Your data at {}", info.controller);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="robots" content="noindex";
                title { (title) }
                style { (PreEscaped(CSS)) }
            }
            body {
                main {
                    h1 { (title) }
                    p.lead { (lead(info, sources.len(), records, attachments)) }
                    (about(info))
                    @if !sources.is_empty() { (overview(sources)) }
                    @for source in sources {
                        @if source.records > 0 || source.files > 0 { (section(source, previews, files)) }
                    }
                    (rights(info))
                    footer {
                        p { "The complete data are in the folder " code { "data" } ": as JSON Lines (exact) and as CSV (for spreadsheets). "
                            code { "README.txt" } " explains the files, and " code { "manifest.json" } " lists them with their checksums." }
                        p { "This page contains no programs and loads nothing from the internet. It holds personal data: keep it where only you can read it." }
                    }
                }
            }
        }
    }
    .into_string()
}

fn lead(info: &PackageInfo, systems: usize, records: u64, attachments: usize) -> String {
    let searched = counted(systems as u64, "system", "systems");
    let verb = if systems == 1 { "was" } else { "were" };
    if records == 0 && attachments == 0 {
        return format!("{searched} of {} {verb} searched. No personal data about you was found.", info.controller);
    }
    let mut found = Vec::new();
    if records > 0 {
        found.push(counted(records, "record", "records"));
    }
    if attachments > 0 {
        found.push(counted(attachments as u64, "file", "files"));
    }
    format!(
        "{searched} of {} {verb} searched. This is everything that was found about you: {}.",
        info.controller,
        found.join(" and ")
    )
}

fn about(info: &PackageInfo) -> Markup {
    html! {
        dl.top {
            dt { "Request" } dd { (info.request_id) " (" (info.request_type) ")" }
            @if let Some(reference) = &info.reference { dt { "Reference" } dd { (reference) } }
            dt { "Law" } dd { (info.regulation) }
            dt { "Made on" } dd { (info.generated_at.strftime("%-d %B %Y, %H:%M UTC").to_string()) }
            @for (kind, value) in &info.identifiers { dt { "Searched for " (words(kind)) } dd { (value) } }
        }
    }
}

fn overview(sources: &[SourceEntry]) -> Markup {
    html! {
        h2 { "Overview" }
        div.wide {
            table {
                thead { tr { th { "System" } th { "Kind" } th { "Result" } th.n { "Records" } th.n { "Files" } th { "Read on" } } }
                tbody {
                    @for (i, source) in sources.iter().enumerate() {
                        tr {
                            td {
                                @if source.files > 0 { a href=(format!("#s{i}")) { (source.system) } } @else { (source.system) }
                            }
                            td { (source.family.as_deref().map(words).unwrap_or_default()) }
                            td { (result(source)) }
                            td.n { (source.records) }
                            td.n { (source.collections.iter().map(|c| c.attachments.len()).sum::<usize>()) }
                            td { (source.retrieved_at.map(|at| at.strftime("%-d %b %Y, %H:%M UTC").to_string()).unwrap_or_default()) }
                        }
                    }
                }
            }
        }
    }
}

fn section(source: &SourceEntry, previews: &[Preview], files: &[FileEntry]) -> Markup {
    html! {
        h2 { (source.system) }
        @for preview in previews.iter().filter(|preview| preview.system == source.system) { (collection(preview)) }
        @for held in source.collections.iter().filter(|held| !held.attachments.is_empty()) {
            h3 { (held.name) span.dim { (counted(held.attachments.len() as u64, "file", "files")) } }
            ul {
                @for path in &held.attachments { (attachment(path, files)) }
            }
        }
    }
}

fn collection(preview: &Preview) -> Markup {
    let as_table = preview.columns.len() <= TABLE_COLUMNS;
    let shown = preview.shown.len().min(if as_table { usize::MAX } else { LISTS });
    html! {
        h3 { (preview.collection) span.dim { (counted(preview.records, "record", "records")) } }
        p.dim {
            @if (shown as u64) < preview.records { "The first " (shown) " are shown. All of them: " } @else { "Open as " }
            @if let Some(csv) = &preview.csv { a href=(csv) { "CSV" } " or " }
            a href=(preview.data) { "JSON Lines" }
        }
        @if as_table {
            div.wide {
                table {
                    thead { tr { @for column in &preview.columns { th { (column) } } } }
                    tbody {
                        @for record in &preview.shown {
                            tr { @for column in &preview.columns { td { (value(record, column)) } } }
                        }
                    }
                }
            }
        } @else {
            @for record in preview.shown.iter().take(shown) {
                dl { @for (column, text) in record { @if !text.is_empty() { dt { (column) } dd { (text) } } } }
            }
        }
    }
}

fn attachment(path: &str, files: &[FileEntry]) -> Markup {
    let file = files.iter().find(|file| file.path == path);
    let name = path.rsplit('/').next().unwrap_or(path);
    html! {
        li {
            a href=(path) { (file.and_then(|file| file.original_name.as_deref()).filter(|name| !name.trim().is_empty()).unwrap_or(name)) }
            @if let Some(file) = file { " " span.dim { (size(file.bytes)) ", " (file.media_type) } }
        }
    }
}

fn rights(info: &PackageInfo) -> Markup {
    html! {
        h2 { "Your rights" }
        p { "Depending on the law that applies to you, you can ask " (info.controller) " at any time to" }
        ul {
            li { "correct what is wrong or complete what is missing," }
            li { "delete data, or stop using them for a purpose," }
            li { "tell you why your data are held, for how long, and who received them," }
            li { "hand your data to you or to another service in a form that machines can read." }
        }
        p { "If you think that something is missing or unlawful, you can ask again, complain to the authority that supervises data protection where you live, or go to court." }
    }
}

fn value<'r>(record: &'r [(String, String)], column: &str) -> &'r str {
    record.iter().find(|(name, _)| name == column).map_or("", |(_, text)| text)
}

fn result(source: &SourceEntry) -> String {
    match source.outcome.as_str() {
        "done" | "verified" | "exported" if source.records > 0 || source.files > 0 => "Data found".into(),
        "done" | "verified" | "exported" | "nothing_found" => "Nothing found".into(),
        other => {
            let text = words(other);
            text.chars().take(1).flat_map(char::to_uppercase).chain(text.chars().skip(1)).collect()
        }
    }
}

fn words(text: &str) -> String {
    text.replace('_', " ")
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} KB", bytes.div_ceil(1_000)),
        _ => format!("{} MB", bytes.div_ceil(1_000_000)),
    }
}
