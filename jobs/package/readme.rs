//! The package's README says in plain words what is in it.

use super::PackageInfo;

/// The text of README.txt.
pub(super) fn text(info: &PackageInfo, signed: bool) -> String {
    let one_line = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let controller = one_line(&info.controller);
    let mut out = format!(
        "YOUR DATA AT {upper}\n\
         \n\
         This is the answer of {controller} to your {kind} request {id}{reference}.\n\
         It was made on {date} under {law}.\n\
         \n\
         WHERE TO BEGIN\n\
         \n\
         Open index.html in any web browser. It works without the internet and contains\n\
         no programs.\n\
         \n\
         WHAT IS IN HERE\n\
         \n\
         index.html      an overview for reading; of long lists it shows the beginning\n\
         data/           every record that was found, by system and kind, twice:\n\
         \x20               .jsonl is exact: one record per line, as JSON, for programs\n\
         \x20               .csv opens in a spreadsheet, such as Excel or LibreOffice\n\
         attachments/    files that were found, such as e-mails, byte by byte\n\
         manifest.json   a list of all files with their sizes and checksums, and of the\n\
         \x20               systems that were searched\n",
        upper = controller.to_uppercase(),
        kind = one_line(&info.request_type),
        id = one_line(&info.request_id),
        reference = info.reference.as_ref().map(|r| format!(" (reference {})", one_line(r))).unwrap_or_default(),
        date = info.generated_at.strftime("%-d %B %Y, %H:%M UTC"),
        law = one_line(&info.regulation),
    );
    if signed {
        out.push_str(
            "manifest.sig    a signature of manifest.json: with it anybody can check that\n\
             \x20               nothing here was changed (redress verify FILE)\n",
        );
    }
    out.push_str(
        "\n\
         GOOD TO KNOW\n\
         \n\
         In the .csv files, text that begins with = + - @ or a tab has an apostrophe (')\n\
         before it, so that no spreadsheet runs it as a formula. Lists inside a field are\n\
         written as JSON. The .jsonl files are unchanged.\n\
         \n\
         Files that a double click would run, such as web pages and programs, have .txt\n\
         added to their names. Their content is unchanged. Treat files that others sent\n\
         with the usual care.\n\
         \n\
         This package holds personal data. Keep it where only you can read it.\n",
    );
    out
}
