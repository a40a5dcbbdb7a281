//! Four eyes: where a controller wants it, whoever approves a request is another than whoever submitted it, and a person.
//!
//! A controller says `four_eyes = true` in its `[controller]`; without, one API key may submit and approve, as an integration does that
//! has its own approvals. With it, an API key approves nothing: nobody knows which eyes are behind a key, and whoever may make keys
//! could make a second one. A person who submitted a request does not approve it either, neither its beginning nor its result.

use super::Edge;
use super::auth::Caller;
use super::problem::Problem;
use redress_domain::{DsrId, UserId};
use redress_store::ControllerPolicy;

/// Why somebody may not approve what `submitter` submitted; none if they may, as far as four eyes are concerned.
pub(crate) fn refusal(policy: &ControllerPolicy, submitter: &str, actor: &str) -> Option<&'static str> {
    if !policy.four_eyes {
        None
    } else if actor == submitter {
        Some("this controller asks for four eyes: whoever submitted a request does not approve it")
    } else if UserId::parse(actor).is_err() {
        Some("this controller asks for four eyes: a person approves who signed in to the board, not an API key")
    } else {
        None
    }
}

/// Refuses an approval that is not by other eyes.
pub(crate) async fn demand(edge: &Edge, caller: &Caller, id: &DsrId) -> Result<(), Problem> {
    let controller = edge.store.controller(&caller.controller_id).await?;
    if !controller.policy.four_eyes {
        return Ok(());
    }
    let submitter = edge.store.submitter(&caller.controller_id, id).await?;
    refusal(&controller.policy, &submitter, &caller.actor).map_or(Ok(()), |reason| Err(Problem::forbidden(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_eyes_are_those_of_a_person_who_did_not_submit() {
        let [ann, bob] = [1, 2].map(|n| UserId::from_parts(n, [0; 10]).to_string());
        let on = ControllerPolicy { four_eyes: true, ..ControllerPolicy::default() };
        for (submitter, actor, may) in [
            ("key_a", "key_a", false),
            ("key_a", "key_b", false),
            ("key_a", ann.as_str(), true),
            (&ann, &ann, false),
            (&ann, &bob, true),
            (&ann, "key_a", false),
            ("", "", false),
        ] {
            assert_eq!(refusal(&on, submitter, actor).is_none(), may, "{submitter} {actor}");
            assert!(refusal(&ControllerPolicy::default(), submitter, actor).is_none());
        }
    }
}
