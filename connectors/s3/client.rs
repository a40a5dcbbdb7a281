//! The calls to one bucket.

use super::settings::Config;
use super::xml::{Element, escaped};
use crate::http::sigv4::{Signer, encoded, stamp};
use crate::http::{Answer, Call, Line, Method, unreadable};
use crate::{Network, Problem, Trouble};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use redress_domain::{Clock as _, SystemClock};
use ring::digest;
use std::collections::BTreeMap;
use std::time::Duration;
use url::Url;

/// So many versions are deleted by one call.
const DELETE_MAX: usize = 1_000;
const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// A store of objects is slow with large ones.
const PATIENCE: Duration = Duration::from_mins(10);

/// One version of one object, or a mark that it was deleted.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) key: String,
    /// None where the bucket never had versions.
    pub(super) id: Option<String>,
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) latest: bool,
    /// It is not an object but says that there is none any more.
    pub(super) marker: bool,
}

/// What became of a version that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deleted {
    Gone,
    Refused,
}

/// The bucket.
pub(super) struct Client {
    pub(super) line: Line,
    signer: Signer,
    base: Url,
    bucket: Option<String>,
    max_object: usize,
    max_objects: u64,
}

impl Client {
    /// The way there.
    pub(super) fn new(config: &Config, network: &Network) -> Self {
        Self {
            line: Line::new(network, [&config.base]),
            signer: Signer::new(config.keys.clone(), &config.region, "s3"),
            base: config.base.clone(),
            bucket: config.path_style.then(|| config.bucket.clone()),
            max_object: config.max_object,
            max_objects: config.max_objects,
        }
    }

