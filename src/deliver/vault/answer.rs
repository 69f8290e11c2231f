//! What a Vault answers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{VaultError, VaultFields, wipe};
use crate::deliver::{DETAIL_BYTES_MAX, Secret};

/// A token and its life.
pub(super) struct Granted {
    pub(super) token: Secret,
    /// Zero where it does not end.
    pub(super) ttl: Duration,
    pub(super) is_renewable: bool,
}

/// The token of a login or renewal (`auth`), or what a look-up says of one that we have (`data`).
pub(super) fn granted(
    what: &str,
    body: Bytes,
    ours: Option<&Secret>,
) -> Result<Granted, VaultError> {
    #[derive(Deserialize)]
    struct Whole {
        auth: Option<Auth>,
        data: Option<Data>,
    }
    #[derive(Deserialize)]
    struct Auth {
        client_token: Option<String>,
        #[serde(default)]
        lease_duration: u64,
        #[serde(default)]
        renewable: bool,
    }
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        ttl: u64,
        #[serde(default)]
        renewable: bool,
    }
    let whole = serde_json::from_slice::<Whole>(&body);
    wipe(body);
    let whole = whole.map_err(|_| unreadable(what, "the answer is no JSON of a Vault"))?;
    let (token, ttl, is_renewable) = match (whole.auth, whole.data) {
        (Some(auth), _) => {
            let token = auth.client_token.filter(|token| !token.is_empty());
            (token.map(Secret::new), auth.lease_duration, auth.renewable)
        }
        (None, Some(data)) => (None, data.ttl, data.renewable),
        (None, None) => return Err(unreadable(what, "the answer has neither `auth` nor `data`")),
    };
    let token = token.or_else(|| ours.cloned());
    let token = token.ok_or_else(|| unreadable(what, "the answer has no `auth.client_token`"))?;
    Ok(Granted { token, ttl: Duration::from_secs(ttl), is_renewable })
}

/// The fields of a secret of KV version 2, which lie in `data.data`.
pub(super) fn fields(what: &str, body: Bytes) -> Result<VaultFields, VaultError> {
    #[derive(Deserialize)]
    struct Whole {
        data: Option<Data>,
    }
    #[derive(Deserialize)]
    struct Data {
        data: Option<BTreeMap<String, Field>>,
    }
    let whole = serde_json::from_slice::<Whole>(&body);
    wipe(body);
    let whole = whole.map_err(|_| unreadable(what, NOT_KV2))?;
    let fields = whole.data.and_then(|data| data.data).ok_or_else(|| unreadable(what, NOT_KV2))?;
    // Maps and lists are nothing that a single value could be; who asks for one is told the others.
    Ok(fields.into_iter().filter_map(|(name, Field(field))| Some((name, field?))).collect())
}

/// One field, which goes from the answer into a secret without a stop.
struct Field(Option<Secret>);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field")
            }

            fn visit_str<E>(self, text: &str) -> Result<Field, E> {
                Ok(Field(Some(Secret::new(text.to_owned()))))
            }

            fn visit_string<E>(self, text: String) -> Result<Field, E> {
                Ok(Field(Some(Secret::new(text))))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Field, E> {
                Ok(Field(Some(Secret::new(number.to_string()))))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Field, E> {
                Ok(Field(Some(Secret::new(number.to_string()))))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Field, E> {
                Ok(Field(Some(Secret::new(number.to_string()))))
            }

            fn visit_bool<E>(self, yes: bool) -> Result<Field, E> {
                Ok(Field(Some(Secret::new(yes.to_string()))))
            }

            fn visit_unit<E>(self) -> Result<Field, E> {
                Ok(Field(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Field(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Field(None))
            }
        }
        from.deserialize_any(Any)
    }
}

/// What a refusal says: `errors`, else `warnings`, which tell of a path without `data`.
pub(super) fn errors(body: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Whole {
        errors: Vec<String>,
        warnings: Option<Vec<String>>,
    }
    let whole: Whole = serde_json::from_slice(body).unwrap_or_default();
    let texts = whole.errors.into_iter().chain(whole.warnings.unwrap_or_default());
    let text = texts.collect::<Vec<_>>().join("; ");
    let text: String = text.chars().filter(|c| !c.is_control()).take(DETAIL_BYTES_MAX).collect();
    match text.is_empty() {
        true => text,
        false => format!(": {}", text.trim()),
    }
}

fn unreadable(what: &str, problem: &str) -> VaultError {
    VaultError::Unreadable { what: what.to_owned(), problem: problem.to_owned() }
}

const NOT_KV2: &str =
    "the answer has no fields below `data.data`; expected a secret of KV version 2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_below_data_data() {
        let body = r#"{"request_id":"x","data":{"data":{"a":"s3cr3t","port":8088,"on":true,
            "deep":{"x":1}},"metadata":{"version":2}},"warnings":null}"#;
        let found = fields("secret/data/x", Bytes::from_static(body.as_bytes())).expect("KV 2");
        let found: Vec<(&str, &str)> =
            found.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect();
        assert_eq!(found, [("a", "s3cr3t"), ("on", "true"), ("port", "8088")]);
        for other in [r#"{"data":{"a":"b"}}"#, r#"{"data":null}"#, "", "[]", "{}"] {
            let error = fields("x", Bytes::from_static(other.as_bytes())).expect_err("not KV 2");
            assert_eq!(error.to_string(), format!("vault: x: {NOT_KV2}"), "{other}");
        }
    }

    #[test]
    fn what_a_refusal_says_is_one_line() {
        let says = |text: &str| errors(text.as_bytes());
        assert_eq!(
            says(r#"{"errors":["1 error:\n\t* permission denied\n\n"]}"#),
            ": 1 error:* permission denied"
        );
        assert_eq!(says(r#"{"errors":[],"warnings":["Invalid path"]}"#), ": Invalid path");
        assert_eq!(says("<html>"), "");
    }
}
