//! Which objects and fields the simulated org has, as `describe` tells them.

use serde_json::{Value, json};

/// A field: its name, its type, and whether it can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) writable: bool,
}

/// An object type.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) name: &'static str,
    pub(super) prefix: &'static str,
    pub(super) fields: &'static [Field],
    /// Child object, its field, whether it goes with its parent, whether it keeps its parent from going.
    pub(super) children: &'static [Child],
}

/// How another object refers to this one.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) object: &'static str,
    pub(super) field: &'static str,
    pub(super) cascade: bool,
    /// Not told by describe as `restrictedDelete`, as with Salesforce's own Contact and Case.
    pub(super) blocks: bool,
}

const fn field(name: &'static str, kind: &'static str) -> Field {
    Field { name, kind, writable: true }
}

const fn fixed(name: &'static str, kind: &'static str) -> Field {
    Field { name, kind, writable: false }
}

const fn child(object: &'static str, field: &'static str, cascade: bool, blocks: bool) -> Child {
    Child { object, field, cascade, blocks }
}

/// Fields of every object.
pub(super) const COMMON: &[Field] = &[
    fixed("Id", "id"),
    fixed("IsDeleted", "boolean"),
    fixed("CreatedDate", "datetime"),
    fixed("LastModifiedDate", "datetime"),
    fixed("SystemModstamp", "datetime"),
];

/// Every object of the org.
pub(super) const OBJECTS: &[Object] = &[
    Object {
        name: "Account",
        prefix: "001",
        fields: &[
            fixed("MasterRecordId", "reference"),
            field("Name", "string"),
            field("FirstName", "string"),
            field("LastName", "string"),
            fixed("IsPersonAccount", "boolean"),
            field("PersonEmail", "email"),
            field("Phone", "phone"),
            field("PersonMobilePhone", "phone"),
            field("Customer_Id__c", "string"),
        ],
        children: &[
            child("Contact", "AccountId", true, false),
            child("Case", "AccountId", false, true),
            child("Task", "AccountId", false, false),
        ],
    },
    Object {
        name: "Contact",
        prefix: "003",
        fields: &[
            fixed("MasterRecordId", "reference"),
            field("AccountId", "reference"),
            field("FirstName", "string"),
            field("LastName", "string"),
            fixed("Name", "string"),
            field("Email", "email"),
            field("Phone", "phone"),
            field("MobilePhone", "phone"),
            field("AssistantPhone", "phone"),
            field("Fax", "phone"),
            field("Manager_Email__c", "email"),
            field("Title", "string"),
            field("Description", "textarea"),
            field("Birthdate", "date"),
            fixed("IsPersonAccount", "boolean"),
            fixed("MailingAddress", "address"),
            field("MailingCity", "string"),
            field("HasOptedOutOfEmail", "boolean"),
            field("Customer_Id__c", "string"),
        ],
        children: &[
            child("Case", "ContactId", false, true),
            child("Task", "WhoId", true, false),
            child("Event", "WhoId", true, false),
            child("CampaignMember", "ContactId", true, false),
        ],
    },
    Object {
        name: "Lead",
        prefix: "00Q",
        fields: &[
            fixed("MasterRecordId", "reference"),
            field("FirstName", "string"),
            field("LastName", "string"),
            fixed("Name", "string"),
            field("Company", "string"),
            field("Email", "email"),
            field("Phone", "phone"),
            field("MobilePhone", "phone"),
            fixed("IsConverted", "boolean"),
            field("Customer_Id__c", "string"),
        ],
        children: &[
            child("Task", "WhoId", true, false),
            child("Event", "WhoId", true, false),
            child("CampaignMember", "LeadId", true, false),
        ],
    },
    Object {
        name: "Case",
        prefix: "500",
        fields: &[
            field("ContactId", "reference"),
            field("AccountId", "reference"),
            field("Subject", "string"),
            field("Description", "textarea"),
            field("SuppliedEmail", "email"),
        ],
        children: &[child("EmailMessage", "ParentId", true, false)],
    },
    Object {
        name: "Task",
        prefix: "00T",
        fields: &[
            field("WhoId", "reference"),
            fixed("AccountId", "reference"),
            field("Subject", "string"),
            field("Description", "textarea"),
        ],
        children: &[],
    },
    Object {
        name: "Event",
        prefix: "00U",
        fields: &[field("WhoId", "reference"), field("Subject", "string"), field("Description", "textarea")],
        children: &[],
    },
    Object {
        name: "EmailMessage",
        prefix: "02s",
        fields: &[
            field("ParentId", "reference"),
            field("FromAddress", "email"),
            field("ToAddress", "string"),
            field("Subject", "string"),
            field("TextBody", "textarea"),
        ],
        children: &[],
    },
    Object {
        name: "CampaignMember",
        prefix: "00v",
        fields: &[field("ContactId", "reference"), field("LeadId", "reference"), field("Status", "string")],
        children: &[],
    },
    Object {
        name: "Subscriber__c",
        prefix: "a00",
        fields: &[field("Name", "string"), field("Email__c", "email"), field("Phone__c", "phone")],
        children: &[],
    },
];

