//! Where logs and metrics go: one host per site for each.

use http::Uri;

use crate::deliver::{Options, Problem, problem};

/// The intakes of logs: of the site, then of those that take over.
pub(super) fn intakes(options: &Options) -> Result<Vec<Uri>, Problem> {
    places(options, "endpoint", "http-intake.logs", "/api/v2/logs")
}

/// The APIs beside them: metrics, and whether a key is valid. Where only an intake is written,
/// nothing goes anywhere else.
pub(super) fn apis(options: &Options) -> Result<Vec<Uri>, Problem> {
    let own = options.is_set("metrics_endpoint");
    places(options, if own { "metrics_endpoint" } else { "endpoint" }, "api", "/api/v")
}

/// One place per site, the first as `key` says where it is written; a URL that names the call too
/// is cut.
fn places(options: &Options, key: &str, host: &str, call: &str) -> Result<Vec<Uri>, Problem> {
    let site = options.text("site").unwrap_or_else(|| SITE.to_owned());
    let first = match options.text(key) {
        Some(url) => {
            let base = url.find(call).map_or(url.as_str(), |at| &url[..at]);
            let wrong = || problem(key, "needs a URL like https://intake.example");
            let uri: Uri = base.trim_end_matches('/').parse().map_err(|_| wrong())?;
            uri.host().ok_or_else(wrong)?;
            uri
        }
        None => place(host, &site, "site")?,
    };
    let mut places = vec![first];
    for other in options.list("failover.sites") {
        if residency(other).is_some() && residency(other) != residency(&site) {
            return Err(problem(
                "failover.sites",
                format!("{other} keeps data elsewhere than {site}; name sites of one residency"),
            ));
        }
        places.push(place(host, other, "failover.sites")?);
    }
    Ok(places)
}

fn place(host: &str, site: &str, key: &str) -> Result<Uri, Problem> {
    let unknown = || {
        let known = SITES.join(", ");
        let text = format!(
            "knows no site {site:?}, and events must not go to a wrong one; known are {known}, and \
             later regions of these; set endpoint and metrics_endpoint for anything else"
        );
        problem(key, text)
    };
    residency(site).ok_or_else(unknown)?;
    format!("https://{host}.{site}").parse().map_err(|_| unknown())
}

/// Where a site keeps data: its family, and the region's letters; none for what is no site.
fn residency(site: &str) -> Option<(&'static str, &str)> {
    let family = FAMILIES.iter().copied().find(|family| site.ends_with(family))?;
    let region = site.strip_suffix(family)?;
    if region.is_empty() {
        return Some((family, if family == SITE { "us" } else { "" }));
    }
    let region = region.strip_suffix('.')?;
    let letters = region.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_region = letters.len() < region.len()
        && (2..=3).contains(&letters.len())
        && letters.bytes().all(|byte| byte.is_ascii_lowercase());
    is_region.then_some((family, letters))
}

/// The site where none is written.
const SITE: &str = "datadoghq.com";

/// What sites end in.
const FAMILIES: &[&str] = &[SITE, "datadoghq.eu", "ddog-gov.com"];

/// The sites as they are documented.
const SITES: &[&str] = &[
    SITE,
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "datadoghq.eu",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "ddog-gov.com",
];
