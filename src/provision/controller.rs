//! A controller's definition is who they are, which time zone and law their deadlines follow, and where they want to be asked.

use super::reader::Reader;
use redress_domain::RequestType;
use redress_domain::words::Fault;
use serde_json::Value;

/// The `[controller]` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerDef {
    /// Our name for the controller.
    pub name: String,
    /// ISO 3166-1 alpha-2, in capitals; decides how a phone number without `+` is read.
    pub country: String,
    /// IANA name of the zone in which a day ends.
    pub timezone: String,
    /// Where the controller's data are kept; `eu` unless said otherwise.
    pub region: String,
    /// The mail address of the people who answer for privacy there.
    pub contact: Option<String>,
    /// Requests of these types wait until the controller approves them.
    pub require_approval: Vec<RequestType>,
    /// A deletion waits this long, so that it can be withdrawn; 0 is not at all.
    pub cooling_off_hours: u32,
    /// The answers to requests of these types wait until a person has looked at them.
    pub review: Vec<RequestType>,
    /// Whoever approves is a person who signed in, and another than whoever submitted the request.
    pub four_eyes: bool,
    /// How long an access package can be fetched, if not as long as elsewhere.
    pub package_expires_days: Option<u32>,
    /// Its share of the workers where several controllers wait with work that is equally urgent; 1 unless said otherwise.
    pub weight: u32,
    /// What was agreed with it about time, as JSON that was checked; stands beside `[controller]` as `[terms]`.
    pub terms: Option<String>,
}

/// Reads a controller that was not described in a file but, for example, on the command line; every fault at once, as
/// pointers into `value`.
pub fn read_controller(value: &Value) -> Result<ControllerDef, Vec<Fault>> {
    let mut faults = Vec::new();
    read(value, "", &mut faults).ok_or(faults)
}

/// Reads the table at `pointer`; every fault goes to the list.
pub(super) fn read(value: &Value, pointer: &str, faults: &mut Vec<Fault>) -> Option<ControllerDef> {
    let before = faults.len();
    let mut reader = Reader::new(value, pointer, faults);
    let name = reader.required_name("name");
    let country = reader.required_text("country").and_then(|text| {
        let known = is_country(text);
        if !known {
            reader.fault("country", "must be a country code of ISO 3166-1 alpha-2 in capitals, such as DE");
        }
        known.then(|| text.to_owned())
    });
    let timezone = reader.required_text("timezone").and_then(|text| {
        let known = is_timezone(text);
        if !known {
            reader.fault("timezone", "must be the IANA name of a time zone, such as Europe/Berlin");
        }
        known.then(|| text.to_owned())
    });
    let region = match reader.text("region") {
        Some(text) => reader.named("region", text),
        None => Some("eu".to_owned()),
    };
    let contact = reader.text("contact").map(str::to_owned);
    if contact.as_deref().is_some_and(|text| !is_contact(text)) {
        reader.fault("contact", "must be one e-mail address");
    }
    let word = RequestType::as_str;
    let require_approval = reader.words("require_approval", RequestType::ALL, word).unwrap_or_default();
    let review = reader.words("review", RequestType::ALL, word).unwrap_or_default();
    let four_eyes = reader.flag("four_eyes").unwrap_or(false);
    // Thirty days: a longer wait would use up the time that the law gives.
    let cooling_off_hours = reader.number("cooling_off_hours", 0..=720).unwrap_or(0);
    let package_expires_days = reader.number("package_expires_days", 1..=365);
    let weight = reader.number("weight", 1..=redress_domain::fair::WEIGHT_MAX).unwrap_or(1);
    reader.finish();
    if faults.len() > before {
        return None;
    }
    Some(ControllerDef {
        name: name?,
        country: country?,
        timezone: timezone?,
        region: region?,
        contact,
        require_approval,
        cooling_off_hours,
        review,
        four_eyes,
        package_expires_days,
        weight,
        terms: None,
    })
}

/// Whether a text is the IANA name of a time zone.
pub(super) fn is_timezone(text: &str) -> bool {
    // jiff takes names in any case; the case of the database is the one that other programs understand too.
    jiff::tz::TimeZone::get(text).is_ok_and(|zone| zone.iana_name() == Some(text))
}

fn is_contact(text: &str) -> bool {
    use redress_domain::{Identifier, IdentifierType::Email};
    Identifier::parse(Email, text, None).is_ok()
}

/// The officially assigned codes of ISO 3166-1 alpha-2, and XK, which is in use for Kosovo.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR \
    GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP \
    KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT \
    MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW \
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ \
    UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

/// Whether a text is a country code in capitals.
pub(crate) fn is_country(text: &str) -> bool {
    COUNTRIES.split_ascii_whitespace().any(|code| code == text)
}
