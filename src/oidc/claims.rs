//! Claims are what a token says about somebody (OpenID Connect Core 1.0); they are believed only if the token was made by our
//! provider, for us, for this very sign-in, and just now.

use serde_json::Value;

/// How far the provider's clock may be from ours (s).
const SKEW_SECONDS: i64 = 60;
/// A token that was made longer ago than a sign-in may take was made for another one (s).
const AGE_MAX_SECONDS: i64 = 660;
/// The longest subject that a provider may give (section 2).
const SUBJECT_MAX: usize = 255;

/// What a token has to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) nonce: &'a str,
    /// Unix seconds.
    pub(crate) now: i64,
}

impl Expected<'_> {
    /// What is wrong with the claims of an ID token (section 3.1.3.7), if anything is.
    pub(crate) fn fault(&self, claims: &Value) -> Option<&'static str> {
        let audience: Vec<&str> = match &claims["aud"] {
            Value::String(one) => vec![one.as_str()],
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let party = claims.get("azp").map(|party| party.as_str().unwrap_or_default());
        let second = |name: &str| claims[name].as_f64().map(|seconds| seconds as i64);
        if claims["iss"].as_str() != Some(self.issuer) {
            return Some("it is another issuer's");
        }
        if !audience.contains(&self.client_id) {
            return Some("it was made for another client");
        }
        if party.map_or(audience.len() > 1, |party| party != self.client_id) {
            return Some("it was asked for by another client");
        }
        if second("exp").is_none_or(|at| at <= self.now - SKEW_SECONDS) {
            return Some("its time is over");
        }
        if second("nbf").is_some_and(|at| at > self.now + SKEW_SECONDS) {
            return Some("its time has not come");
        }
        match second("iat") {
            Some(at) if at > self.now + SKEW_SECONDS => return Some("it comes from the future; compare the clocks"),
            Some(at) if at < self.now - AGE_MAX_SECONDS => return Some("it is too old; compare the clocks"),
            Some(_) => {}
            None => return Some("it does not say when it was made"),
        }
        if claims["nonce"].as_str() != Some(self.nonce) {
            return Some("it was made for another sign-in");
        }
        let subject = claims["sub"].as_str().unwrap_or_default();
        (subject.is_empty() || subject.len() > SUBJECT_MAX).then_some("it does not say who it is about")
    }
}

/// Adds what the token does not say from what the provider's userinfo says of the same person; none if it is another.
pub(crate) fn joined(mut claims: Value, info: &Value) -> Option<Value> {
    if info["sub"].as_str().is_none() || info["sub"] != claims["sub"] {
        return None;
    }
    let (Value::Object(all), Value::Object(more)) = (&mut claims, info) else { return None };
    for (name, value) in more {
        all.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Some(claims)
}

/// Somebody's groups: the claim of this name, or at the end of this path; one text or a list of them. None if it is not there.
pub(crate) fn groups(claims: &Value, claim: &str) -> Option<Vec<String>> {
    let found = claims.get(claim).or_else(|| claim.split('.').try_fold(claims, |value, name| value.get(name)))?;
    Some(match found {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn expected() -> Expected<'static> {
        Expected { issuer: "https://id.example", client_id: "redress", nonce: "n", now: NOW }
    }

    fn token() -> Value {
        json!({ "iss": "https://id.example", "aud": "redress", "sub": "ann", "nonce": "n", "iat": NOW - 5, "exp": NOW + 300 })
    }

    #[test]
    fn a_token_is_ours_for_this_sign_in_and_of_now() {
        assert_eq!(expected().fault(&token()), None);
        for (name, good) in [
            ("aud", json!(["redress"])),
            ("azp", json!("redress")),
            ("exp", json!(NOW - 59)),
            ("iat", json!(NOW + 60)),
            ("nbf", json!(NOW + 60)),
        ] {
            let mut claims = token();
            claims[name] = good.clone();
            assert_eq!(expected().fault(&claims), None, "{name} {good}");
        }
        for (name, bad, fault) in [
            ("iss", json!("https://id.example/"), "issuer"),
            ("iss", json!(null), "issuer"),
            ("aud", json!("other"), "another client"),
            ("aud", json!(["other"]), "another client"),
            ("aud", json!(null), "another client"),
            ("aud", json!(["redress", "other"]), "asked for by another"),
            ("azp", json!("other"), "asked for by another"),
            ("azp", json!(1), "asked for by another"),
            ("exp", json!(NOW - 60), "over"),
            ("exp", json!("tomorrow"), "over"),
            ("nbf", json!(NOW + 61), "not come"),
            ("iat", json!(NOW + 61), "future"),
            ("iat", json!(NOW - 661), "too old"),
            ("iat", json!(null), "when"),
            ("nonce", json!("m"), "another sign-in"),
            ("nonce", json!(null), "another sign-in"),
            ("sub", json!(""), "who"),
            ("sub", json!("x".repeat(256)), "who"),
        ] {
            let mut claims = token();
            claims[name] = bad.clone();
            assert!(expected().fault(&claims).is_some_and(|said| said.contains(fault)), "{name} {bad}");
        }
        let mut several = token();
        (several["aud"], several["azp"]) = (json!(["redress", "other"]), json!("redress"));
        assert_eq!(expected().fault(&several), None);
    }

    #[test]
    fn userinfo_adds_what_is_missing_and_only_of_the_same_person() {
        let claims = json!({ "sub": "ann", "email": "ann@id.example" });
        let info = json!({ "sub": "ann", "email": "other@id.example", "groups": ["team"] });
        let all = joined(claims.clone(), &info).unwrap();
        assert_eq!((&all["email"], &all["groups"]), (&json!("ann@id.example"), &json!(["team"])));
        for info in [json!({ "sub": "bob" }), json!({ "groups": ["team"] }), json!([]), json!({ "sub": null })] {
            assert_eq!(joined(claims.clone(), &info), None, "{info}");
        }
    }

    #[test]
    fn groups_are_found_by_name_or_path() {
        let claims = json!({ "groups": ["a", 1, "b"], "one": "c", "https://x.example/groups": ["d"], "realm": { "roles": ["e"] }, "n": 1 });
        for (claim, want) in [
            ("groups", Some(vec!["a", "b"])),
            ("one", Some(vec!["c"])),
            ("https://x.example/groups", Some(vec!["d"])),
            ("realm.roles", Some(vec!["e"])),
            ("n", Some(vec![])),
            ("realm.other", None),
            ("none", None),
        ] {
            let want = want.map(|all| all.into_iter().map(str::to_owned).collect());
            assert_eq!(groups(&claims, claim), want, "{claim}");
        }
    }
}
