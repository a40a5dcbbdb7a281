//! Signs calls with AWS Signature Version 4: the keyed hash of what is sent, from which the service knows the sender and
//! that nothing was changed on the way. The secret key itself is never sent.

use super::Call;
use crate::Secret;
use ring::{digest, hmac};
use std::fmt::Write as _;
use url::Url;

/// What an AWS account, or a service that speaks like one, gives to a program.
#[derive(Clone)]
pub(crate) struct AccessKeys {
    /// Names the key; not secret by itself.
    pub(crate) id: Secret,
    /// The key.
    pub(crate) secret: Secret,
    /// Comes with temporary keys.
    pub(crate) session: Option<Secret>,
}

/// Signs calls to one service in one region.
pub(crate) struct Signer {
    keys: AccessKeys,
    region: String,
    service: &'static str,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} {})", self.service, self.region)
    }
}

impl Signer {
    /// A signer with these keys.
    pub(crate) fn new(keys: AccessKeys, region: &str, service: &'static str) -> Self {
        Self { keys, region: region.to_owned(), service }
    }

    /// The call with its signature as of this instant. All of its headers are signed: add none later.
    pub(crate) fn sign(&self, mut call: Call, now_ms: i64) -> Call {
        let (date, time) = stamp(now_ms);
        let payload = hex(digest::digest(&digest::SHA256, &call.body).as_ref());
        call = call.header("x-amz-date", &time);
        if self.service == "s3" {
            call = call.header("x-amz-content-sha256", &payload);
        }
        if let Some(session) = &self.keys.session {
            call = call.header("x-amz-security-token", session.expose());
        }
        let mut headers: Vec<(String, String)> =
            call.headers.iter().map(|(name, value)| (name.to_lowercase(), one_spaced(value))).collect();
        headers.push(("host".to_owned(), host(&call.url)));
        headers.sort();
        let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let lines = lines.concat();
        let path = match (self.service, call.url.path()) {
            (_, "") => "/".to_owned(),
            // An object's key is encoded once, every other service's path twice.
            ("s3", path) => path.to_owned(),
            (_, path) => path.split('/').map(encoded).collect::<Vec<_>>().join("/"),
        };
        let request = format!("{}\n{path}\n{}\n{lines}\n{names}\n{payload}", call.method, query(&call.url));
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let request = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{request}");
        let mut key = keyed(format!("AWS4{}", self.keys.secret.expose()).as_bytes(), &date);
        for part in [self.region.as_str(), self.service, "aws4_request"] {
            key = keyed(key.as_ref(), part);
        }
        let signature = hex(keyed(key.as_ref(), &text).as_ref());
        let id = self.keys.id.expose();
        call.header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"),
        )
    }
}

fn keyed(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A part of a path or query as AWS writes it: everything but unreserved characters by percent and capital digits.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The query in order. It must have been made of [`encoded`] parts.
fn query(url: &Url) -> String {
    let mut pairs: Vec<(&str, &str)> = url
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn one_spaced(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `20150830` and `20150830T123600Z`.
pub(crate) fn stamp(now_ms: i64) -> (String, String) {
    let seconds = now_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, so that a leap day ends its year.
    let since = days + 719_468;
    let era = since.div_euclid(146_097);
    let of_era = since.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let date = format!("{year:04}{month:02}{day:02}");
    let time = format!("{date}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60);
    (date, time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;

    /// 2015-08-30T12:36:00Z and 2013-05-24T00:00:00Z.
    const SUITE: i64 = 1_440_938_160_000;
    const GUIDE: i64 = 1_369_353_600_000;

    fn keys(id: &str, secret: &str) -> AccessKeys {
        AccessKeys { id: id.into(), secret: secret.into(), session: None }
    }

    fn signature(signer: &Signer, call: Call, now_ms: i64) -> String {
        let signed = signer.sign(call, now_ms);
        let (_, value) = signed.headers.iter().find(|(name, _)| name == "authorization").expect("it is signed");
        value.rsplit_once("Signature=").expect("it has a signature").1.to_owned()
    }

    fn get(url: &str) -> Call {
        Call::new(Method::GET, Url::parse(url).expect("a URL"))
    }

    #[test]
    fn the_published_test_suite_is_signed_as_published() {
        let signer =
            Signer::new(keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), "us-east-1", "service");
        for (url, expected) in [
            ("https://example.amazonaws.com/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            assert_eq!(signature(&signer, get(url), SUITE), expected, "{url}");
        }
        let post = Call::new(Method::POST, Url::parse("https://example.amazonaws.com/").expect("a URL"));
        assert_eq!(signature(&signer, post, SUITE), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    }

    #[test]
    fn the_examples_of_the_s3_guide_are_signed_as_printed_there() {
        let signer =
            Signer::new(keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), "us-east-1", "s3");
        let at = |rest: &str| format!("https://examplebucket.s3.amazonaws.com/{rest}");
        let ranged = get(&at("test.txt")).header("Range", "bytes=0-9");
        assert_eq!(
            signature(&signer, ranged, GUIDE),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let mut put = Call::new(Method::PUT, Url::parse(&at("test%24file.text")).expect("a URL"))
            .header("Date", "Fri, 24 May 2013 00:00:00 GMT")
            .header("x-amz-storage-class", "REDUCED_REDUNDANCY");
        put.body = b"Welcome to Amazon S3.".to_vec();
        assert_eq!(signature(&signer, put, GUIDE), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
        assert_eq!(
            signature(&signer, get(&at("?lifecycle")), GUIDE),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature(&signer, get(&at("?max-keys=2&prefix=J")), GUIDE),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn an_instant_is_written_as_the_signature_wants_it() {
        for (ms, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399_999, "20000228T235959Z"),
            (951_782_400_000, "20000229T000000Z"),
            (1_709_251_199_000, "20240229T235959Z"),
            (1_767_225_599_000, "20251231T235959Z"),
        ] {
            assert_eq!(stamp(ms).1, expected);
        }
    }
}
