//! `shrike vendors`.

use std::io::{self, Write as _};

use shrike::config::{Default, keys_of};

use super::{Exit, Failure, settings};

/// Lists the kinds of destinations, or the keys of one.
pub(crate) fn vendors(name: Option<&str>) -> Result<Exit, Failure> {
    let vendors = settings::vendors();
    let mut text = String::new();
    match name {
        None => {
            let width = vendors.iter().map(|vendor| vendor.name.len()).max().unwrap_or(0);
            for vendor in vendors {
                text.push_str(&format!("{:width$}  {}\n", vendor.name, vendor.about));
            }
        }
        Some(name) => {
            let found =
                vendors.iter().find(|vendor| vendor.name == name || vendor.aliases.contains(&name));
            let Some(vendor) = found else {
                let known: Vec<&str> = vendors.iter().map(|vendor| vendor.name).collect();
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
