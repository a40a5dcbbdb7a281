//! A manifest is what one vendor's interface looks like, as data: how to sign in, how to find exactly one person, what to call
//! to hand over, correct, delete and look again, and what each answer means.
//!
//! These are the types of the TOML file; unknown keys are refused everywhere. What the types cannot say (a deletion needs an
//! exact find and a verification) is said by the lint. Texts may hold placeholders `${…}`; they are typed and escaped,
//! never spliced (see `template`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A whole manifest: `connectors/manifests/NAME.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// What vendor this is.
    pub connector: About,
    /// The connection form: what a controller's engineer fills in. Secrets go under the system's `secrets`, the others under `settings`.
    #[serde(default)]
    pub inputs: BTreeMap<String, Input>,
    /// Where calls go, such as `https://${inputs.subdomain}.zendesk.com`. An operator may set `settings.base_url` instead (a sandbox, a proxy).
    pub base_url: String,
    /// Further hosts by name, for requests with `host = "NAME"`; the operator may set `settings.NAME_url`.
    #[serde(default)]
    pub hosts: BTreeMap<String, String>,
    /// Headers of every call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Media type of bodies; `application/json` if it is not said.
    #[serde(default)]
    pub content_type: Option<String>,
    /// How to sign in.
    pub auth: Auth,
    /// How to sign in at one of `hosts`, where it is another way than `auth` (Customer.io: a bearer here, Basic there).
    #[serde(default)]
    pub host_auth: BTreeMap<String, Auth>,
    /// What the vendor allows, in the words of a system's `limits` (docs/limits.md): `rates`, `concurrency`, `share`, `timezone` …
    #[serde(default)]
    pub limits: Option<Value>,
    /// What answers mean, in order; the first that matches counts. After them: 2xx ok, 401 denied, 403 denied, 404 gone
    /// for a call about one record, 429 and 503 with a wait throttled, 5xx retry, everything else invalid.
    #[serde(default, rename = "outcome")]
    pub outcomes: Vec<OutcomeRule>,
    /// A call that shows whether the credentials work; changes nothing.
    pub check: Step,
    /// Searches by an identifier of the subject, or for what belongs to records already found (`from`).
    pub find: BTreeMap<String, Find>,
    /// What is handed over besides the found records themselves.
    #[serde(default)]
    pub access: BTreeMap<String, Access>,
    /// How fields are changed.
    #[serde(default)]
    pub correct: BTreeMap<String, Correct>,
    /// How records are deleted, in the order of `after`.
    #[serde(default)]
    pub delete: BTreeMap<String, Delete>,
    /// How it is seen that deleted records are gone; by the name of the delete step.
    #[serde(default)]
    pub verify: BTreeMap<String, Verify>,
    /// Cases that `redress connector test` runs without the vendor.
    #[serde(default, rename = "test")]
    pub tests: Vec<Case>,
}

/// What vendor this is.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The name in `connector = "…"`, and of the file: lower case, digits, `_`.
    pub id: String,
    /// The vendor's product.
    pub name: String,
    /// One line: what it reaches.
    pub about: String,
    /// `crm`, `marketing`, `email`, `support`, `analytics`, `payments`, `messaging` …
    pub family: String,
    /// The vendor's version, shown in the audit trail.
    pub api: String,
    /// The day on which somebody compared this file with the vendor's documentation (YYYY-MM-DD).
    pub verified_on: String,
    /// The vendor's documentation.
    #[serde(default)]
    pub docs: Vec<String>,
    /// The vendor's OpenAPI file among the judges (`marketo/judge.json`), if there is one.
    #[serde(default)]
    pub judge: Option<String>,
    /// What an operator must know: permissions to grant, what stays (residuals), what is certain and what is not.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One thing that a controller's engineer fills in.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: InputKind,
    /// One line of help.
    pub about: String,
    /// It may be left out.
    #[serde(default)]
    pub optional: bool,
    /// What counts if it is left out.
    #[serde(default)]
    pub default: Option<Value>,
    /// Where `type = "choice"`: the choices and what each stands for (the value that placeholders see).
    #[serde(default)]
    pub choices: BTreeMap<String, String>,
}

