//! Every simulated vendor is reached by its connector as the sandbox's own file says.

use crate::{Network, SystemSpec, registry};
use redress_sandbox::{ALL, Person, Served, World, connections};
use std::sync::Arc;

fn spec(text: &str) -> SystemSpec {
    let file: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    let system = serde_json::to_value(&file["system"][0]).expect("JSON");
    let secrets = system["secrets"].as_object().into_iter().flatten();
    SystemSpec {
        name: system["name"].as_str().expect("a name").into(),
        connector: system["connector"].as_str().expect("a connector").into(),
        settings: system["settings"].as_object().cloned().unwrap_or_default(),
        secrets: secrets.map(|(name, s)| (name.clone(), s["value"].as_str().expect("a value").into())).collect(),
        tables: system.get("tables").map_or_else(Vec::new, |tables| {
            serde_json::from_value(tables.clone()).expect("tables as a controller declares them")
        }),
        max_matches: 25,
        base_dir: None,
        network: Network::default(),
    }
}

fn somebody() -> Person {
    Person {
        email: "ann@shop.example".into(),
        phone: "+4915112345678".into(),
        customer_id: "C-1007".into(),
        first_name: "Ann".into(),
        last_name: "Vorbild".into(),
    }
}

#[tokio::test]
async fn every_simulated_vendor_passes_its_check_as_the_sandbox_connects_it() {
    let mut faults = Vec::new();
    for vendor in ALL {
        let world = Arc::new(World::default());
        (vendor.seed)(&world, &somebody());
        let served = Served::start((vendor.router)(&world), world, 0).await.expect("a free port");
        let text = connections::system(vendor.name, vendor.name, &served.url());
        match registry::connect(&spec(&text)) {
            Err(wrong) => faults.push(format!("{}: {wrong:?}", vendor.name)),
            Ok(connector) => {
                if let Err(problem) = connector.check().await {
                    faults.push(format!("{}: {problem:?}", vendor.name));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
