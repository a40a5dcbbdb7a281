//! What is said when somebody took up emergency rights, and when these ended.

use super::words::{Line, Section, Words};
use redress_store::{Announcement, Emergency, EndedBy, MessageLease};
use serde_json::json;

/// For programs: ids and instants.
pub(super) fn body(lease: &MessageLease, announcement: &Announcement, public_url: &str) -> String {
    let mut data = json!({
        "message": lease.id,
        "user": announcement.user,
        "link": format!("{public_url}/audit?kind=break_glass"),
    });
    let kind = match announcement.emergency {
        Emergency::TakenUp { .. } => {
            data["until"] = json!(announcement.emergency.until());
            "redress.break_glass"
        }
        Emergency::Ended { by } => {
            data["by"] = json!(by.as_str());
            "redress.break_glass_ended"
        }
    };
    json!({ "type": kind, "timestamp": lease.begun_at().to_string(), "data": data }).to_string()
}

/// For people: who, and until when.
pub(super) fn words(announcement: &Announcement, public_url: &str) -> Words {
    let (name, user) = (announcement.name.expose(), &announcement.user);
    let (subject, text, advice) = match announcement.emergency {
        Emergency::TakenUp { .. } => {
            let until = announcement.emergency.until().unwrap_or_default();
            (
                format!("[redress] {name} has taken up emergency rights until {until}"),
                format!("{name} ({user}) may see persons and decide until {until}."),
                "Ask them why, and look at what they do; an administrator can end their session at once. The reason is in the staff log.",
            )
        }
        Emergency::Ended { by } => {
            let how = match by {
                EndedBy::Person => "gave them back",
                EndedBy::Time => "held them until their time ran out",
                EndedBy::Session => "held them until the session ended",
            };
            (
                format!("[redress] The emergency rights of {name} have ended"),
                format!("{name} ({user}) {how}."),
                "What was seen and decided with them is in the audit log.",
            )
        }
    };
    Words {
        subject,
        sections: vec![Section {
            title: "Emergency rights".into(),
            advice,
            lines: vec![Line { text, link: Some(format!("{public_url}/audit?kind=break_glass")) }],
            more: 0,
        }],
        board: format!("{public_url}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redress_domain::{MessageId, RouteId, UserId};
    use serde_json::Value;

    fn of(emergency: Emergency) -> Announcement {
        Announcement { emergency, user: UserId::from_parts(1, [3; 10]), name: "Ada <b>".to_owned().into() }
    }

    #[test]
    fn people_and_programs_are_told_who_and_until_when() {
        let lease = MessageLease {
            id: MessageId::from_parts(1, [1; 10]),
            route_id: RouteId::from_parts(1, [2; 10]),
            digest: false,
            token: 0,
            failures: 0,
            reached: 0,
            created_at: 1_772_299_000_000,
            announces: true,
        };
        let taken = of(Emergency::TakenUp { until: 1_772_300_000_000 });
        let said: Value = serde_json::from_str(&body(&lease, &taken, "https://dsr.example.com")).expect("JSON");
        assert_eq!(said["type"], "redress.break_glass");
        assert_eq!(said["data"]["user"], taken.user.as_str());
        assert_eq!(said["data"]["until"], "2026-02-28T17:33:20Z");
        assert!(!said.to_string().contains("Ada"), "programs are told ids");
        let words = super::words(&taken, "https://dsr.example.com");
        assert!(words.subject.contains("Ada <b> has taken up emergency rights until 2026-02-28T17:33:20Z"));
        assert!(words.text().contains("https://dsr.example.com/audit"));
        for (by, wanted) in
            [(EndedBy::Person, "gave them back"), (EndedBy::Time, "time ran out"), (EndedBy::Session, "session ended")]
        {
            let ended = of(Emergency::Ended { by });
            let said: Value = serde_json::from_str(&body(&lease, &ended, "https://dsr.example.com")).expect("JSON");
            assert_eq!(
                (&said["type"], &said["data"]["by"]),
                (&json!("redress.break_glass_ended"), &json!(by.as_str()))
            );
            let words = super::words(&ended, "https://dsr.example.com");
            assert!(words.subject.contains("of Ada <b> have ended") && words.text().contains(wanted));
        }
    }
}
