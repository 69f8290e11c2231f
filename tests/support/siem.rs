//! A place with one exporter, `siem`, which sends to a destination.

use super::binary::Place;
use super::destination::Destination;

pub(crate) fn siem(destination: &Destination) -> Place {
    Place::new(&format!(
        "global: {{state_dir: state}}\nlog: {{segment_bytes: 8MiB}}\n\
         pipeline: {{workers: 2}}\nexporters:\n  \
         siem:\n    type: elastic\n    \
         nodes: [\"http://{}\"]\n    auth: {{type: none}}\n    init: {{enabled: false}}\n    \
         from: earliest\n    compression: none\n",
        destination.address
    ))
}
