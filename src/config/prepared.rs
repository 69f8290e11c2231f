//! What exporters prepare at one destination: nothing under one name that they want differently.

use super::{At, Exporter, Mistake, Mistakes, Wrong};
use crate::deliver::{Binding, Credentials, Request, Setup, Step};

/// What one exporter puts where, and the exporter.
struct Put<'a> {
    exporter: &'a Exporter,
    endpoints: Vec<http::Uri>,
    step: &'static Step,
    request: Request,
}

/// Tells of exporters that would overwrite what others prepare.
///
/// Endpoints tell destinations apart: nodes of one cluster that have other addresses are taken for
/// others.
pub(super) fn prepared_otherwise(
    exporters: &[Exporter],
    at: impl Fn(&str) -> At,
    mistakes: &mut Mistakes,
) {
    let mut before: Vec<Put<'_>> = Vec::new();
    for exporter in exporters {
        for put in puts(exporter) {
            let is_there = |other: &&Put<'_>| {
                let is_near = other.endpoints.iter().any(|it| put.endpoints.contains(it));
                is_near && other.request.path == put.request.path
            };
            match before.iter().find(is_there) {
                Some(other) if other.request.body != put.request.body => {
                    mistakes.add(told(&put, other, at(&exporter.settings.name)));
                }
                Some(_) => {}
                None => before.push(put),
            }
        }
    }
}

fn told(put: &Put<'_>, other: &Put<'_>, at: At) -> Mistake {
    let (name, other) = (&put.exporter.settings.name, &other.exporter.settings.name);
    let (what, key) = (put.step.name, put.step.key);
    let word = put.exporter.settings.options.text(key).unwrap_or_default();
    let wrong = format!(
        "the {what} of `{}` is also prepared by exporter `{other}` at the same place, and differs \
         there, so that one would overwrite the other; write another name here or in \
         `exporters.{other}.{key}`, or keys that it follows from alike in both",
        word.escape_debug()
    );
    Mistake::new(at, format!("exporters.{name}.{key}"), Wrong::Rule(wrong))
}

/// What an exporter prepares; nothing where it is wrong otherwise, which is told elsewhere.
fn puts(exporter: &Exporter) -> Vec<Put<'_>> {
    let settings = &exporter.settings;
    let vendor = settings.vendor;
    if vendor.setup.is_empty() {
        return Vec::new();
    }
    let endpoints = (vendor.endpoints)(&settings.options);
    let (Ok(endpoints), Ok(derived)) = (endpoints, (vendor.derive)(&settings.options)) else {
        return Vec::new();
    };
    let credentials = Credentials::new();
    let Ok(setup) = Setup::compile(&Binding::new(settings, &derived, &credentials)) else {
        return Vec::new();
    };
    let put = |(step, request)| Put { exporter, endpoints: endpoints.clone(), step, request };
    setup.puts().map(put).collect()
}
