//! A list is believed only when its last page was seen: a half of it, a loop or a list without end is never "nothing more".

use super::call::{Draft, Refusal, Reply, Run};
use super::classify::{Seen, matches};
use super::format::{Paging, When};
use super::pointer;
use crate::http::unreadable;
use crate::{Problem, Trouble};
use serde_json::Value;
use std::collections::HashSet;
use url::Url;

/// More pages than this are not one person's.
const PAGES_MAX: usize = 1_000;
/// Nor are more records.
const RECORDS_MAX: usize = 100_000;

/// Where the records of an answer are, and what means that there are none.
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    pub(super) items: &'a str,
    pub(super) paging: Option<&'a Paging>,
    pub(super) none: &'a [u16],
    pub(super) none_if: Option<&'a When>,
}

/// Every record of a list, page after page.
pub(super) async fn all(run: &Run<'_>, mut draft: Draft, list: List<'_>) -> Result<Vec<Value>, Refusal> {
    let mut records: Vec<Value> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut number = match list.paging {
        Some(Paging::Page { query, first, .. }) => {
            draft.set_query(query, first.to_string());
            *first
        }
        _ => 0,
    };
    if let Some(Paging::Offset { query, body, .. }) = list.paging {
        place(&mut draft, query.as_deref(), body.as_deref(), 0.into());
    }
    for page in 0..PAGES_MAX {
        let reply = match run.exchange(&draft).await {
            Ok(reply) => reply,
            Err(refusal) if page == 0 && refusal.is_one_of(list.none) => {
                return Ok(records);
            }
            Err(refusal) => return Err(refusal),
        };
        let nobody = list.none.contains(&reply.status) || (reply.gone && reply.by_rule) || says_none(&reply, list);
        if nobody && page == 0 {
            return Ok(records);
        }
        if nobody || reply.gone {
            // A page that was promised is gone, or the place itself is not there.
            return Err(if page == 0 { not_there(reply.status) } else { broke_off() });
        }
        let now = items(&reply.json, list.items)?;
        let count = now.len();
        // A vendor that does not know the parameter gives the same page for ever.
        let counted = matches!(list.paging, Some(Paging::Page { .. } | Paging::Offset { .. }));
        if counted && page > 0 && count > 0 && records.ends_with(&now) {
            return Err(looping());
        }
        records.extend(now);
        if records.len() > RECORDS_MAX {
            break;
        }
        let next = match list.paging {
            None => return Ok(records),
            Some(Paging::NextUrl { pointer }) => next_url(&draft, &reply, pointer)?.map(|url| {
                let position = url.to_string();
                draft = draft.at(url);
                position
            }),
            Some(Paging::Cursor { pointer, query, body, more }) => {
                cursor(&reply, pointer, more.as_deref())?.map(|cursor| {
                    let position = cursor.to_string();
                    place(&mut draft, query.as_deref(), body.as_deref(), cursor);
                    position
                })
            }
            Some(Paging::Page { query, size, more, .. }) => {
                let on = match more {
                    Some(more) => truth(&reply.json, more)?,
                    None => count as u64 >= *size,
                };
                on.then(|| {
                    number += 1;
                    draft.set_query(query, number.to_string());
                    number.to_string()
                })
            }
            Some(Paging::Offset { query, body, size, total }) => {
                let so_far = records.len() as u64;
                let on = match total {
                    Some(total) => {
                        let total = pointer::first(&reply.json, total).and_then(pointer::text);
                        let total: u64 = total.and_then(|text| text.parse().ok()).ok_or_else(unreadable)?;
                        if count == 0 && so_far < total {
                            return Err(broke_off());
                        }
                        so_far < total
                    }
                    None => count as u64 >= *size,
                };
                on.then(|| {
                    place(&mut draft, query.as_deref(), body.as_deref(), so_far.into());
                    so_far.to_string()
                })
            }
        };
        match next {
            None => return Ok(records),
            Some(position) => {
                if !seen.insert(position) {
                    return Err(looping());
                }
            }
        }
    }
    Err(Trouble::Ambiguous {
        matched: records.len() as u64,
        problem: Problem::new(
            "list_too_long",
            "the vendor's list is longer than any one person's can be; nothing was concluded from it: look at the person's records by hand",
        ),
    }
    .into())
}

