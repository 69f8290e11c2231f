//! Secrets from a Vault.

use std::process::Command;

use crate::vault::{GIVEN, JWT, NAMESPACE, POWERLESS, ROLE, Vault};
use crate::{Collector, Place, wait_until};

/// A mount may come later than the file that names it: nobody touches that again.
#[test]
fn a_configuration_whose_secret_comes_late_runs_then() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-two");
    place.configure(&collector, "    hec_token: s3cr3t-one\n");
    let mut running = place.run();
    let secret = place.path("secret");
    let token = format!("    hec_token: '${{file:{}}}'\n", secret.display());
    place.configure(&collector, &token);
    running.wait_for("configuration refused; the running one stays");
    place.write("secret", "s3cr3t-two\n");
    running.wait_for("configuration reloaded");
    let events = place.append();
    collector.wait_for(events);
    let log = running.stop();
    assert!(log.contains("\"actor\":\"tried again\""), "{log}");
}

impl Place {
    /// Keys that lead to a Vault by the Kubernetes login.
    fn trust(&self, vault: &Vault) -> String {
        self.write("ca.pem", &vault.authority);
        self.write("jwt", &format!("{JWT}\n"));
        let dir = self.path("");
        let dir = dir.display();
        format!(
            r"credentials:
  provider: vault
  refresh_interval: 1h
  vault:
    address: {}
    path: secret/data/siem
    role: {ROLE}
    namespace: {NAMESPACE}
    jwt_path: {dir}jwt
    ca_cert_path: {dir}ca.pem
",
            vault.address
        )
    }
}

