use super::client::GuardedResolver;
use super::*;
use OutboundFault::{Fragment, NotAUrl, NotPublic, Port, Scheme, TooLong, UserInfo};
use reqwest::dns::Resolve as _;
use std::sync::Arc;

fn policy(entries: &[&str]) -> OutboundPolicy {
    OutboundPolicy::parse(entries).expect("a policy")
}

#[test]
fn a_url_that_does_not_lead_to_the_public_internet_is_refused() {
    let refused = [
        // IPv4, in every spelling that a browser would understand.
        ("https://127.0.0.1/", NotPublic),
        ("https://2130706433/", NotPublic),
        ("https://0x7f000001/", NotPublic),
        ("https://0x7f.1/", NotPublic),
        ("https://0177.0.0.1/", NotPublic),
        ("https://017700000001/", NotPublic),
        ("https://127.1/", NotPublic),
        ("https://127.0.1/", NotPublic),
        ("https://127.0.0.1./", NotPublic),
        ("https://0/", NotPublic),
        ("https://0.0.0.0/", NotPublic),
        ("https://0x0/", NotPublic),
        ("https://①②⑦.⓪.⓪.①/", NotPublic),
        ("https://１２７.０.０.１/", NotPublic),
        ("https://127。0。0。1/", NotPublic),
        ("https://%31%32%37.0.0.1/", NotPublic),
        ("https://127%2e0%2e0%2e1/", NotPublic),
        ("https://0x7F.0X0.00.01/", NotPublic),
        ("https:127.0.0.1", NotPublic),
        ("https:\\\\127.0.0.1\\", NotPublic),
        ("https:////127.0.0.1/", NotPublic),
        ("https://127.0.0.1:8443/", NotPublic),
        ("https://127.255.255.254/", NotPublic),
        ("https://10.0.0.1/", NotPublic),
        ("https://172.16.0.1/", NotPublic),
        ("https://172.31.255.255/", NotPublic),
        ("https://192.168.1.1/", NotPublic),
        ("https://169.254.169.254/latest/meta-data/", NotPublic),
        ("https://2852039166/", NotPublic),
        ("https://0xa9.0xfe.0xa9.0xfe/", NotPublic),
        ("https://100.64.0.1/", NotPublic),
        ("https://100.100.100.200/", NotPublic),
        ("https://192.0.0.192/", NotPublic),
        ("https://192.0.2.1/", NotPublic),
        ("https://198.18.0.1/", NotPublic),
        ("https://198.51.100.7/", NotPublic),
        ("https://203.0.113.9/", NotPublic),
        ("https://224.0.0.1/", NotPublic),
        ("https://240.0.0.1/", NotPublic),
        ("https://255.255.255.255/", NotPublic),
        ("https://4294967295/", NotPublic),
        // IPv6, and IPv4 in it.
        ("https://[::]/", NotPublic),
        ("https://[::1]/", NotPublic),
        ("https://[0:0:0:0:0:0:0:1]/", NotPublic),
        ("https://[::ffff:127.0.0.1]/", NotPublic),
        ("https://[::ffff:7f00:1]/", NotPublic),
        ("https://[::ffff:169.254.169.254]/", NotPublic),
        ("https://[::ffff:93.184.216.34]/", NotPublic),
        ("https://[::127.0.0.1]/", NotPublic),
        ("https://[64:ff9b::a9fe:a9fe]/", NotPublic),
        ("https://[64:ff9b::5db8:d822]/", NotPublic),
        ("https://[64:ff9b:1::1]/", NotPublic),
        ("https://[2002:a9fe:a9fe::]/", NotPublic),
        ("https://[2002:7f00:1::]/", NotPublic),
        ("https://[2001:0:53aa:64c::1]/", NotPublic),
        ("https://[2001:db8::1]/", NotPublic),
        ("https://[3fff::1]/", NotPublic),
        ("https://[fe80::1]/", NotPublic),
        ("https://[fec0::1]/", NotPublic),
        ("https://[fc00::1]/", NotPublic),
        ("https://[fd00:ec2::254]/", NotPublic),
        ("https://[ff02::1]/", NotPublic),
        ("https://[100::1]/", NotPublic),
        // Names of private networks.
        ("https://localhost/", NotPublic),
        ("https://LOCALHOST/", NotPublic),
        ("https://localhost./", NotPublic),
        ("https://ｌｏｃａｌｈｏｓｔ/", NotPublic),
        ("https://%6cocalhost/", NotPublic),
        ("https://a.localhost/", NotPublic),
        ("https://printer.local/", NotPublic),
        ("https://metadata.google.internal/", NotPublic),
        ("https://metadata.google.internal./", NotPublic),
        ("https://redis/", NotPublic),
        ("https://api.default.svc.cluster.local/", NotPublic),
        // Other schemes.
        ("http://example.com/", Scheme),
        ("gopher://127.0.0.1:6379/_FLUSHALL", Scheme),
        ("file:///etc/passwd", Scheme),
        ("ftp://example.com/", Scheme),
        ("dict://127.0.0.1:11211/", Scheme),
        ("javascript:alert(1)", Scheme),
        ("data:text/plain,x", Scheme),
        ("ldap://example.com/", Scheme),
        ("wss://example.com/", Scheme),
        // Ports of other services.
        ("https://example.com:22/", Port),
        ("https://example.com:25/", Port),
        ("https://example.com:80/", Port),
        ("https://example.com:0/", Port),
        ("https://example.com:1023/", Port),
        ("https://example.com:3306/", Port),
        ("https://example.com:5432/", Port),
        ("https://example.com:6379/", Port),
        ("https://example.com:11211/", Port),
        ("https://example.com:27017/", Port),
        // Parts that have no place in it.
        ("https://user@example.com/", UserInfo),
        ("https://user:secret@example.com/", UserInfo),
        ("https://example.com@127.0.0.1/", UserInfo),
        ("https://:secret@example.com/", UserInfo),
        ("https://example.com/#x", Fragment),
        ("https://example.com/#", Fragment),
        // No URLs.
        ("", NotAUrl),
        ("example.com", NotAUrl),
        ("//example.com", NotAUrl),
        ("https://", NotAUrl),
        ("https://example.com:65536/", NotAUrl),
        ("https://exa mple.com/", NotAUrl),
        ("https://exa\tmple.com/", NotAUrl),
        ("https://example.com/\r\nHost: x", NotAUrl),
        (" https://example.com/", NotAUrl),
        ("https://example.com/\0", NotAUrl),
        ("https://[::1", NotAUrl),
        ("https://[fe80::1%25eth0]/", NotAUrl),
        ("https://256.256.256.256/", NotAUrl),
        ("https://1.2.3.4.5/", NotAUrl),
        ("https://example.com%00.evil.org/", NotAUrl),
        ("https://a\u{00ad}\u{200b}/", NotPublic),
    ];
    let policy = OutboundPolicy::default();
    let wrong: Vec<_> = refused
        .iter()
        .map(|(text, fault)| (text, Err(*fault), policy.check_url(text).map(String::from)))
        .filter(|(_, wanted, got)| wanted != got)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(policy.check_url(&format!("https://example.com/{}", "a".repeat(URL_MAX))), Err(TooLong));
}

