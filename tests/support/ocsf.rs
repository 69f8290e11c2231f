//! Checks OCSF events by the framework's definitions (1.8.0), written down here by hand.
//!
//! The lists hold the attributes that our events may have; what is not in them is an invention.

#![allow(dead_code, reason = "each test crate that shares this file uses a part of it")]

use serde_json::{Map, Value};

use super::unique::assert_unique;

/// Class, its caption, its category with caption, its activities, its own attributes.
type Class = (u64, &'static str, (u64, &'static str), &'static [(u64, &'static str)], &'static str);

/// The attribute with the number, that with the caption, and the numbers with theirs.
type Captions = (&'static str, &'static str, &'static [(u64, &'static str)]);

const CLASSES: &[Class] = &[
    (0, "Base Event", (0, "Uncategorized"), &[(99, "")], ""),
    (
        1001,
        "File System Activity",
        (1, "System Activity"),
        &[(2, "Read"), (3, "Update"), (14, "Open")],
        "actor!:actor device!:device file!:file",
    ),
    (
        1007,
        "Process Activity",
        (1, "System Activity"),
        &[(1, "Launch")],
        "actor!:actor device!:device process!:process",
    ),
    (
        2004,
        "Detection Finding",
        (2, "Findings"),
        &[(1, "Create")],
        "finding_info!:finding_info evidences:[evidence]",
    ),
    (
        3002,
        "Authentication",
        (3, "Identity & Access Management"),
        &[(1, "Logon"), (2, "Logoff")],
        "user!:user service:service dst_endpoint:endpoint session:session; service dst_endpoint",
    ),
    (
        4001,
        "Network Activity",
        (4, "Network Activity"),
        &[(1, "Open"), (5, "Refuse")],
        "dst_endpoint:endpoint src_endpoint:endpoint connection_info:connection; \
         dst_endpoint src_endpoint",
    ),
    (
        6003,
        "API Activity",
        (6, "Application Activity"),
        &[(99, "")],
        "actor!:actor api!:api src_endpoint!:endpoint",
    ),
];

/// Attributes of every class, those of the profiles `host` and `security_control` included.
const SHARED: &str = "activity_id!:int activity_name:text category_uid!:int category_name:text \
    class_uid!:int class_name:text type_uid!:int time!:int severity_id!:int severity:text \
    message:text status_id:int status:text status_detail:text metadata!:metadata \
    observables:[observable] enrichments:[enrichment] raw_data:text unmapped:any \
    actor:actor device:device action_id:int action:text disposition_id:int disposition:text \
    is_alert:bool policy:policy attacks:[attack]";

/// Name, attributes (`!` is required), and behind a semicolon those of which one must be there.
const OBJECTS: &[(&str, &str)] = &[
    (
        "metadata",
        "version!:text profiles:[text] uid:text event_code:text correlation_uid:text \
        tenant_uid:text product!:product original_time:text logged_time:int log_name:text \
        labels:[text]",
    ),
    ("product", "name:text vendor_name:text version:text uid:text; name uid"),
    ("policy", "name:text uid:text; name uid"),
    ("attack", "tactic:named technique:named; tactic technique"),
    ("named", "name:text uid:text; name uid"),
    (
        "actor",
        "app_name:text app_uid:text user:user session:session; app_name app_uid user session",
    ),
    ("user", "uid:text name:text type_id:int; uid name"),
    ("session", "uid:text"),
    ("device", "uid:text hostname:text type_id!:int; uid hostname"),
    ("observable", "name:text type_id!:int type:text value:text"),
    ("enrichment", "name!:text value!:text type:text provider:text data!:any"),
    ("endpoint", "hostname:text ip:ip name:text port:port; hostname ip name"),
    ("connection", "direction_id!:int direction:text"),
    ("file", "name!:text path:text type_id!:int type:text"),
    ("process", "name:text cmd_line:text uid:text; uid"),
    ("api", "operation!:text service:service"),
    ("service", "name:text uid:text; name uid"),
    (
        "finding_info",
        "uid!:text title:text desc:text created_time:int types:[text] \
        analytic:analytic attacks:[attack]",
    ),
    ("analytic", "name:text type_id!:int type:text; name"),
    (
        "evidence",
        "file:file dst_endpoint:endpoint process:process api:api; \
        file dst_endpoint process api",
    ),
];

/// Captions of what is numbered.
const CAPTIONS: &[Captions] = &[
    (
        "severity_id",
        "severity",
        &[(1, "Informational"), (2, "Low"), (3, "Medium"), (4, "High"), (5, "Critical")],
    ),
    ("action_id", "action", &[(1, "Allowed"), (2, "Denied"), (3, "Observed"), (4, "Modified")]),
    (
        "disposition_id",
        "disposition",
        &[(1, "Allowed"), (2, "Blocked"), (11, "Corrected"), (15, "Detected")],
    ),
    ("direction_id", "direction", &[(2, "Outbound")]),
];