/// Kinds of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// A credential; under `secrets`.
    Secret,
    /// An RSA private key in PEM; under `secrets`.
    PrivateKey,
    /// One label of a host name, such as `acme` in acme.zendesk.com.
    HostLabel,
    /// A whole URL, https.
    Url,
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// One of `choices`.
    Choice,
    /// A list of texts.
    List,
}

/// How to sign in.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// `Authorization: PREFIX VALUE` (prefix `Bearer` unless said otherwise) with a value that does not change.
    Bearer {
        /// The value.
        token: String,
        /// The word before it.
        #[serde(default)]
        prefix: Option<String>,
    },
    /// A header with a key.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// RFC 7617.
    Basic {
        /// User name.
        username: String,
        /// Password; may be empty.
        #[serde(default)]
        password: String,
    },
    /// RFC 6749 section 4.4, and vendors' dialects of it.
    Oauth2ClientCredentials {
        /// Where the token is fetched. May begin with `${base_url}` or `${hosts.NAME}`, so that the operator's own address holds here too.
        token_url: String,
        /// Client id.
        client_id: String,
        /// Client secret.
        client_secret: String,
        /// Where the credentials go: `basic`, `body` (default) or `query`.
        #[serde(default)]
        send_in: SendIn,
        /// More parameters (`scope`, `audience` …).
        #[serde(default)]
        parameters: BTreeMap<String, String>,
        /// The word before the token in `Authorization`.
        #[serde(default)]
        prefix: Option<String>,
    },
    /// RFC 6749 section 6 with a refresh token that does not change.
    Oauth2Refresh {
        /// Where the token is fetched; as above.
        token_url: String,
        /// Client id.
        client_id: String,
        /// Client secret.
        client_secret: String,
        /// Refresh token.
        refresh_token: String,
        /// Where the credentials go.
        #[serde(default)]
        send_in: SendIn,
        /// More parameters.
        #[serde(default)]
        parameters: BTreeMap<String, String>,
        /// The word before the token in `Authorization` (Zoho: `Zoho-oauthtoken`).
        #[serde(default)]
        prefix: Option<String>,
    },
}

/// Where client credentials go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SendIn {
    /// Form body.
    #[default]
    Body,
    /// `Authorization: Basic`.
    Basic,
    /// Query string (Marketo).
    Query,
}

/// One request to the vendor.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`.
    pub method: String,
    /// Path below the base URL; placeholders are percent-encoded as one segment. A query may not stand here.
    pub path: String,
    /// One of `hosts`; the base URL if it is not said.
    #[serde(default)]
    pub host: Option<String>,
    /// Query parameters; values are percent-encoded. A value in a query language must name its escaper,
    /// which writes the quotes itself: `email:${subject.email|zendeskq}`.
    #[serde(default)]
    pub query: BTreeMap<String, Text>,
    /// Headers of this call.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body: JSON in which a text that is one placeholder becomes that value with its type; other texts are filled in as JSON texts.
    /// The key `"..."` puts the fields of an object beside the others: `{"id": "${record.key}", "...": "${changes}"}`.
    /// For `application/x-www-form-urlencoded` a flat object.
    #[serde(default)]
    pub body: Option<String>,
    /// Media type of this body.
    #[serde(default)]
    pub content_type: Option<String>,
    /// What it costs of the vendor's limits.
    #[serde(default)]
    pub cost: Option<u64>,
    /// Where the URL would be longer than 8 KiB: send it as POST with `_method=GET` and the query as form body (Marketo).
    #[serde(default)]
    pub long_query_as_post: bool,
}