    /// A URL with these already encoded pairs. No URL can name a key with the parts `.` and `..`.
    fn url(&self, key: &str, query: &[(&str, String)]) -> Result<Url, Trouble> {
        if key.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(Trouble::Denied(Problem::new(
                "key_not_expressible",
                "an object's key has \".\" or \"..\" as a part, which no URL can name; rename it or exclude it by a narrower prefix",
            )));
        }
        let mut path: Vec<String> = self.bucket.iter().cloned().collect();
        if !key.is_empty() || self.bucket.is_none() {
            path.extend(key.split('/').map(encoded));
        }
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let base = self.base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{}{query}", path.join("/"))).map_err(|_| unreadable())
    }

    async fn send(&self, mut call: Call) -> Result<Answer, Trouble> {
        call.patience = PATIENCE;
        self.line.send(self.signer.sign(call, SystemClock.now_ms())).await
    }

    /// Whether the bucket has, or once had, versions.
    pub(super) async fn has_versions(&self) -> Result<bool, Trouble> {
        let call = Call::new(Method::GET, self.url("", &[("versioning", String::new())])?);
        let answer = self.send(call).await?;
        if answer.status == 501 {
            // Such a store says of itself that it knows nothing of versions.
            return Ok(false);
        }
        if !answer.is_success() {
            return Err(trouble(&answer, "s3:GetBucketVersioning"));
        }
        Ok(Element::read(&answer.body, &["VersioningConfiguration", "GetBucketVersioningResponse"])?
            .text("Status")
            .is_some())
    }

    /// Every version of every object whose key begins so; only what is now there if the bucket has no versions.
    pub(super) async fn list(&self, prefix: &str, versions: bool) -> Result<Vec<Version>, Trouble> {
        let (mut all, mut from) = (Vec::new(), Vec::<(&str, String)>::new());
        loop {
            let mut query = vec![("encoding-type", "url".to_owned()), ("prefix", encoded(prefix))];
            query.push(if versions { ("versions", String::new()) } else { ("list-type", "2".to_owned()) });
            query.extend(from.clone());
            let answer = self.send(Call::new(Method::GET, self.url("", &query)?)).await?;
            if !answer.is_success() {
                let permission = if versions { "s3:ListBucketVersions" } else { "s3:ListBucket" };
                return Err(trouble(&answer, permission));
            }
            let root = if versions { "ListVersionsResult" } else { "ListBucketResult" };
            let page = Element::read(&answer.body, &[root])?;
            let is_encoded = page.text("EncodingType") == Some("url");
            let plain = |text: &str| if is_encoded { decoded(text) } else { Some(text.to_owned()) };
            for element in page.children() {
                let marker = match element.name() {
                    "Contents" | "Version" => false,
                    "DeleteMarker" => true,
                    _ => continue,
                };
                let key = element.text("Key").and_then(plain).ok_or_else(unreadable)?;
                // What was not asked for is not looked at.
                if !key.starts_with(prefix) {
                    return Err(unreadable());
                }
                let id =
                    if versions { Some(element.text("VersionId").ok_or_else(unreadable)?.to_owned()) } else { None };
                let size = element.text("Size").and_then(|size| size.parse().ok());
                all.push(Version {
                    key,
                    id,
                    etag: element.text("ETag").unwrap_or_default().to_owned(),
                    size: if marker { 0 } else { size.ok_or_else(unreadable)? },
                    latest: !versions || element.is("IsLatest"),
                    marker,
                });
            }
            if all.len() as u64 > self.max_objects {
                return Err(Trouble::Denied(Problem::new(
                    "too_many_objects",
                    format!(
                        "more than {} objects or versions are under one prefix; raise max_objects, or name narrower prefixes",
                        self.max_objects
                    ),
                )));
            }
            if !page.is("IsTruncated") {
                return Ok(all);
            }
            let next = |name: &str| page.text(name).filter(|text| !text.is_empty());
            let then = if versions {
                let key = next("NextKeyMarker").and_then(plain).ok_or_else(unreadable)?;
                let version = next("NextVersionIdMarker").map(|id| ("version-id-marker", encoded(id)));
                [("key-marker", encoded(&key))].into_iter().chain(version).collect()
            } else {
                vec![("continuation-token", encoded(next("NextContinuationToken").ok_or_else(unreadable)?))]
            };
            if then == from {
                return Err(looping());
            }
            from = then;
        }
    }

    /// The content of one version, with its headers. It must still be what was listed.
    pub(super) async fn get(&self, version: &Version, label: &str) -> Result<Answer, Trouble> {
        if version.size > self.max_object as u64 {
            return Err(super::rows::too_large(label, self.max_object));
        }
        let query: Vec<(&str, String)> = version.id.iter().map(|id| ("versionId", encoded(id))).collect();
        let mut call = Call::new(Method::GET, self.url(&version.key, &query)?);
        if !version.etag.is_empty() {
            call = call.header("if-match", &version.etag);
        }
        call.answer_max = self.max_object;
        let answer = self.send(call).await?;
        if !answer.is_success() {
            return Err(match answer.status {
                404 | 412 => changed(label),
                _ => trouble(&answer, "s3:GetObject and s3:GetObjectVersion"),
            });
        }
        if answer.body.len() as u64 != version.size {
            return Err(unreadable());
        }
        Ok(answer)
    }

    /// Puts another content in place of the one that was read: only if nobody else did so meanwhile. Its new version.
    pub(super) async fn replace(
        &self,
        version: &Version,
        read: &Answer,
        body: Vec<u8>,
        label: &str,
    ) -> Result<String, Trouble> {
        // A bucket with a lock takes nothing without its checksum.
        let mut call = Call::new(Method::PUT, self.url(&version.key, &[])?)
            .header("if-match", &version.etag)
            .header("content-md5", STANDARD.encode(Md5::digest(&body)));
        for (name, value) in &read.headers {
            if is_kept(name) {
                call = call.header(name, value);
            }
        }
        if read.header("x-amz-tagging-count").is_some_and(|count| count != "0") {
            call = call.header("x-amz-tagging", self.tags(version).await?);
        }
        call.body = body;
        let answer = self.send(call).await?;
        match answer.status {
            200..=299 => Ok(answer.header("x-amz-version-id").unwrap_or("null").to_owned()),
            404 | 409 | 412 => Err(changed(label)),
            _ => Err(trouble(&answer, "s3:PutObject")),
        }
    }

    async fn tags(&self, version: &Version) -> Result<String, Trouble> {
        let mut query = vec![("tagging", String::new())];
        query.extend(version.id.iter().map(|id| ("versionId", encoded(id))));
        let answer = self.send(Call::new(Method::GET, self.url(&version.key, &query)?)).await?;
        if !answer.is_success() {
            return Err(trouble(&answer, "s3:GetObjectTagging, s3:GetObjectVersionTagging and s3:PutObjectTagging"));
        }
        let tagging = Element::read(&answer.body, &["Tagging", "GetObjectTaggingResponse"])?;
        let set = tagging.children().iter().flat_map(Element::children);
        let pair = |tag: &Element| Some(format!("{}={}", encoded(tag.text("Key")?), encoded(tag.text("Value")?)));
        Ok(set.filter_map(pair).collect::<Vec<_>>().join("&"))
    }

    /// Deletes versions, a thousand by a call; what became of each in their order.
    pub(super) async fn delete(&self, versions: &[Version]) -> Result<Vec<Deleted>, Trouble> {
        let mut all = Vec::with_capacity(versions.len());
        for chunk in versions.chunks(DELETE_MAX) {
            let object = |version: &Version| {
                let id = version
                    .id
                    .as_ref()
                    .map_or_else(String::new, |id| format!("<VersionId>{}</VersionId>", escaped(id)));
                format!("<Object><Key>{}</Key>{id}</Object>", escaped(&version.key))
            };
            let objects: String = chunk.iter().map(object).collect();
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>false</Quiet>{objects}</Delete>"
            );
            let call = Call::new(Method::POST, self.url("", &[("delete", String::new())])?)
                .header("content-md5", STANDARD.encode(Md5::digest(body.as_bytes())))
                .header("x-amz-checksum-sha256", STANDARD.encode(digest::digest(&digest::SHA256, body.as_bytes())))
                .body("application/xml", body);
            let answer = self.send(call).await?;
            if !answer.is_success() {
                return Err(trouble(&answer, "s3:DeleteObject and s3:DeleteObjectVersion"));
            }
            let result = Element::read(&answer.body, &["DeleteResult", "DeleteObjectsResponse"])?;
            let mut said = BTreeMap::new();
            for element in result.children() {
                let deleted = match (element.name(), element.text("Code").unwrap_or_default()) {
                    ("Deleted", _) | ("Error", "NoSuchKey" | "NoSuchVersion") => Deleted::Gone,
                    ("Error", "AccessDenied") => Deleted::Refused,
                    ("Error", code) => {
                        return Err(by_code(code, 200, "s3:DeleteObjectVersion").unwrap_or_else(unreadable));
                    }
                    _ => continue,
                };
                let id = element.text("VersionId").filter(|id| !id.is_empty()).map(str::to_owned);
                said.insert((element.text("Key").unwrap_or_default().to_owned(), id), deleted);
            }
            for version in chunk {
                // Some stores name no version with a refusal. A key of which nothing is said was not deleted.
                let refused = || said.get(&(version.key.clone(), None)).copied().filter(|d| *d == Deleted::Refused);
                let deleted = said.get(&(version.key.clone(), version.id.clone())).copied().or_else(refused);
                all.push(deleted.ok_or_else(unreadable)?);
            }
        }
        Ok(all)
    }

    /// Whether a version may not be deleted because it is locked, not because we lack a permission.
    pub(super) async fn is_locked(&self, version: &Version) -> Result<bool, Trouble> {
        let Some(id) = &version.id else { return Ok(false) };
        let head = self.send(Call::new(Method::HEAD, self.url(&version.key, &[("versionId", encoded(id))])?)).await?;
        if head.header("x-amz-object-lock-legal-hold") == Some("ON")
            || head.header("x-amz-object-lock-retain-until-date").is_some_and(is_ahead)
        {
            return Ok(true);
        }
        // Who may not read the lock is not told of it there.
        for what in ["legal-hold", "retention"] {
            let url = self.url(&version.key, &[(what, String::new()), ("versionId", encoded(id))])?;
            let answer = self.send(Call::new(Method::GET, url)).await?;
            if !answer.is_success() {
                match code(&answer).as_deref() {
                    Some("NoSuchObjectLockConfiguration" | "InvalidRequest" | "NotImplemented") => continue,
                    _ => return Err(trouble(&answer, "s3:GetObjectLegalHold and s3:GetObjectRetention")),
                }
            }
            let Some(element) = Element::parse(&answer.body) else { continue };
            if element.text("Status") == Some("ON") || element.text("RetainUntilDate").is_some_and(is_ahead) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether an instant (`2027-01-01T00:00:00Z`) is still to come; a retention that is over holds nothing.
fn is_ahead(instant: &str) -> bool {
    let plain: String = instant.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    let (_, now) = stamp(SystemClock.now_ms());
    plain.as_str() > now.trim_end_matches('Z')
}

/// What of an object is not its content, and goes with it.
fn is_kept(header: &str) -> bool {
    matches!(
        header,
        "cache-control"
            | "content-disposition"
            | "content-encoding"
            | "content-language"
            | "content-type"
            | "expires"
            | "x-amz-storage-class"
            | "x-amz-server-side-encryption"
            | "x-amz-server-side-encryption-aws-kms-key-id"
            | "x-amz-server-side-encryption-bucket-key-enabled"
            | "x-amz-website-redirect-location"
            | "x-amz-object-lock-mode"
            | "x-amz-object-lock-retain-until-date"
            | "x-amz-object-lock-legal-hold"
    ) || header.starts_with("x-amz-meta-")
}

fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

fn code(answer: &Answer) -> Option<String> {
    Element::read(&answer.body, &["Error"]).ok()?.text("Code").map(str::to_owned)
}

/// Somebody else wrote an object while it was worked on.
fn changed(label: &str) -> Trouble {
    Trouble::Retry(Problem::new(
        "object_changed",
        format!("an object of {label} was changed by somebody else in the meantime; it is tried again by itself"),
    ))
}

fn looping() -> Trouble {
    Trouble::Retry(Problem::new(
        "list_loops",
        "the list of objects goes round in circles; nothing was concluded from it",
    ))
}

/// What a refused call means.
fn trouble(answer: &Answer, permission: &str) -> Trouble {
    let code = code(answer).unwrap_or_default();
    by_code(&code, answer.status, permission).map_or_else(
        || answer.trouble(),
        |trouble| match (trouble, answer.said.wait_ms) {
            (Trouble::Throttled(_), Some(ms)) => Trouble::Throttled(Duration::from_millis(ms.max(0) as u64)),
            (trouble, _) => trouble,
        },
    )
}

fn by_code(code: &str, status: u16, permission: &str) -> Option<Trouble> {
    let denied = |code, detail: String| Some(Trouble::Denied(Problem::new(code, detail)));
    match code {
        "AccessDenied" | "AllAccessDisabled" => denied(
            "permission_missing",
            format!(
                "the store does not permit this call; grant {permission} on the bucket and its objects, then check the system"
            ),
        ),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            denied(
                "credentials_refused",
                "the store refused the access key; set it anew with `redress apply`, then check the system".to_owned(),
            )
        }
        "NoSuchBucket" => {
            denied("bucket_missing", "there is no such bucket; check settings.bucket and region".to_owned())
        }
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            denied("region_wrong", "the bucket is in another region; check settings.region".to_owned())
        }
        "RequestTimeTooSkewed" => denied("clock_wrong", "this machine's clock is wrong by minutes; mend it".to_owned()),
        "InvalidObjectState" => denied(
            "object_archived",
            "an object is archived and cannot be read; restore it, or exclude it by a narrower prefix".to_owned(),
        ),
        "SlowDown" | "ServiceUnavailable" | "RequestLimitExceeded" | "TooManyRequests" => {
            Some(Trouble::Throttled(DEFAULT_WAIT))
        }
        "InternalError" | "RequestTimeout" | "OperationAborted" => Some(Trouble::Retry(Problem::new(
            "vendor_error",
            format!("the store answered {code}; it is tried again by itself"),
        ))),
        // Without a body: what HEAD-like refusals and foreign gateways say.
        "" if status == 403 => None,
        _ => None,
    }
}