const OBSERVABLES: &[(u64, &str)] = &[
    (1, "Hostname"),
    (2, "IP Address"),
    (4, "User Name"),
    (6, "URL String"),
    (7, "File Name"),
    (8, "Hash"),
    (45, "File Path"),
];

/// Reads an event and checks all that holds for every event.
pub(crate) fn read(text: &str) -> Value {
    assert_unique(text);
    let event: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let number = |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("no `{key}`: {text}"));
    let class = CLASSES.iter().find(|class| class.0 == number("class_uid"));
    let (class, caption, category, activities, own) = class.expect("a class that we send");
    check(&event, &format!("{SHARED} {own}"), caption, text);
    assert_eq!(event["class_name"], *caption);
    assert_eq!((number("category_uid"), &event["category_name"]), (category.0, &category.1.into()));
    let (activity, name) = activities
        .iter()
        .find(|(activity, _)| *activity == number("activity_id"))
        .expect("an activity of the class");
    // The name of another activity is the source's own.
    assert!(name.is_empty() || event["activity_name"] == *name, "{text}");
    assert_eq!(number("type_uid"), class * 100 + activity);
    assert!(number("time") > 1_000_000_000_000, "not in milliseconds: {text}");
    let statuses: &[(u64, &str)] = match class {
        2004 => &[(1, "New")],
        _ => &[(0, "Unknown"), (1, "Success"), (2, "Failure"), (99, "")],
    };
    let status = statuses.iter().find(|(id, _)| *id == number("status_id")).expect("a status");
    assert!(status.1.is_empty() || event["status"] == status.1, "{text}");
    event
}

fn check(value: &Value, attributes: &str, at: &str, text: &str) {
    let members = value.as_object().unwrap_or_else(|| panic!("`{at}` is no object: {text}"));
    let (attributes, groups) = attributes.split_once(';').unwrap_or((attributes, ""));
    let rows: Vec<(&str, &str)> =
        attributes.split_whitespace().map(|row| row.split_once(':').expect("a kind")).collect();
    for (name, _) in rows.iter().filter(|(name, _)| name.ends_with('!')) {
        let name = name.trim_end_matches('!');
        assert!(members.contains_key(name), "`{at}.{name}` is required: {text}");
    }
    let needs_one = !groups.trim().is_empty();
    let has_one = groups.split_whitespace().any(|name| members.contains_key(name));
    assert!(!needs_one || has_one, "`{at}` needs one of{groups}: {text}");
    assert!(!members.is_empty(), "`{at}` is empty: {text}");
    for (name, value) in members {
        let kind = rows.iter().find(|(row, _)| row.trim_end_matches('!') == name);
        let (_, kind) = kind.unwrap_or_else(|| panic!("`{at}.{name}` is invented: {text}"));
        let at = format!("{at}.{name}");
        match kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
            Some(kind) => {
                let values = value.as_array().unwrap_or_else(|| panic!("`{at}`: {text}"));
                assert!(!values.is_empty(), "`{at}` is empty: {text}");
                values.iter().for_each(|value| check_kind(value, kind, &at, text));
            }
            None => check_kind(value, kind, &at, text),
        }
    }
    check_captions(members, text);
}

fn check_kind(value: &Value, kind: &str, at: &str, text: &str) {
    let holds = match kind {
        "any" => true,
        "int" => value.is_i64() || value.is_u64(),
        "bool" => value.is_boolean(),
        "text" => value.as_str().is_some_and(|text| !text.is_empty()),
        "ip" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
        "port" => value.as_u64().is_some_and(|port| (1..=65_535).contains(&port)),
        object => {
            let row = OBJECTS.iter().find(|(name, _)| *name == object);
            check(value, row.expect("the object is listed").1, at, text);
            true
        }
    };
    assert!(holds, "`{at}` is not {kind}: {text}");
}

fn check_captions(members: &Map<String, Value>, text: &str) {
    for (id, caption, known) in CAPTIONS {
        if let Some(number) = members.get(*id) {
            let row = known.iter().find(|(known, _)| number == *known);
            assert_eq!(members[*caption], row.expect("a number that we send").1, "{text}");
        }
    }
    if let (Some(kind), Some(_)) = (members.get("type_id"), members.get("value")) {
        let row = OBSERVABLES.iter().find(|(known, _)| kind == *known);
        assert_eq!(members["type"], row.expect("an observable").1, "{text}");
    }
}
