//! Every model keeps its promises in every interleaving; every broken twin is found out.

use redress_proof::models;

#[test]
fn the_models_keep_every_promise_in_every_interleaving() {
    for case in models::all().into_iter().filter(|case| case.twin.is_none()) {
        let seen = case.exhaust();
        println!("{case:?}: {} states", seen.states);
        assert!(seen.broken.is_empty(), "{case:?}: {:#?}", seen.broken);
        assert!(seen.unreached.is_empty(), "{case:?} never comes to: {:?}", seen.unreached);
    }
}

#[test]
fn a_model_that_is_broken_on_purpose_is_found_out() {
    for case in models::all().into_iter().filter(|case| case.twin.is_some()) {
        let seen = case.exhaust();
        println!("{case:?}: {:?}", seen.broken);
        assert!(!seen.broken.is_empty(), "{case:?} was not found out in {} states", seen.states);
    }
}
