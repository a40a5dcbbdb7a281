//! The record of processing is what Art. 30(2) GDPR has a processor keep: who it is, for whom it processes what, to which third
//! countries, and how it protects it. It is made from what is configured at this moment; what nobody recorded is said to be so.

use super::table::{Cell, Table, cells};
use super::{Report, time};
use crate::config::Processor;
use redress_domain::{RequestType, Verb};
use redress_store::{Controller, Error, Store, SystemRow};
use serde_json::{Value, json};

/// The tables of this report.
pub(crate) const TABLES: &[&str] = &["processing", "controllers", "processor", "measures"];

/// For what the operator can configure and did not.
const NOT_GIVEN: &str = "not given";
/// For what has no place in this installation.
const NOT_RECORDED: &str = "not recorded";

/// What this software itself does to protect what it processes (Art. 32 GDPR), whatever is configured.
const MEASURES: [&str; 10] = [
    "Personal data of a request are encrypted at rest with AES-256-GCM under a key of the request's own, from the first write; that key is wrapped by a key of its controller, and that by the installation's master key, which is kept outside the database.",
    "After the configured time from the end of a request its key is destroyed, which makes everything it sealed unreadable; found data, packages and receipts are deleted with it.",
    "Credentials of connected systems are sealed with the controller's key and are never shown again.",
    "Personal data are in clear only within one call to a connected system or one answer to their controller: not in job queues, logs, metrics, errors, URLs or notices.",
    "Every event is in an audit log per controller that the database lets only grow and that is chained by SHA-256 hashes, so that a change is found; it holds no personal data and survives every deletion.",
    "Controllers are separated: every query names its controller, and what belongs to another one is not found.",
    "API keys are random, kept as hashes only, have one of three roles, and can be revoked at once.",
    "Records are acted on only if their identifier equals the person's; too many or contradicting matches stop for a person.",
    "A deletion, correction or restriction counts only after a second read of the system has confirmed it; the outcome is in a certificate signed with Ed25519.",
    "Calls to addresses given by controllers are limited to public networks unless the deployment lists an address.",
];

/// Makes the report for these controllers.
///
/// # Errors
/// The database is away.
pub(crate) async fn processing_record(
    store: &Store,
    controllers: &[Controller],
    processor: &Processor,
) -> Result<Report, Error> {
    let now = store.now_ms();
    let us = described(processor);
    let mut processing = Table {
        name: "processing",
        columns: vec![
            "controller",
            "category",
            "system",
            "family",
            "connector",
            "rights",
            "verbs",
            "region",
            "third_country_transfer",
        ],
        rows: Vec::new(),
    };
    let mut contacts = Table {
        name: "controllers",
        columns: vec!["controller", "id", "country", "contact", "representative", "data_protection_officer", "region"],
        rows: Vec::new(),
    };
    let mut all = Vec::new();
    for controller in controllers {
        let systems = store.systems(&controller.id).await?;
        let categories: Vec<Category> = std::iter::once(Category::of_us(controller))
            .chain(systems.iter().map(|system| Category::of(controller, system)))
            .collect();
        let or_not = |value: &Option<String>| value.clone().unwrap_or_else(|| NOT_RECORDED.to_owned());
        let (country, contact, region) =
            (or_not(&controller.country), or_not(&controller.contact), or_not(&controller.region));
        contacts.rows.push(cells![
            controller.name.as_str(),
            controller.id.as_str(),
            country.as_str(),
            contact.as_str(),
            NOT_RECORDED,
            NOT_RECORDED,
            region.as_str(),
        ]);
        processing.rows.extend(categories.iter().map(|category| category.row(&controller.name)));
        all.push(json!({
            "controller": controller.name,
            "id": controller.id,
            "country": country,
            "contact": contact,
            "representative": NOT_RECORDED,
            "data_protection_officer": NOT_RECORDED,
            "region": region,
            "categories_of_processing": categories.iter().map(Category::json).collect::<Vec<_>>(),
        }));
    }
    let measures: Vec<(&str, &str)> = processor
        .security_measures
        .iter()
        .map(|measure| ("processor", measure.as_str()))
        .chain(MEASURES.iter().map(|measure| ("software", *measure)))
        .collect();
    let json = json!({
        "report": "processing-record",
        "generated_at": time(now),
        "law": "GDPR Art. 30(2)",
        "processor": us.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>(),
        "controllers": all,
        "security_measures": measures.iter().map(|(source, measure)| json!({ "source": source, "measure": measure })).collect::<Vec<_>>(),
        "definitions": {
            "processor": "Art. 30(2)(a): as configured in [processor].",
            "controllers": "Art. 30(2)(a): those on whose behalf the processor acts, as they are set up here.",
            "categories_of_processing": "Art. 30(2)(b): per connected system the rights that the controller instructed, and what is done there for them.",
            "third_country_transfer": "Art. 30(2)(c): as far as the region of a system is recorded; this software records no safeguards under Chapter V.",
            "security_measures": "Art. 30(2)(d) with Art. 32(1): those of the processor as configured, and those of the software itself.",
        },
    });
    let tables = vec![
        processing,
        contacts,
        Table {
            name: "processor",
            columns: vec!["field", "value"],
            rows: us.iter().map(|(name, value)| cells![*name, value.as_str()]).collect(),
        },
        Table {
            name: "measures",
            columns: vec!["source", "measure"],
            rows: measures.iter().map(|(source, measure)| cells![*source, *measure]).collect(),
        },
    ];
    Ok(Report { file: "processing-record".to_owned(), json, tables })
}