/// A text, and in which query language it is.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Text {
    /// Plain.
    Plain(String),
    /// In a query language: a placeholder without the escaper of this name is refused at load.
    Lang {
        /// The text.
        value: String,
        /// The language: `soql`, `odata`, `gmailq`, `kql`, `sgql`, `zendeskq`, `klaviyo`, `shopifyq`, `csv` …
        lang: String,
    },
}

/// A search for records of the subject.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// The identifier types with which this search is made, each by itself: `email`, `phone`, `customer_id`, `crm_id`, `lead_id`, `user_id`.
    /// `${subject.value}` is the identifier at hand, `${subject.email}` the one of that type, `${subjects.value}` those of the whole batch.
    #[serde(default)]
    pub by: Vec<String>,
    /// What the vendor calls each identifier type of `by`, for `${subject.field}`: one search then serves several types
    /// (`email = "email"`, `lead_id = "id"`).
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Instead of `by`: once for each record of that find (`${record.…}`; `${record.key}` its key).
    #[serde(default)]
    pub from: Option<String>,
    /// Once for each element of a list first fetched (audiences of Mailchimp): `${item.…}`.
    #[serde(default)]
    pub each: Option<Each>,
    /// The request. None where nothing has to be asked because the key follows from the identifier (`key_is`).
    #[serde(default)]
    pub request: Option<Step>,
    /// Where an identifier type is searched by a request of its own: type → request. `request` is for the others.
    #[serde(default)]
    pub requests: BTreeMap<String, Step>,
    /// The key without a search: a template such as `${subject.email|md5_lower}`; the vendor has no search and takes any identifier.
    /// Allowed only for deletions that the vendor itself matches exactly. Such orders are told in the evidence; they count as
    /// found records only where the manifest has no other deletions.
    #[serde(default)]
    pub key_is: Option<String>,
    /// Where the list of records is in the answer; `""` if the answer is one record or the list itself.
    #[serde(default)]
    pub items: String,
    /// Where another type's request answers in another place than `items`: type → pointer.
    #[serde(default)]
    pub items_by: BTreeMap<String, String>,
    /// Each element holds the record at this pointer (`/item`).
    #[serde(default)]
    pub item: Option<String>,
    /// The record's key, within the record.
    #[serde(default)]
    pub key: String,
    /// How a record is compared with the subject; required with `by`.
    #[serde(default)]
    pub exact: Vec<Exact>,
    /// More matches than this for one person stop; the system's own `max_matches` counts besides.
    #[serde(default)]
    pub max_matches: Option<u64>,
    /// One person may have any number of these (a log of mail): the system's `max_matches` does not count them, this one does.
    #[serde(default)]
    pub many: bool,
    /// How further pages are fetched.
    #[serde(default)]
    pub paging: Option<Paging>,
    /// So many identifiers in one request (`${subjects.value}`).
    #[serde(default)]
    pub batch: Option<Batch>,
    /// Keep only records for which these hold (pointer → value); `{"/merged": false}`.
    #[serde(default)]
    pub only: BTreeMap<String, Value>,
    /// A record that has something at one of these pointers is other people's too (a conversation with a second person,
    /// `/contacts/contacts/1`): it is neither handed over nor deleted, but told as retained with reason `shared_with_others`.
    #[serde(default)]
    pub shared: Vec<String>,
    /// With `from`: only records that hold the key of the record they were searched for here count (`/requester_id`).
    #[serde(default)]
    pub belongs: Option<String>,
    /// Identifier types that an exactly matched record yields for other systems: type → pointer (`crm_id = "/id"`).
    #[serde(default)]
    pub yields: BTreeMap<String, String>,
    /// Statuses that mean "nobody" for this search besides an empty list (`[404]`).
    #[serde(default)]
    pub none: Vec<u16>,
    /// An answer that means "nobody" although `items` is not there: `{ pointer = "/user", exists = false }`.
    #[serde(default)]
    pub none_if: Option<When>,
    /// The vendor tells capitals apart in addresses: search as the controller wrote it too.
    #[serde(default)]
    pub as_given: bool,
    /// The record's fields are not handed over (it is only looked for, as a list of ids); `access` fetches them.
    #[serde(default)]
    pub bare: bool,
    /// Parts of the record that are not handed over (pointers).
    #[serde(default)]
    pub omit: Vec<String>,
}

