//! `shrike vendors`.

use std::io::{self, Write as _};

use shrike::config::{Default, keys_of};

use shrike::vendors::{ALL, find};

use super::{Exit, Failure};

/// Lists the kinds of destinations, or the keys of one.
pub(crate) fn vendors(name: Option<&str>) -> Result<Exit, Failure> {
    let mut text = String::new();
    match name {
        None => {
            let width = ALL.iter().map(|vendor| vendor.name.len()).max().unwrap_or(0);
            for vendor in ALL {
                text.push_str(&format!("{:width$}  {}\n", vendor.name, vendor.about));
            }
        }
        Some(name) => {
            let Some(vendor) = find(name) else {
                let known: Vec<&str> = ALL.iter().map(|vendor| vendor.name).collect();
                let known = known.join(", ");
                let wrong =
                    format!("unknown kind of destination `{name}`; expected one of: {known}");
                return Err(Failure::Usage(wrong));
            };
            text.push_str(&format!("{}: {}\n", vendor.name, vendor.about));
            for key in keys_of(vendor) {
                let default = match key.default {
                    Default::Is(text) => text,
                    Default::Unset(word) => word,
                };
                text.push_str(&format!(
                    "\n{}\n    {}\n    Takes {}. Default: {default}.\n",
                    key.path,
                    key.about,
                    key.kind.expected(key.path)
                ));
            }
        }
    }
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(Exit::Done)
}
