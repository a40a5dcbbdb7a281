//! How a controller's file connects to each simulator: the settings and the made-up credentials that it takes.

use crate::vendors::asked::KEY;
use crate::vendors::{bigquery, gmail, graph, jmap, opendsr, salesforce, snowflake, twilio, warehouse_key, webhook};
use std::fmt::Write as _;

/// The `[[system]]` table for a vendor that is served at this URL.
pub fn system(name: &str, vendor: &str, url: &str) -> String {
    let (family, settings, secrets) = of(vendor);
    let mut text = format!("[[system]]\nname = \"{name}\"\nfamily = \"{family}\"\nconnector = \"{vendor}\"\n");
    let settings = settings.replace("{url}", url);
    let _never_fails = writeln!(text, "settings = {{ {settings} }}");
    if !secrets.is_empty() {
        let secrets: Vec<String> =
            secrets.iter().map(|(name, value)| format!("{name} = {{ value = {} }}", quoted(value))).collect();
        let _never_fails = writeln!(text, "secrets = {{ {} }}", secrets.join(", "));
    }
    text.push_str("allow = [\"access\", \"correction\", \"deletion\"]\n");
    // Tables of the system come after all that is its own.
    text.push_str(match vendor {
        "bigquery" => bigquery::TABLES,
        "snowflake" => snowflake::TABLES,
        _ => "",
    });
    text
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// A connection: family, settings (with `{url}`), secrets.
type Connection = (&'static str, String, Vec<(&'static str, &'static str)>);

fn of(vendor: &str) -> Connection {
    let base = "base_url = \"{url}\"";
    let (family, more, secrets): (_, String, &[(&str, &str)]) = match vendor {
        "activecampaign" => ("marketing", "url = \"https://sandbox.api-us1.com\"".into(), &[("api_key", KEY)]),
        "amplitude" => ("analytics", String::new(), &[("api_key", KEY), ("secret_key", KEY)]),
        "bigquery" => (
            "warehouse",
            format!(
                "token_url = \"{{url}}/token\", project = \"{}\", service_account = \"{}\", location = \"EU\"",
                bigquery::PROJECT,
                bigquery::SERVICE_ACCOUNT
            ),
            &[("private_key", warehouse_key::PRIVATE_KEY)],
        ),
        "braze" => ("marketing", "cluster = \"eu-01\"".into(), &[("api_key", KEY)]),
        "brevo" | "iterable" | "klaviyo" => ("marketing", String::new(), &[("api_key", KEY)]),
        "customerio" => (
            "marketing",
            "track_url = \"{url}\"".into(),
            &[("app_key", KEY), ("site_id", KEY), ("track_key", KEY)],
        ),
        "dynamics365" => (
            "crm",
            "login_url = \"{url}\", url = \"https://sandbox.crm4.dynamics.com\", tenant = \"tenant\", client_id = \"app\"".into(),
            &[("client_secret", KEY)],
        ),
        "gmail" => (
            "email",
            format!(
                "token_url = \"{{url}}/token\", directory_url = \"{{url}}\", service_account = \"{}\", admin = \"{}\", mailboxes = [\"*\"]",
                gmail::SERVICE_ACCOUNT,
                gmail::ADMIN
            ),
            &[("private_key", gmail::PRIVATE_KEY)],
        ),
        "graph" => (
            "email",
            format!(
                "login_url = \"{{url}}\", tenant = \"{}\", client_id = \"{}\", mailboxes = [\"*\"]",
                graph::TENANT,
                graph::CLIENT_ID
            ),
            &[("client_secret", graph::SECRET)],
        ),
        "hubspot" => ("crm", String::new(), &[("access_token", KEY)]),
        "intercom" => ("support", String::new(), &[("access_token", KEY)]),
        "mailchimp" => ("marketing", "data_center = \"us6\"".into(), &[("api_key", KEY)]),
        "marketo" => (
            "marketing",
            "munchkin = \"123-ABC-456\", client_id = \"sandbox\"".into(),
            &[("client_secret", KEY)],
        ),
        "opendsr" => (
            "analytics",
            format!("domain = \"{}\", certificate = {}", opendsr::DOMAIN, quoted(opendsr::CERTIFICATE)),
            &[("key", "sandbox-key"), ("secret", "sandbox-secret")],
        ),
        "pipedrive" => ("crm", String::new(), &[("api_token", KEY)]),
        "salesforce" => (
            "crm",
            format!("client_id = \"{}\"", salesforce::CLIENT_ID),
            &[("client_secret", salesforce::CLIENT_SECRET)],
        ),
        "sendgrid" => ("email", String::new(), &[("api_key", KEY)]),
        "webhook" => ("in_house", "fields = [\"last_name\"]".into(), &[("signing_secret", webhook::SECRET)]),
        "mixpanel" => (
            "analytics",
            format!("privacy_url = \"{{url}}\", project_id = \"7\", project_token = \"{KEY}\""),
            &[("service_account", KEY), ("service_secret", KEY), ("gdpr_token", KEY)],
        ),
        "segment" => (
            "analytics",
            "profiles_url = \"{url}\", space = \"spa_sandbox\"".into(),
            &[("token", KEY), ("profiles_token", KEY)],
        ),
        "shopify" => ("commerce", "shop = \"sandbox\"".into(), &[("access_token", KEY)]),
        "slack" => ("messaging", String::new(), &[("token", KEY)]),
        "snowflake" => (
            "warehouse",
            format!("account = \"{}\", user = \"{}\", warehouse = \"REDRESS_WH\"", snowflake::ACCOUNT, snowflake::USER),
            &[("private_key", warehouse_key::PRIVATE_KEY)],
        ),
        "stripe" => ("payments", String::new(), &[("api_key", KEY)]),
        "twilio" => (
            "messaging",
            format!("account_sid = \"{}\"", twilio::ACCOUNT),
            &[("api_key", KEY), ("api_secret", KEY)],
        ),
        "zendesk" => (
            "support",
            "subdomain = \"sandbox\", email = \"agent@shop.example\"".into(),
            &[("api_token", KEY)],
        ),
        "zoho" => (
            "crm",
            "accounts_url = \"{url}\", client_id = \"1000.SANDBOX\"".into(),
            &[("client_secret", KEY), ("refresh_token", KEY)],
        ),
        "jmap" => {
            let settings = format!("session_url = \"{{url}}/jmap/session\", username = \"{}\"", jmap::USER);
            return ("email", settings, vec![("password", jmap::PASSWORD)]);
        }
        _ => ("other", String::new(), &[("api_key", KEY)]),
    };
    let settings = if more.is_empty() { base.to_owned() } else { format!("{base}, {more}") };
    (family, settings, secrets.to_vec())
}
