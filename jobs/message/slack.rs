//! A Slack message is JSON with a text and blocks, as Slack's incoming webhooks and those of many other programs take it.

use super::Told;
use super::words::Words;
use crate::{outbound, webhook};
use redress_store::RouteTarget;
use serde_json::{Value, json};

/// Slack takes 3,000 characters in a section.
const SECTION_MAX: usize = 2_900;
/// Slack takes 50 blocks; nobody reads so many.
const BLOCKS_MAX: usize = 20;
/// Slack takes 150 characters in a header.
const HEADER_MAX: usize = 150;

/// Sends a message once.
pub(super) async fn send(http: &outbound::Client, target: &RouteTarget, words: &Words) -> Told {
    let Some(url) = target.url.as_ref().and_then(|url| http.policy().check_url(url.expose()).ok()) else {
        return Told::Never("no_address");
    };
    webhook::send(http, &url, &[], body(words).to_string()).await.into()
}

fn body(words: &Words) -> Value {
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": cut(&words.subject, HEADER_MAX), "emoji": false },
    })];
    for section in &words.sections {
        let mut text = format!("*{}*\n{}\n", escaped(&section.title), escaped(section.advice));
        for line in &section.lines {
            let line = match &line.link {
                Some(link) => format!("• {} <{}|open>\n", escaped(&line.text), escaped(link)),
                None => format!("• {}\n", escaped(&line.text)),
            };
            if text.chars().count() + line.chars().count() > SECTION_MAX {
                blocks.push(block(&text));
                text.clear();
            }
            text += &line;
        }
        let more = if section.more > 0 { format!("• and {} more\n", section.more) } else { String::new() };
        text += &more;
        blocks.push(block(&text));
    }
    blocks.truncate(BLOCKS_MAX);
    blocks.push(block(&format!("<{}|Everything that is open>", escaped(&words.board))));
    // The text is what a notification on a telephone shows.
    json!({ "text": escaped(&words.subject), "blocks": blocks })
}

fn block(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(text.trim_end(), SECTION_MAX + 100) } })
}

/// The three characters that mean something to Slack.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::words::{Line, Section, tests as samples, words};
    use super::*;
    use redress_domain::notice::NoticeKind;

    #[test]
    fn what_means_something_to_slack_is_escaped() {
        let said = Words {
            subject: "a <b> & c".into(),
            sections: vec![Section {
                title: "<!channel>".into(),
                advice: "x",
                lines: vec![Line { text: "1 < 2 & <@U1>".into(), link: Some("https://x.example/?a=1&b=2".into()) }],
                more: 2,
            }],
            board: "https://x.example/".into(),
        };
        let body = body(&said);
        assert_eq!(body["text"], "a &lt;b&gt; &amp; c");
        assert_eq!(
            body["blocks"][1]["text"]["text"],
            "*&lt;!channel&gt;*\nx\n• 1 &lt; 2 &amp; &lt;@U1&gt; <https://x.example/?a=1&amp;b=2|open>\n• and 2 more"
        );
    }

    #[test]
    fn a_long_message_is_cut_into_blocks_that_slack_takes() {
        let all = (0..50).map(|n| samples::notice(n, NoticeKind::Overdue, None)).collect();
        let body = body(&words(&samples::contents(all), "https://dsr.example.com"));
        let blocks = body["blocks"].as_array().expect("blocks");
        assert!(blocks.len() > 3 && blocks.len() <= BLOCKS_MAX + 1);
        let mut lines = 0;
        for block in blocks {
            let text = block["text"]["text"].as_str().expect("a text");
            assert!(text.chars().count() <= 3_000);
            lines += text.matches("• ").count();
        }
        assert_eq!(lines, 50);
        assert!(body["text"].as_str().expect("a text").contains("50 requests of acme are overdue"));
    }
}