#[test]
fn a_public_https_url_is_accepted_and_comes_back_in_one_spelling() {
    for (text, url) in [
        ("https://controller.example/dsr", "https://controller.example/dsr"),
        ("HTTPS://Hooks.Example.COM:443/a?b=c", "https://hooks.example.com/a?b=c"),
        ("https://example.com:8443/", "https://example.com:8443/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://93.184.216.34/", "https://93.184.216.34/"),
        ("https://1.1/", "https://1.0.0.1/"),
        ("https://[2606:4700:4700::1111]/", "https://[2606:4700:4700::1111]/"),
        ("https://example.com\\@127.0.0.1/", "https://example.com/@127.0.0.1/"),
        ("https://localhost.example.com/", "https://localhost.example.com/"),
        ("https://notlocal/../x", ""),
    ] {
        let got = OutboundPolicy::default().check_url(text).map(String::from).unwrap_or_default();
        assert_eq!(got, url, "{text}");
    }
}

#[test]
fn what_the_operator_lists_is_allowed_there_and_nowhere_else() {
    let policy = policy(&[
        "localhost:9000",
        "Hooks.Corp.Internal.",
        "10.1.0.0/16",
        "192.168.7.7:8080",
        "[fd00::/8]:8443",
        "::1",
        "bücher.example:25",
    ]);
    for (text, allowed) in [
        ("http://localhost:9000/", true),
        ("http://localhost:9000./", false),
        ("https://localhost/", false),
        ("http://localhost:9001/", false),
        ("http://a.localhost:9000/", false),
        ("http://hooks.corp.internal/", true),
        ("https://hooks.corp.internal:6379/", true),
        ("https://x.hooks.corp.internal/", false),
        ("http://10.1.2.3/", true),
        ("http://0x0a.1.2.3:22/", true),
        ("http://[::ffff:10.1.2.3]/", true),
        ("http://10.2.0.1/", false),
        ("http://192.168.7.7:8080/", true),
        ("http://192.168.7.7/", false),
        ("http://[fd12::1]:8443/", true),
        ("http://[fd12::1]/", false),
        ("http://[::1]:1234/", true),
        ("https://bücher.example:25/", true),
        ("https://bücher.example/", true),
        ("http://bücher.example/", false),
        ("gopher://hooks.corp.internal/", false),
        ("https://me@hooks.corp.internal/", false),
    ] {
        assert_eq!(policy.check_url(text).is_ok(), allowed, "{text}");
    }
}

