//! `shrike schema` and `shrike config schema`.

use std::io::{self, Write as _};

use shrike::{config, event, vendors};

use super::args::SchemaFormat;
use super::{Exit, Failure, failed};

/// Prints the contract of an event.
pub(crate) fn event(format: SchemaFormat) -> Result<Exit, Failure> {
    match format {
        SchemaFormat::Json => print(&pretty(&event::json_schema())?),
        SchemaFormat::Typescript => print(&event::typescript()),
    }
}

/// Prints the JSON Schema of a configuration file.
pub(crate) fn config() -> Result<Exit, Failure> {
    print(&pretty(&config::json_schema(vendors::ALL))?)
}

fn pretty(schema: &serde_json::Value) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(schema).map_err(failed)? + "\n")
}

fn print(text: &str) -> Result<Exit, Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(Exit::Done)
}