/// An object by its name, in any case as Salesforce takes it.
pub(super) fn object(name: &str) -> Option<&'static Object> {
    OBJECTS.iter().find(|object| object.name.eq_ignore_ascii_case(name))
}

/// The object of an id.
pub(super) fn of_id(id: &str) -> Option<&'static Object> {
    OBJECTS.iter().find(|object| id.get(..3) == Some(object.prefix))
}

impl Object {
    /// Its fields, those of every object first.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static Field> {
        COMMON.iter().chain(self.fields)
    }

    /// A field by its name, in any case.
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    fn about(&self) -> Value {
        json!({
            "name": self.name, "label": self.name.trim_end_matches("__c"), "keyPrefix": self.prefix,
            "custom": self.name.ends_with("__c"), "customSetting": false, "queryable": true, "retrieveable": true,
            "searchable": true, "createable": true, "updateable": true, "deletable": true, "undeletable": true,
            "layoutable": true, "urls": {},
        })
    }

    /// The answer to `describe`.
    pub(super) fn describe(&self) -> Value {
        let mut about = self.about();
        about["fields"] = self
            .fields()
            .map(|field| {
                json!({
                    "name": field.name, "label": field.name, "type": field.kind, "updateable": field.writable,
                    "createable": field.writable, "filterable": field.kind != "textarea" && field.kind != "address",
                    "externalId": field.name == "Customer_Id__c", "custom": field.name.ends_with("__c"),
                    "nillable": field.writable,
                })
            })
            .collect();
        about["childRelationships"] = self
            .children
            .iter()
            .map(|child| {
                json!({
                    "childSObject": child.object, "field": child.field, "relationshipName": format!("{}s", child.object),
                    "cascadeDelete": child.cascade, "restrictedDelete": false, "deprecatedAndHidden": false,
                })
            })
            .collect();
        about
    }
}

/// The answer to the list of all objects.
pub(super) fn describe_global() -> Value {
    json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": OBJECTS.iter().map(Object::about).collect::<Vec<_>>()})
}

/// An id in its form of 18 characters: the last three tell the case of the others.
pub(super) fn with_checksum(id: &str) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let mut whole = id.to_owned();
    for part in id.as_bytes().chunks(5) {
        let bits: usize =
            part.iter().enumerate().map(|(bit, byte)| usize::from(byte.is_ascii_uppercase()) << bit).sum();
        whole.push(char::from(LETTERS[bits]));
    }
    whole
}

/// The form of 18 characters of an id as it may be sent; none if it is no id.
pub(super) fn full_id(id: &str) -> Option<String> {
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match id.len() {
        15 if plain => Some(with_checksum(id)),
        // Salesforce mends the case of a long id by its checksum; this simulator wants it right.
        18 if plain && with_checksum(&id[..15]) == id => Some(id.to_owned()),
        _ => None,
    }
}