#[test]
fn the_operators_own_addresses_may_lead_anywhere_by_http_and_nothing_else() {
    let policy = OutboundPolicy::of_operator();
    for text in ["http://127.0.0.1:8080/x", "http://hooks.internal/x", "https://10.0.0.1/", "http://localhost/"] {
        assert!(policy.check_url(text).is_ok(), "{text}");
    }
    for (text, fault) in [
        ("gopher://127.0.0.1/", Scheme),
        ("file:///etc/passwd", Scheme),
        ("http://me:pw@hooks.internal/", UserInfo),
        ("http://hooks.internal/#x", Fragment),
        ("hooks.internal", NotAUrl),
    ] {
        assert_eq!(policy.check_url(text).map(String::from), Err(fault), "{text}");
    }
    assert!(policy.admits("hooks.internal", &ips(&["10.0.0.1"]), None));
    assert!(!policy.admits("hooks.internal", &[], None));
}

#[test]
fn an_entry_that_means_nothing_is_refused() {
    for entry in [
        "",
        "  ",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/x",
        "a b",
        "127.1",
        "*.corp",
        "http://x",
        "x:0",
        "x:99999",
        "[::1",
        "[::1]8",
        "x/8",
        "1.2.3.4:",
    ] {
        assert!(OutboundPolicy::parse(&[entry]).is_err(), "{entry:?}");
    }
    assert!(BadAllow { entry: "x y".into() }.to_string().contains("\"x y\""));
    assert_eq!(policy(&["0.0.0.0/0"]).check_url("http://127.0.0.1/").map(|_| ()), Ok(()));
    assert_eq!(policy(&["::/0"]).check_url("http://[::1]/").map(|_| ()), Ok(()));
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn one_private_answer_spoils_all_answers_of_a_name() {
    let nothing = OutboundPolicy::default();
    assert!(nothing.admits("a.example", &ips(&["93.184.216.34", "2606:4700::1"]), None));
    for private in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:93.184.216.34", "fd00::1", "64:ff9b::1"]
    {
        assert!(!nothing.admits("a.example", &ips(&["93.184.216.34", private]), None), "{private}");
        assert!(!nothing.admits("a.example", &ips(&[private]), None), "{private}");
    }
    assert!(!nothing.admits("a.example", &[], None));
    let listed = policy(&["10.0.0.0/8", "192.168.0.0/16:8443", "b.example:8443", "c.example"]);
    assert!(listed.admits("a.example", &ips(&["93.184.216.34", "10.0.0.1"]), None));
    assert!(!listed.admits("a.example", &ips(&["192.168.0.1"]), None));
    assert!(!listed.admits("a.example", &ips(&["192.168.0.1"]), Some(443)));
    assert!(listed.admits("a.example", &ips(&["192.168.0.1"]), Some(8443)));
    assert!(listed.admits("b.example", &ips(&["127.0.0.1"]), Some(8443)));
    assert!(!listed.admits("b.example", &ips(&["127.0.0.1"]), None));
    assert!(listed.admits("c.example", &ips(&["127.0.0.1"]), None));
}

#[tokio::test]
async fn a_name_that_points_inside_is_refused_at_the_moment_of_the_call() {
    let resolve = async |entries: &[&str], port| {
        let resolver = GuardedResolver { policy: Arc::new(policy(entries)), port };
        resolver.resolve("localhost".parse().expect("a name")).await.map(Iterator::count)
    };
    let refused = resolve(&[], None).await.expect_err("refused");
    assert_eq!(refused.to_string(), "the host is not on the public internet");
    assert!(resolve(&["localhost:9000"], None).await.is_err());
    assert!(resolve(&["localhost:9000"], Some(9000)).await.is_ok());
    assert!(resolve(&["127.0.0.0/8", "::1"], None).await.is_ok());
}

#[test]
fn the_borders_of_the_ranges_are_where_the_registries_put_them() {
    for (text, global) in [
        ("0.255.255.255", false),
        ("1.0.0.0", true),
        ("9.255.255.255", true),
        ("11.0.0.0", true),
        ("100.63.255.255", true),
        ("100.127.255.255", false),
        ("100.128.0.0", true),
        ("172.15.255.255", true),
        ("172.32.0.0", true),
        ("192.0.1.0", true),
        ("198.17.255.255", true),
        ("198.19.255.255", false),
        ("198.20.0.0", true),
        ("223.255.255.255", true),
        ("239.255.255.255", false),
        ("1fff:ffff::", false),
        ("2000::", true),
        ("2001:1ff:ffff::", false),
        ("2001:200::", true),
        ("2001:db7:ffff::", true),
        ("2001:db9::", true),
        ("2003::", true),
        ("3ffe:ffff::", true),
        ("3fff:fff::", false),
        ("3fff:1000::", true),
        ("4000::", false),
    ] {
        assert_eq!(is_global(text.parse().expect("an address")), global, "{text}");
    }
}
