//! The configuration: text, raw, resolved.
//!
//! One table of rows ([`Key`]) says for every key its path, its other spellings, what it takes, its
//! default and its meaning. Parsing, `--set`, errors with the nearest name and the reference in
//! `docs/configuration.md` all come from these rows; destinations bring rows of their own.
//!
//! [`Text`] is a file or the embedded default; [`Config::load`] reads it with the flags. All
//! mistakes are reported at once, each with its place, and none repeats a secret.

mod admin;
mod assemble;
mod credentials;
mod expand;
mod exporter;
mod filtering;
mod flags;
mod forms;
mod hooks;
mod inputs;
mod intel;
mod json_schema;
mod key;
mod load;
mod mistake;
mod parse;
mod paths;
mod patterns;
mod places;
mod prepared;
mod privacy;
mod read;
mod reference;
mod resolved;
mod room;
mod routes;
mod shared;
mod shown;
mod sources;
mod table;
mod text;
pub mod time;
mod value;

pub use admin::{AdminSettings, AdminToken, Role, TOKEN};
pub use assemble::Host;
pub use expand::{Lookup, System};
pub use exporter::keys_of;
pub use filtering::{FILTER, FILTERING, ROUTING_RULE};
pub use flags::{Flag, Flags};
pub use hooks::hook_keys;
pub use intel::server_keys;
pub use json_schema::json_schema;
pub use key::{Default, Key, Kind, Unit};
pub use load::{EMBEDDED, Text, USUAL_PATH};
pub use mistake::{Error, Mistake, Mistakes, Wrong};
pub use paths::Looked;
pub use places::{Letters, Places};
pub use privacy::{PATTERN, PRIVACY, PRIVACY_OWN};
pub use reference::reference;
pub use resolved::{
    Config, Enrichment, Exporter, Global, HookSettings, Input, LogFormat, LogLevel,
    PipelineSettings, RouteSettings, RoutingRule, SchemaSettings,
};
pub use shared::{ROUTING, SHARED};
pub use shown::Shown;
pub use sources::{Keep, Sources, Stamp};
pub use table::{INPUT, TOP, top};
pub use text::At;