fn says_none(reply: &Reply, list: List<'_>) -> bool {
    let seen = Seen { status: reply.status, headers: &reply.headers, json: Some(&reply.json), wait: None };
    list.none_if.is_some_and(|when| matches(when, seen, Some(&reply.json)))
}

/// The records of one answer. An answer in which the list is missing is none that its interface promises.
pub(super) fn items(json: &Value, at: &str) -> Result<Vec<Value>, Trouble> {
    let there = pointer::all(json, at);
    match there.as_slice() {
        [Value::Array(list)] => Ok(list.clone()),
        [Value::Object(map)] => Ok(vec![Value::Object(map.clone())]),
        [] if at.contains('*') && pointer::first(json, at.split("/*").next().unwrap_or_default()).is_some() => {
            Ok(Vec::new())
        }
        many if at.contains('*') && !many.is_empty() => {
            let each = many
                .iter()
                .map(|value| if let Value::Array(list) = value { list.clone() } else { vec![(*value).clone()] });
            Ok(each.flatten().collect())
        }
        _ => Err(unreadable()),
    }
}

fn place(draft: &mut Draft, query: Option<&str>, body: Option<&str>, value: Value) {
    match (query, body) {
        (Some(query), _) => draft.set_query(query, pointer::text(&value).unwrap_or_default()),
        (None, Some(body)) => draft.set_body(body, value),
        (None, None) => {}
    }
}

fn truth(json: &Value, at: &str) -> Result<bool, Trouble> {
    match pointer::all(json, at).as_slice() {
        [] | [Value::Null] => Ok(false),
        [Value::Bool(yes)] => Ok(*yes),
        // Some say the number of the next page.
        [Value::Number(_) | Value::String(_) | Value::Object(_)] => Ok(true),
        _ => Err(unreadable()),
    }
}

fn cursor(reply: &Reply, at: &str, more: Option<&str>) -> Result<Option<Value>, Trouble> {
    let cursor = match pointer::first(&reply.json, at) {
        None | Some(Value::Bool(false)) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(cursor @ (Value::String(_) | Value::Number(_))) => Some(cursor.clone()),
        Some(_) => return Err(unreadable()),
    };
    match more.map(|more| truth(&reply.json, more)).transpose()? {
        None => Ok(cursor),
        Some(false) => Ok(None),
        // More, but no way to it.
        Some(true) => cursor.map(Some).ok_or_else(unreadable),
    }
}

fn next_url(draft: &Draft, reply: &Reply, at: &str) -> Result<Option<Url>, Trouble> {
    let text = if at == "link" {
        reply.headers.iter().filter(|(name, _)| name == "link").find_map(|(_, value)| next_link(value))
    } else {
        match pointer::first(&reply.json, at) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => return Err(unreadable()),
        }
    };
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => draft.url.join(&text).map(Some).map_err(|_| unreadable()),
    }
}

/// The target of `rel="next"` in a header of RFC 8288.
fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let end = after.find('<').unwrap_or(after.len());
        let parameters = after[..end].to_ascii_lowercase().replace([' ', '"'], "");
        if parameters.split([';', ',']).any(|parameter| parameter == "rel=next") {
            return Some(target.to_owned());
        }
        rest = &after[end..];
    }
    None
}

fn looping() -> Refusal {
    Trouble::Retry(Problem::new(
        "pages_loop",
        "the vendor's list leads back to a page that was read already; nothing was concluded from it",
    ))
    .into()
}

fn broke_off() -> Refusal {
    Trouble::Retry(Problem::new(
        "list_incomplete",
        "the vendor's list ended before all that it promised; nothing was concluded from it",
    ))
    .into()
}

pub(super) fn not_there(status: u16) -> Refusal {
    let trouble = Trouble::Denied(Problem::new(
        "refused",
        format!(
            "the vendor says that there is no such place to search ({status}); see the system's address and settings"
        ),
    ));
    Refusal { trouble, invalid: false, status, by_rule: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_link_with_rel_next() {
        let header = r#"<https://v.example/a?p=1>; rel="prev", <https://v.example/a?p=3>; title="a"; rel="next""#;
        assert_eq!(next_link(header).as_deref(), Some("https://v.example/a?p=3"));
        assert_eq!(next_link(r#"<https://v.example/a>; rel="previous""#), None);
    }
}
