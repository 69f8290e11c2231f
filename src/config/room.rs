//! Whether any event has room where a destination takes few bytes of each.

use super::text::Node;
use super::{Config, Exporter, Host, Mistake, Mistakes, Wrong};
use crate::deliver::Options;
use crate::pipeline::Render;

/// Finds bounds below which nothing is ever sent: each event would be a dead letter.
pub(super) fn rooms(config: &Config, root: &Node, mistakes: &mut Mistakes) {
    for exporter in &config.exporters {
        let settings = &exporter.settings;
        let is_usual = bytes_max(exporter, &settings.options) >= settings.vendor.limits.event_bytes;
        let Some(key) = key(exporter).filter(|_| !is_usual) else { continue };
        let Some(least) = least(config, exporter) else { continue };
        let wrong = format!(
            "an event takes at least {least} bytes in this form, so that each would be a dead \
             letter; expected so many at least, or a shorter form"
        );
        let place = format!("exporters.{}.{key}", settings.name);
        let at = root.below(&place).unwrap_or(root).at.clone();
        mistakes.add(Mistake::new(at, place, Wrong::Rule(wrong)));
    }
}

/// The most bytes that an event may have.
fn bytes_max(exporter: &Exporter, options: &Options) -> u32 {
    let vendor = exporter.settings.vendor;
    (vendor.narrow)(options, vendor.limits).event_bytes
}

/// The number without which more would fit.
fn key(exporter: &Exporter) -> Option<&'static str> {
    let options = &exporter.settings.options;
    let now = bytes_max(exporter, options);
    let mut keys = exporter.settings.vendor.options.iter().map(|option| option.key);
    keys.find(|key| {
        options.number(key).is_some() && bytes_max(exporter, &options.without(key)) > now
    })
}

/// The bytes that an event needs at least; none where one fits.
fn least(config: &Config, exporter: &Exporter) -> Option<usize> {
    // What else is wrong the engine tells, better than could be told here.
    Render::new(&config.exporter_spec(exporter, &Host::default())).ok()?.lacks_room()
}
