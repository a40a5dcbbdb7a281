//! A body is parsed as JSON when the manifest is read and filled leaf by leaf: a value can never become a key, a second
//! object or the end of a text.

use super::template::{Placeholder, RenderFault, Scope, Template, TemplateFault};
use serde_json::{Map, Value};

/// The key whose object's fields stand beside the others.
const SPREAD: &str = "...";

/// A JSON document with holes in its texts.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonTemplate(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Plain(Value),
    Text(Template),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl JsonTemplate {
    /// Reads JSON, then the templates in its texts.
    ///
    /// # Errors
    /// It is not JSON, a key has a placeholder, or a template is wrong.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let json: Value = serde_json::from_str(text).map_err(|error| TemplateFault::NotJson(error.to_string()))?;
        node(json).map(Self)
    }

    /// The document with its holes filled.
    ///
    /// # Errors
    /// As [`Template::value`].
    pub fn fill(&self, scope: &Scope<'_>) -> Result<Value, RenderFault> {
        fill(&self.0, scope)
    }

    /// Every hole in it.
    pub fn placeholders(&self) -> Vec<&Placeholder> {
        let mut all = Vec::new();
        gather(&self.0, &mut |template| all.extend(template.placeholders()));
        all
    }

    /// Every text with holes in it.
    pub fn templates(&self) -> Vec<&Template> {
        let mut all = Vec::new();
        gather(&self.0, &mut |template| all.push(template));
        all
    }
}

fn node(json: Value) -> Result<Node, TemplateFault> {
    Ok(match json {
        Value::String(text) => {
            let template = Template::parse(&text)?;
            let holes = template.placeholders().count();
            if holes > 0 { Node::Text(template) } else { Node::Plain(template.plain().collect::<String>().into()) }
        }
        Value::Array(list) => Node::List(list.into_iter().map(node).collect::<Result<_, _>>()?),
        Value::Object(map) => {
            let pair = |(key, value): (String, Value)| {
                if key.contains("${") { Err(TemplateFault::KeyWithHole(key)) } else { Ok((key, node(value)?)) }
            };
            Node::Object(map.into_iter().map(pair).collect::<Result<_, _>>()?)
        }
        plain => Node::Plain(plain),
    })
}

fn fill(node: &Node, scope: &Scope<'_>) -> Result<Value, RenderFault> {
    match node {
        Node::Plain(value) => Ok(value.clone()),
        Node::Text(template) => template.value(scope),
        Node::List(list) => list.iter().map(|node| fill(node, scope)).collect(),
        Node::Object(pairs) => {
            let mut filled = Map::new();
            for (key, node) in pairs {
                match (key.as_str(), fill(node, scope)?) {
                    // What the manifest says itself is not overwritten.
                    (SPREAD, Value::Object(fields)) => {
                        for (key, value) in
                            fields.into_iter().filter(|(key, _)| !pairs.iter().any(|(own, _)| own == key))
                        {
                            filled.insert(key, value);
                        }
                    }
                    (SPREAD, _) => return Err(RenderFault::WrongType(SPREAD.to_owned())),
                    (key, value) => drop(filled.insert(key.to_owned(), value)),
                }
            }
            Ok(Value::Object(filled))
        }
    }
}

fn gather<'n>(node: &'n Node, each: &mut impl FnMut(&'n Template)) {
    match node {
        Node::Plain(_) => {}
        Node::Text(template) => each(template),
        Node::List(list) => list.iter().for_each(|node| gather(node, each)),
        Node::Object(pairs) => pairs.iter().for_each(|(_, node)| gather(node, each)),
    }
}