/// A list that is gone through first.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Each {
    /// Fetches the list.
    pub request: Step,
    /// Where the list is.
    pub items: String,
    /// How further pages are fetched.
    #[serde(default)]
    pub paging: Option<Paging>,
}

/// How a record is compared with the identifier it was searched by: equal after normalisation, or it is not this person's.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exact {
    /// The identifier type that is compared; one entry for each in `by`.
    pub by: String,
    /// Where the record holds it; several pointers if any of them may (second addresses). `/emails/*/value` goes through lists.
    /// `#handle` compares with the key that was asked for (a call by id).
    pub pointers: Vec<String>,
    /// `identifier` (default: as [`redress_domain::Identifier::is_same_as`]), `md5_lower`, or `e164_digits` (a telephone number
    /// that the vendor keeps with its country code and without `+`).
    #[serde(default)]
    pub normalise: Option<String>,
    /// The field holds keys of several kinds (a user id that is an address for some): another value in it contradicts nothing.
    #[serde(default)]
    pub mixed: bool,
    /// Each of these texts is a list, parted by this (`;`): any of its parts may be the identifier.
    #[serde(default)]
    pub split: Option<String>,
}

/// How further pages are fetched. Pages are counted, repeated positions are noticed, and only complete lists are believed.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Paging {
    /// The answer names the next URL (same host only).
    NextUrl {
        /// Where; `link` for the header of RFC 8288 (`rel="next"`).
        pointer: String,
    },
    /// The answer holds a cursor for the next request.
    Cursor {
        /// Where the cursor is.
        pointer: String,
        /// Query parameter in which it is sent, or
        #[serde(default)]
        query: Option<String>,
        /// pointer in the body.
        #[serde(default)]
        body: Option<String>,
        /// Where the answer says whether there is more; if it is not said, a cursor means more.
        #[serde(default)]
        more: Option<String>,
    },
    /// Pages by number.
    Page {
        /// Query parameter.
        query: String,
        /// The first page's number.
        #[serde(default)]
        first: u64,
        /// Records of a full page; a shorter one is the last, unless `more` says otherwise.
        size: u64,
        /// Where the answer says whether there is more.
        #[serde(default)]
        more: Option<String>,
    },
    /// Pages by offset.
    Offset {
        /// Query parameter, or
        #[serde(default)]
        query: Option<String>,
        /// pointer in the body.
        #[serde(default)]
        body: Option<String>,
        /// Records of a full page.
        size: u64,
        /// Where the answer tells how many there are.
        #[serde(default)]
        total: Option<String>,
    },
}

/// Several people or records in one request.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// At most so many.
    pub max_items: usize,
    /// At most so long a body or query (bytes).
    #[serde(default)]
    pub max_bytes: Option<usize>,
    /// How the answer's items belong to the request's (deletions): `order`, or a pointer to the key within each item. Without it an
    /// answer without fault is for all of them.
    #[serde(default)]
    pub correlate: Option<String>,
}

/// A request that hands over more of a found record: its full fields, or what hangs on it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The find whose records it is made for.
    pub from: String,
    /// The request.
    pub request: Step,
    /// Only for records that hold something at this pointer (a request that names a field that not every record has).
    #[serde(default)]
    pub if_has: Option<String>,
    /// Where the records are; `""` for the answer itself.
    #[serde(default)]
    pub items: String,
    /// How further pages are fetched.
    #[serde(default)]
    pub paging: Option<Paging>,
    /// Statuses that mean that there is nothing.
    #[serde(default)]
    pub none: Vec<u16>,
    /// An answer that means that there is nothing although `items` is not there.
    #[serde(default)]
    pub none_if: Option<When>,
    /// Parts that are not handed over (pointers).
    #[serde(default)]
    pub omit: Vec<String>,
}

