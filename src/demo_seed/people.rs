//! The people of the demo: sixty who will make a request, their near-twins, and everybody else.

use super::random::Random;
use redress_domain::RequestType;
use std::collections::BTreeSet;

/// How many people there are.
const POPULATION: usize = 300;
/// How many requests of each type there will be.
const REQUESTS: [(RequestType, usize); 3] =
    [(RequestType::Access, 25), (RequestType::Correction, 15), (RequestType::Deletion, 20)];

/// One made-up person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoPerson {
    /// The CRM's key.
    pub customer_id: String,
    /// In normal form; the systems hold it in several spellings.
    pub email: String,
    /// In E.164; the systems hold it in several notations.
    pub phone: String,
    /// First and last name.
    pub full_name: String,
    /// Street and number.
    pub street: String,
    /// Postal code and town.
    pub town: String,
    /// What the demo has them for.
    pub role: Role,
}

/// What the demo has a person for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Will make a request of this type.
    Target(RequestType),
    /// Looks like a target and is not: must stay untouched.
    Twin,
    /// Is there.
    Bystander,
}

impl Role {
    /// The type of the request that the person will make, if any.
    pub const fn request(self) -> Option<RequestType> {
        match self {
            Role::Target(kind) => Some(kind),
            Role::Twin | Role::Bystander => None,
        }
    }

    /// Whether the person's records will be deleted.
    pub(super) fn is_to_go(self) -> bool {
        self == Role::Target(RequestType::Deletion)
    }
}

/// First names as they are written, and as they stand in an e-mail address.
const FIRST: &[(&str, &str)] = &[
    ("Ann", "ann"),
    ("Bela", "bela"),
    ("Chloé", "chloe"),
    ("Dario", "dario"),
    ("Edda", "edda"),
    ("Finn", "finn"),
    ("Greta", "greta"),
    ("Hektor", "hektor"),
    ("Ines", "ines"),
    ("Jörg", "joerg"),
    ("Kaja", "kaja"),
    ("Łukasz", "lukasz"),
    ("Mara", "mara"),
    ("Nils", "nils"),
    ("Oona", "oona"),
    ("Pál", "pal"),
    ("Quirin", "quirin"),
    ("Renée", "renee"),
    ("Søren", "soeren"),
    ("Tove", "tove"),
    ("Ulla", "ulla"),
    ("Vito", "vito"),
    ("Wanda", "wanda"),
    ("Xaver", "xaver"),
    ("Yara", "yara"),
    ("Zoë", "zoe"),
    ("Liv", "liv"),
    ("Rosa", "rosa"),
    ("Emil", "emil"),
    ("Anna", "anna"),
];

/// Last names that mean "example" or "nobody" somewhere, and so are nobody's.
const LAST: &[(&str, &str)] = &[
    ("Mustermann", "mustermann"),
    ("Beispiel", "beispiel"),
    ("Vorbild", "vorbild"),
    ("Esempio", "esempio"),
    ("Ejemplo", "ejemplo"),
    ("Exempel", "exempel"),
    ("Przykład", "przyklad"),
    ("Voorbeeld", "voorbeeld"),
    ("Esimerkki", "esimerkki"),
    ("Példa", "pelda"),
    ("Sample", "sample"),
    ("Placeholder", "placeholder"),
    ("Nemo", "nemo"),
    ("Niemand", "niemand"),
    ("Fiktiv", "fiktiv"),
    ("Attrappe", "attrappe"),
    ("Probe", "probe"),
    ("Schablone", "schablone"),
    ("Größtentest", "groesstentest"),
    ("Dummy-Doe", "dummy-doe"),
];

const DOMAINS: &[&str] = &["shop.example", "mail.example", "post.example", "inbox.example", "xn--bcher-kva.example"];
const STREETS: &[&str] = &["Musterweg", "Beispielgasse", "Probenplatz", "Attrappenallee", "Platzhalterstraße"];
const TOWNS: &[&str] = &["00001 Musterstadt", "00002 Beispielhausen", "00003 Neu-Nirgendwo", "00004 Fiktivingen"];

/// Makes everybody.
pub(super) fn populate(random: &mut Random) -> Vec<DemoPerson> {
    let mut maker = Maker { random, taken: BTreeSet::new(), made: 0 };
    let mut kinds: Vec<RequestType> = REQUESTS.iter().flat_map(|(kind, n)| std::iter::repeat_n(*kind, *n)).collect();
    maker.random.shuffle(&mut kinds);
    let targets: Vec<DemoPerson> = kinds.into_iter().map(|kind| maker.person(Role::Target(kind))).collect();
    let mut people: Vec<DemoPerson> = targets.iter().enumerate().flat_map(|(i, t)| maker.twins(i, t)).collect();
    people.extend(targets);
    while people.len() < POPULATION {
        people.push(maker.person(Role::Bystander));
    }
    maker.random.shuffle(&mut people);
    people
}

struct Maker<'a> {
    random: &'a mut Random,
    taken: BTreeSet<String>,
    made: usize,
}