#[test]
fn a_vault_is_asked_again_when_a_token_is_refused_and_its_own_token_is_renewed() {
    let (place, vault) = (Place::new(), Vault::start());
    let collector = Collector::start("s3cr3t-one");
    vault.put("siem", r#"{"hec":"s3cr3t-one"}"#);
    vault.put("place", r#"{"index":"siem-events","shard":7}"#);
    vault.state().ttl = 2;
    let keys = place.trust(&vault);
    let keys = format!(
        "    hec_token: ${{secret:hec}}\n    index: ${{vault:secret/data/place#index}}\n\
         admin: {{listen: \"127.0.0.1:0\"}}\n{keys}"
    );
    place.configure(&collector, &keys);
    let mut running = place.run();
    let first = place.append();
    collector.wait_for(first);
    let asked = |vault: &Vault| {
        let state = vault.state();
        (state.logins, state.reads)
    };
    assert_eq!(asked(&vault), (1, 2), "one session, each secret once");
    // Renewed before its life is over, long before anything is read again.
    wait_until("a renewal", || vault.state().renewals > 0);
    // Rotated: the collector refuses, and the Vault is asked again.
    vault.put("siem", r#"{"hec":"s3cr3t-two"}"#);
    collector.takes("s3cr3t-two");
    let second = place.append();
    collector.wait_for(first + second);
    // Away: the last values stay, and other changes take effect all the same.
    vault.state().is_sealed = true;
    let report = place.shrike(&["reload"]);
    assert_eq!(report, (Some(0), "nothing changed\n".to_owned()));
    running.wait_for("its last values stay");
    let third = place.append();
    collector.wait_for(first + second + third);
    // Back, but all tokens were revoked: a new login.
    vault.state().is_sealed = false;
    vault.revoke();
    vault.put("siem", r#"{"hec":"s3cr3t-three"}"#);
    let report = place.shrike(&["reload"]);
    let expected = "exporters.splunk.hec_token: another secret\nexporters changed: splunk\n";
    assert_eq!(report, (Some(0), expected.to_owned()));
    collector.takes("s3cr3t-three");
    assert!(vault.state().logins > 1);
    let fourth = place.append();
    collector.wait_for(first + second + third + fourth);
    let metrics = running.metrics();
    assert!(metrics.contains("shrike_credential_refresh_total{result=\"ok\"} "), "{metrics}");
    assert!(metrics.contains("shrike_config_reload_total{result=\"applied\"} 2\n"), "{metrics}");
    let log = running.stop();
    assert!(log.contains("status 503: Vault is sealed"), "{log}");
    assert!(!log.contains("s3cr3t"), "{log}");
    assert!(!metrics.contains("s3cr3t"), "{metrics}");
    assert_eq!(collector.events(), first + second + third + fourth, "nothing twice");
}

/// "Refresh credentials once and resend" (`pipeline.md`, Retry): what was refused is not shown once
/// more, which may lock an account.
#[test]
fn a_refused_request_goes_again_with_other_credentials_only() {
    let (place, vault) = (Place::new(), Vault::start());
    let collector = Collector::start("s3cr3t-one");
    vault.put("siem", r#"{"hec":"s3cr3t-one"}"#);
    let keys = place.trust(&vault);
    let keys = format!("    hec_token: ${{secret:hec}}\n    concurrency: 1\n{keys}");
    place.configure(&collector, &keys);
    let logs = ["--set", "global.log.format=json", "--set", "pipeline.workers=1"];
    let running = place.run_with(&logs);
    let first = place.append();
    collector.wait_for(first);
    for (before, now) in [("s3cr3t-one", "s3cr3t-two"), ("s3cr3t-two", "s3cr3t-three")] {
        vault.put("siem", &format!("{{\"hec\":\"{now}\"}}"));
        let events = collector.events();
        collector.takes(now);
        let more = place.append();
        collector.wait_for(events + more);
        assert_eq!(collector.answered(before, 403), 1);
    }
    // Where there are no others the same go once more, and then none until a probe.
    collector.takes("s3cr3t-four");
    place.append();
    let refused = || collector.answered("s3cr3t-three", 403);
    wait_until("it is held", || place.shrike(&["status"]).1.contains("auth_failed"));
    assert_eq!(refused(), 2);
    let log = running.stop();
    // Told once a second.
    assert!(log.matches("auth_failed").count() <= 1, "{log}");
}

#[test]
fn a_vault_is_asked_again_when_the_time_has_come() {
    let (place, vault) = (Place::new(), Vault::start());
    let collector = Collector::start("s3cr3t-one");
    vault.put("siem", r#"{"hec":"s3cr3t-one"}"#);
    place.write("token", GIVEN);
    place.write("ca.pem", &vault.authority);
    let dir = place.path("");
    let keys = format!(
        "    hec_token: ${{vault:secret/data/siem#hec}}\ncredentials:\n  refresh_interval: 1s\n  \
         vault: {{address: \"{}\", auth_method: token, token: \"${{file:{1}token}}\", \
         ca_cert_path: {1}ca.pem}}\n",
        vault.address,
        dir.display()
    );
    place.configure(&collector, &keys);
    let mut running = place.run();
    let first = place.append();
    collector.wait_for(first);
    vault.put("siem", r#"{"hec":"s3cr3t-two"}"#);
    running.wait_for("exporters.splunk.hec_token: another secret");
    collector.takes("s3cr3t-two");
    let second = place.append();
    collector.wait_for(first + second);
    // Gone from the Vault: the last value stays.
    vault.put("siem", "deleted");
    running.wait_for("its last values stay");
    let third = place.append();
    collector.wait_for(first + second + third);
    let log = running.stop();
    assert!(!log.contains("s3cr3t"), "{log}");
}

#[test]
fn what_is_wrong_with_a_vault_is_told_with_what_to_do() {
    let (place, vault) = (Place::new(), Vault::start());
    let collector = Collector::start("unused");
    vault.put("siem", r#"{"hec":"s3cr3t-one","other":{"deep":1}}"#);
    vault.put("gone", "deleted");
    let good = place.trust(&vault);
    place.write("wrong.pem", &Vault::start().authority);
    let secret = "${secret:hec}";
    let cases = [
        (secret, good.replace(ROLE, "nobody"), "status 400: invalid role name \"nobody\"; look at"),
        (secret, good.replace("/jwt", "/nothing"), "cannot read the service account's token"),
        (secret, good.replace(NAMESPACE, "elsewhere"), "bound to this pod's service account"),
        (secret, good.replace("ca.pem", "wrong.pem"), "certificate not accepted"),
        (secret, good.replace("ca.pem", "no.pem"), "tls.ca_cert_path: cannot read"),
        (secret, good.replace("    role: shrike\n", ""), "login needs `credentials.vault.role`"),
        (secret, good.replace("/data/siem", "/siem"), "Invalid path for a versioned K/V secrets"),
        ("${secret:heck}", good.clone(), "secret/data/siem has no field `heck`; it has: hec"),
        ("${secret:other}", good.clone(), "has no field `other`; it has: hec"),
        ("${vault:secret/data/gone#x}", good.clone(), "that is not deleted: MOUNT/data/NAME"),
        ("${vault:secret/data/none#x}", good.clone(), "secret/data/none: status 404; expected"),
        ("${vault:secret/data/siem}", good.clone(), "expected a path and a field"),
        ("${vault:secret/../sys#x}", good.clone(), "expected MOUNT/data/NAME"),
        ("${vault:secret/data/siem#hec}", String::new(), "set `credentials.vault.address`"),
        (
            secret,
            good.replace(
                "    role:",
                &format!("    auth_method: token\n    token: {POWERLESS}\n    role:"),
            )
            .replace(&format!("    namespace: {NAMESPACE}\n"), ""),
            "permission denied; the token's policy must allow `read` on this very path",
        ),
        (
            secret,
            good.replace(&vault.address, "http://vault.example:8200"),
            "plain http to another host carries secrets readably",
        ),
    ];
    for (reference, keys, expected) in cases {
        place.configure(&collector, &format!("    hec_token: '{reference}'\n{keys}"));
        let (code, text) = place.shrike(&["check"]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(expected), "expected `{expected}` in:\n{text}");
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    vault.state().is_sealed = true;
    place.configure(&collector, &format!("    hec_token: '{secret}'\n{good}"));
    let (code, text) = place.shrike(&["check"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("status 503: Vault is sealed"), "{text}");
    // Whoever only wants to know how the process is needs no secret.
    let (_, text) = place.shrike(&["status"]);
    assert!(text.contains("no shrike runs in"), "{text}");
}

impl Place {
    /// Runs a command; its exit code and all that it printed.
    pub(crate) fn shrike(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_shrike"))
            .args(arguments)
            .args(["--config", "c.yaml"])
            .current_dir(self.path(""))
            .output()
            .expect("the command starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    }
}