/// How fields of a found record are changed.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Correct {
    /// The find whose records are changed.
    pub from: String,
    /// Field of a correction → pointer of the field in a found record, where it can be read again (`first_name = "/properties/firstname"`).
    pub fields: BTreeMap<String, String>,
    /// Where a found record does not hold the fields: the call that reads them; the pointers of `fields` are then within its answer.
    #[serde(default)]
    pub read: Option<Step>,
    /// The request, once for each record. `${changes}` is an object of vendor's field name → value (the last part of each pointer).
    pub request: Step,
    /// Where the answer's outcomes of the record are, for rules of `scope = "item"`.
    #[serde(default)]
    pub items: Option<String>,
}

/// How found records are deleted.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// The find whose records are deleted.
    pub from: String,
    /// What it is worth: `permanent_delete`, `soft_delete`, `schedule_delete`, `anonymise`, `suppress`.
    pub effect: DeleteEffect,
    /// Days for which something can still be restored, or is kept in backends.
    #[serde(default)]
    pub residual_days: Option<u32>,
    /// Days within which the vendor does what it accepted.
    #[serde(default)]
    pub completes_within_days: Option<u32>,
    /// Only for records that hold something at this pointer.
    #[serde(default)]
    pub if_has: Option<String>,
    /// Delete steps of this manifest that come first.
    #[serde(default)]
    pub after: Vec<String>,
    /// The request, for each record (`${record.key}`), or for many with `batch` (`${records.key}` is the list of their keys;
    /// `${records.each}` the list of `each`).
    pub request: Step,
    /// With `batch`: JSON for one record in `${records.each}`.
    #[serde(default)]
    pub each: Option<String>,
    /// Many records in one request.
    #[serde(default)]
    pub batch: Option<Batch>,
    /// Where the answer's per-record outcomes are.
    #[serde(default)]
    pub items: Option<String>,
    /// Statuses that mean that the record was gone already (`404` always does).
    #[serde(default)]
    pub gone: Vec<u16>,
    /// The vendor works on it: asked again until it is done. A durable step, no waiting worker.
    #[serde(default)]
    pub poll: Option<Poll>,
}

/// What a deletion is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeleteEffect {
    /// Gone.
    PermanentDelete,
    /// Restorable for `residual_days`.
    SoftDelete,
    /// Accepted; done within `completes_within_days`.
    ScheduleDelete,
    /// Kept without personal values.
    Anonymise,
    /// Kept on a list of those who are not contacted.
    Suppress,
}

/// How an accepted order is followed.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// Where the answer to the order names it (`${handle}` in `request`).
    pub handle: String,
    /// Asks how far it is.
    pub request: Step,
    /// Where the answer says how far.
    pub status: String,
    /// Words that mean it is under way; any other word that is not `done` fails it.
    pub running: Vec<String>,
    /// Words that mean it is done.
    pub done: Vec<String>,
    /// How long between questions (seconds).
    #[serde(default = "a_minute")]
    pub every_seconds: u64,
}

const fn a_minute() -> u64 {
    60
}