impl Maker<'_> {
    fn person(&mut self, role: Role) -> DemoPerson {
        let (first, first_plain) = *self.random.pick(FIRST);
        let (last, last_plain) = *self.random.pick(LAST);
        let domain = *self.random.pick(DOMAINS);
        let base = match self.random.below(4) {
            0 => first_plain.to_owned(),
            1 => format!("{}.{last_plain}", &first_plain[..1]),
            2 => format!("{first_plain}_{last_plain}"),
            _ => format!("{first_plain}.{last_plain}"),
        };
        let mut email = format!("{base}@{domain}");
        let mut n = 1;
        while !self.taken.insert(email.clone()) {
            n += 1;
            email = format!("{base}{n}@{domain}");
        }
        self.made += 1;
        DemoPerson {
            customer_id: format!("C-{}", 1000 + self.made),
            email,
            phone: phone(self.made),
            full_name: format!("{first} {last}"),
            street: format!("{} {}", self.random.pick(STREETS), self.random.below(99) + 1),
            town: (*self.random.pick(TOWNS)).to_owned(),
            role,
        }
    }

    /// The people who look like the target of this number. Every kind of likeness occurs many times.
    fn twins(&mut self, number: usize, target: &DemoPerson) -> Vec<DemoPerson> {
        let (local, domain) = target.email.split_once('@').expect("made with an @");
        let mut emails = Vec::new();
        if number.is_multiple_of(2) {
            emails.push(format!("jo{local}@{domain}"));
        }
        match number % 3 {
            0 => emails.push(format!("{local}@{domain}.evil.example")),
            1 => emails.push(format!("{local}+tag@{domain}")),
            _ => {}
        }
        emails.retain(|email| self.taken.insert(email.clone()));
        let mut twins: Vec<DemoPerson> = Vec::new();
        for (i, email) in emails.into_iter().enumerate() {
            let mut twin = self.person(Role::Twin);
            // The address drawn for the twin stays taken, which does no harm.
            twin.email = email;
            twin.full_name.clone_from(&target.full_name);
            twin.phone = same_tail(&target.phone, i).unwrap_or(twin.phone);
            twin.customer_id = format!("{}{i}", target.customer_id);
            twins.push(twin);
        }
        if number.is_multiple_of(4) {
            // The same household: name of the family, street and town, but nobody's address or number twice.
            let mut twin = self.person(Role::Twin);
            let last = target.full_name.split_once(' ').map_or("", |(_, last)| last);
            twin.full_name = format!("{} {last}", twin.full_name.split(' ').next().unwrap_or_default());
            twin.street.clone_from(&target.street);
            twin.town.clone_from(&target.town);
            twins.push(twin);
        }
        twins
    }
}

/// A number kept for films. One in five is British, where eleven towns have the same block.
fn phone(n: usize) -> String {
    if n.is_multiple_of(5) { format!("+441314960{n:03}") } else { format!("+493023125{n:03}") }
}

/// A number for corrections, which nobody has yet.
pub(super) fn new_phone(n: usize) -> String {
    format!("+496990009{n:03}")
}

/// A British number of another town with the same last digits.
fn same_tail(phone: &str, twin: usize) -> Option<String> {
    let towns = ["141", "151"];
    phone.strip_prefix("+44131").map(|rest| format!("+44{}{rest}", towns[twin % towns.len()]))
}

/// The same address in one of the spellings that people and programs use.
pub(super) fn respelled(email: &str, random: &mut Random) -> String {
    let (local, domain) = email.split_once('@').expect("made with an @");
    let domain = if random.percent(50) { domain.replace("xn--bcher-kva.", "bücher.") } else { domain.to_owned() };
    let capital = |text: &str| -> String {
        text.split('.').map(|part| part[..1].to_uppercase() + &part[1..]).collect::<Vec<_>>().join(".")
    };
    match random.below(8) {
        // Ann@Shop.Example; a name in another alphabet or in its A-label form keeps its case.
        0 | 1 if domain.is_ascii() && !domain.contains("xn--") => format!("{}@{}", capital(local), capital(&domain)),
        2 if domain.is_ascii() && !domain.contains("xn--") => format!("{local}@{domain}").to_uppercase(),
        3 => format!("{}@{domain}", capital(local)),
        _ => format!("{local}@{domain}"),
    }
}

/// The same number in one of the notations that people and programs use.
pub(super) fn renoted(phone: &str, random: &mut Random) -> String {
    let Some(rest) = phone.strip_prefix("+4930") else {
        let (area, number) = (&phone[3..6], &phone[6..]);
        return match random.below(3) {
            0 => format!("+44 {area} {number}"),
            1 => format!("0044 {area} {number}"),
            _ => phone.to_owned(),
        };
    };
    match random.below(6) {
        0 => format!("030 {rest}"),
        1 => format!("030/{} {}", &rest[..5], &rest[5..]),
        2 => format!("+49 30 {} {}", &rest[..5], &rest[5..]),
        3 => format!("0049 30 {rest}"),
        4 => format!("(030) {}-{}", &rest[..5], &rest[5..]),
        _ => phone.to_owned(),
    }
}