/// Who the processor is, by field.
fn described(processor: &Processor) -> Vec<(&'static str, String)> {
    let fields = [
        ("name", &processor.name),
        ("contact", &processor.contact),
        ("address", &processor.address),
        ("data_protection_officer", &processor.dpo),
        ("representative", &processor.representative),
    ];
    fields.map(|(name, value)| (name, value.clone().unwrap_or_else(|| NOT_GIVEN.to_owned()))).to_vec()
}

/// One category of processing carried out on behalf of a controller.
struct Category {
    what: String,
    /// Name, family and connector of the system it is carried out in.
    system: Option<(String, String, String)>,
    rights: Vec<RequestType>,
    verbs: Vec<Verb>,
    region: String,
    transfer: String,
}

impl Category {
    /// What is done in this installation itself.
    fn of_us(controller: &Controller) -> Self {
        let region = controller.region.as_deref();
        Self {
            what: "receiving, keeping, proving and answering data subject requests".to_owned(),
            system: None,
            rights: RequestType::ALL.to_vec(),
            verbs: Vec::new(),
            region: region.unwrap_or(NOT_RECORDED).to_owned(),
            transfer: NOT_RECORDED.to_owned(),
        }
    }

    fn of(controller: &Controller, system: &SystemRow) -> Self {
        let region = [&system.definition["region"], &system.definition["settings"]["region"]]
            .into_iter()
            .find_map(Value::as_str)
            .map(str::to_owned);
        let transfer = match (&region, &controller.region) {
            (None, _) => NOT_RECORDED.to_owned(),
            (Some(there), Some(home)) if there == home => format!("none: as recorded, the system is in {there} too"),
            (Some(there), home) => {
                let home = home.as_deref().unwrap_or("a region that is not recorded");
                format!("as recorded, from {home} to {there}; safeguards under Chapter V are not recorded")
            }
        };
        // What the controller did not instruct is not done, whatever the connector could do.
        let done = |verb: &Verb| {
            let instructed = system.allow.iter().any(|right| right.verb() == *verb);
            let confirms = *verb == Verb::Verify && system.allow.iter().any(|right| right.verb().must_be_verified());
            instructed || confirms
        };
        Self {
            what: "carrying out data subject requests in a connected system".to_owned(),
            system: Some((system.name.clone(), system.family.clone(), system.connector.clone())),
            rights: system.allow.clone(),
            verbs: system.verbs.iter().copied().filter(done).collect(),
            region: region.unwrap_or_else(|| NOT_RECORDED.to_owned()),
            transfer,
        }
    }

    fn json(&self) -> Value {
        let system = self.system.as_ref();
        json!({
            "category": self.what,
            "system": system.map(|(name, _, _)| name),
            "family": system.map(|(_, family, _)| family),
            "connector": system.map(|(_, _, connector)| connector),
            "rights": self.rights,
            "verbs": self.verbs,
            "region": self.region,
            "third_country_transfer": self.transfer,
        })
    }

    fn row(&self, controller: &str) -> Vec<Cell> {
        let system = self.system.as_ref();
        let rights: Vec<&str> = self.rights.iter().map(|right| right.as_str()).collect();
        let verbs: Vec<&str> = self.verbs.iter().map(|verb| verb.as_str()).collect();
        cells![
            controller,
            self.what.as_str(),
            system.map(|(name, _, _)| name.as_str()),
            system.map(|(_, family, _)| family.as_str()),
            system.map(|(_, _, connector)| connector.as_str()),
            rights.join(" "),
            verbs.join(" "),
            self.region.as_str(),
            self.transfer.as_str(),
        ]
    }
}