/// How it is seen that a deletion took effect.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The find that must find nobody any more (by identifier, and by the deleted keys).
    pub uses: String,
    /// How long after the deletion a search can be trusted (seconds): indexes lag.
    #[serde(default)]
    pub after_seconds: u64,
    /// A record that is still there counts as gone if these hold (pointer → value): `{"/deleted": true}`.
    #[serde(default)]
    pub gone_if: BTreeMap<String, Value>,
    /// Besides the search: a call for each deleted key whose answer must be gone (404) or match `gone_if`.
    #[serde(default)]
    pub request: Option<Step>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeRule {
    /// Whether it looks at the whole answer or at each item of it.
    #[serde(default)]
    pub scope: RuleScope,
    /// When it matches: all that is said must hold.
    pub when: When,
    /// What it means.
    pub class: Class,
    /// How long to wait (seconds), for `throttled`, `budget_exhausted` and `retry`.
    #[serde(default)]
    pub wait_seconds: Option<u64>,
    /// For people: what to do.
    #[serde(default)]
    pub say: Option<String>,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleScope {
    /// The whole answer.
    #[default]
    Response,
    /// Each item of a batch.
    Item,
}

/// When a rule matches: all that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// One of these statuses.
    #[serde(default)]
    pub status: Vec<u16>,
    /// Where in the answer; `/errors/*/code` goes through lists.
    #[serde(default)]
    pub pointer: Option<String>,
    /// One of these is there.
    #[serde(default, rename = "in")]
    pub any_of: Vec<Value>,
    /// This is there.
    #[serde(default)]
    pub is: Option<Value>,
    /// Something (or nothing) is there.
    #[serde(default)]
    pub exists: Option<bool>,
    /// A header is there (lower case).
    #[serde(default)]
    pub header: Option<String>,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It was done.
    Ok,
    /// There is no such record (any more).
    Gone,
    /// The vendor took the order.
    Accepted,
    /// It may work later.
    Retry,
    /// Too fast: wait; costs no attempt.
    Throttled,
    /// The day's budget is spent.
    BudgetExhausted,
    /// The token ended: fetch another, once, and repeat the call.
    TokenExpired,
    /// Credential or permission.
    Denied,
    /// The call is wrong.
    Invalid,
    /// The vendor must keep the record (a hold).
    Held,
    /// A person must look.
    Ambiguous,
}

/// A case that `redress connector test` runs without the vendor.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The fact, as a sentence.
    pub name: String,
    /// `check`, or a step's name such as `find.lead`, `delete.lead`, `access.profile`; none to classify an answer only.
    #[serde(default)]
    pub step: Option<String>,
    /// The subject: identifier type → value; for the steps after a find, `record` besides.
    #[serde(default)]
    pub subject: BTreeMap<String, String>,
    /// A found record, for steps with `from`.
    #[serde(default)]
    pub record: Option<Value>,
    /// An element of the list that a find with `each` goes through.
    #[serde(default)]
    pub item: Option<Value>,
    /// For the step of a correction: field of the correction → new value.
    #[serde(default)]
    pub changes: BTreeMap<String, String>,
    /// Inputs; those not named have stand-ins.
    #[serde(default)]
    pub inputs: BTreeMap<String, Value>,
    /// The request that must come of it: `method`, `url` (path below the base URL, and query), `body`.
    #[serde(default)]
    pub request: Option<ExpectedRequest>,
    /// The vendor's answer: body; JSON, or text that is none.
    #[serde(default)]
    pub given: Option<String>,
    /// Its status; 200.
    #[serde(default)]
    pub status: Option<u16>,
    /// Its headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What must come of it.
    #[serde(default)]
    pub expect: Option<Expected>,
}

/// The request that must come of a case.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedRequest {
    /// Method.
    pub method: String,
    /// Path and query, encoded.
    pub url: String,
    /// Body; compared as JSON if it is.
    #[serde(default)]
    pub body: Option<String>,
}

/// What must come of an answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Its class.
    #[serde(default)]
    pub class: Option<Class>,
    /// How long to wait (seconds).
    #[serde(default)]
    pub wait_seconds: Option<u64>,
    /// The classes of its items, in order.
    #[serde(default)]
    pub items: Vec<Class>,
    /// The keys of the records that are the subject's (after exact comparison).
    #[serde(default)]
    pub keys: Option<Vec<String>>,
}
