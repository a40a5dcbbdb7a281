//! A bucket on a real server, with a side door that does not use the connector.

use crate::http::{Answer, Call, Line, Method};
use crate::s3::xml::Element;
use crate::{Connector, Network, SystemSpec};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use redress_testkit::{Moto, S3s};
use serde_json::{Value, json};
use std::sync::Arc;
use url::Url;

/// What keeps the bucket.
pub(super) enum Store {
    Folder(S3s),
    Memory(Moto),
}

pub(super) struct Lab {
    pub(super) store: Store,
    pub(super) bucket: String,
    line: Line,
}

impl Lab {
    /// On s3s-fs.
    pub(super) async fn folder() -> Self {
        let server = S3s::start().await;
        server.bucket("people");
        let line = Line::new(&Network::default(), [&Url::parse(&server.url()).expect("a URL")]);
        Self { store: Store::Folder(server), bucket: "people".to_owned(), line }
    }

    /// On moto, in a bucket with versions.
    pub(super) async fn memory() -> Self {
        let server = Moto::start().await;
        let line = Line::new(&Network::default(), [&Url::parse(&server.url()).expect("a URL")]);
        let lab = Self { store: Store::Memory(server), bucket: "people".to_owned(), line };
        lab.put_raw("", "", &[("x-amz-bucket-object-lock-enabled", "true")], b"").await;
        let on = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status></VersioningConfiguration>";
        lab.put_raw("", "versioning", &[], on.as_bytes()).await;
        lab
    }

    /// A new empty bucket.
    pub(super) async fn plain_bucket(&mut self, name: &str) {
        name.clone_into(&mut self.bucket);
        self.put_raw("", "", &[], b"").await;
    }

    pub(super) fn url(&self) -> String {
        match &self.store {
            Store::Folder(server) => server.url(),
            Store::Memory(server) => server.url(),
        }
    }

    fn at(&self, key: &str, query: &str) -> Url {
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        let slash = if key.is_empty() { "" } else { "/" };
        Url::parse(&format!("{}{}{slash}{key}{query}", self.url(), self.bucket)).expect("a URL")
    }

    async fn call(&self, call: Call) -> Answer {
        // It checks no signature, but gives strangers no access.
        let call = call.header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
        );
        let answer = self.line.send(call).await.expect("the server answers");
        assert!(answer.is_success(), "{answer:?} {}", String::from_utf8_lossy(&answer.body));
        answer
    }

    pub(super) async fn put_raw(&self, key: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut call =
            Call::new(Method::PUT, self.at(key, query)).header("content-md5", STANDARD.encode(Md5::digest(body)));
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        call.body = body.to_vec();
        self.call(call).await
    }

    /// Makes an object, or a new version of it.
    pub(super) async fn put(&self, key: &str, body: &[u8]) {
        match &self.store {
            Store::Memory(_) => drop(self.put_raw(key, "", &[], body).await),
            Store::Folder(server) => {
                let file = server.bucket(&self.bucket).join(key);
                std::fs::create_dir_all(file.parent().expect("it is in the bucket")).expect("our own folder");
                std::fs::write(file, body).expect("our own folder");
            }
        }
    }

    /// What is there now.
    pub(super) async fn get(&self, key: &str) -> Vec<u8> {
        match &self.store {
            Store::Memory(_) => self.get_with_headers(key, "").await.body,
            Store::Folder(server) => std::fs::read(server.bucket(&self.bucket).join(key)).expect("the object is there"),
        }
    }

    pub(super) async fn get_with_headers(&self, key: &str, query: &str) -> Answer {
        self.call(Call::new(Method::GET, self.at(key, query))).await
    }

    pub(super) async fn delete(&self, key: &str) {
        self.call(Call::new(Method::DELETE, self.at(key, ""))).await;
    }

    /// Key, version and whether it is a delete marker, of all that the server still has.
    pub(super) async fn versions(&self) -> Vec<(String, String, bool)> {
        let answer = self.get_with_headers("", "versions").await;
        let list = Element::parse(&answer.body).expect("it is XML");
        let text = |element: &Element, name| element.text(name).expect("it is told").to_owned();
        list.children()
            .iter()
            .filter(|element| matches!(element.name(), "Version" | "DeleteMarker"))
            .map(|e| (text(e, "Key"), text(e, "VersionId"), e.name() == "DeleteMarker"))
            .collect()
    }

    /// The contents of every version of every object; what a folder has are the objects.
    pub(super) async fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let mut contents = Vec::new();
        match &self.store {
            Store::Memory(_) => {
                for (key, version, marker) in self.versions().await {
                    if !marker {
                        let body = self.get_with_headers(&key, &format!("versionId={version}")).await.body;
                        contents.push((key, body));
                    }
                }
            }
            Store::Folder(server) => {
                for entry in std::fs::read_dir(server.bucket(&self.bucket)).expect("our own folder").flatten() {
                    if entry.path().is_file() {
                        let name = entry.file_name().to_string_lossy().into_owned();
                        contents.push((name, std::fs::read(entry.path()).expect("our own folder")));
                    }
                }
            }
        }
        contents
    }

    pub(super) fn spec(&self, objects: &Value) -> SystemSpec {
        let (id, key) = match &self.store {
            Store::Folder(server) => (server.access_key(), server.secret_key()),
            Store::Memory(_) => ("AKIDTEST", "memory-canary"),
        };
        let settings = json!({
            "bucket": self.bucket, "region": "us-east-1", "base_url": self.url(), "path_style": true, "objects": objects,
        });
        SystemSpec {
            name: "store".into(),
            connector: "s3".into(),
            settings: settings.as_object().cloned().expect("an object"),
            secrets: [("access_key_id".to_owned(), id.into()), ("secret_access_key".to_owned(), key.into())].into(),
            tables: Vec::new(),
            max_matches: 25,
            base_dir: None,
            network: Network::default(),
        }
    }
}

pub(super) fn connect(spec: &SystemSpec) -> Arc<dyn Connector> {
    crate::registry::connect(spec).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// Rows in CSV and JSONL as the tests keep them.
pub(super) fn objects() -> Value {
    let identify = json!({"email": "email", "phone": "phone", "customer_id": "id"});
    let fields = json!({"full_name": "full_name"});
    json!([
        {"suffix": ".csv", "format": "csv", "identify": identify, "fields": fields},
        {"suffix": ".jsonl.gz", "format": "jsonl", "identify": identify, "fields": fields},
    ])
}
