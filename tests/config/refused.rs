//! What is refused, and in which words.

use shrike::config::Error;

use crate::world::{load, refusal};

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(refusal(text), *expected, "\n{text}");
    }
}

#[test]
fn what_is_no_yaml_is_refused_with_its_place() {
    check(&[
        ("global: {", "2:1: not YAML: while parsing a node, did not find expected node content"),
        ("a: b: c", "1:5: not YAML: mapping values are not allowed in this context"),
        (
            "- a\n b",
            "1:1: expected a map with admin, audit, credentials, enrichment, exporters, filtering, global, inputs, \
             log, memory, pipeline, privacy, response_hooks, routing, schema, threat_intel or version, found a list",
        ),
        (
            "[1, 2]",
            "1:1: expected a map with admin, audit, credentials, enrichment, exporters, filtering, global, inputs, \
             log, memory, pipeline, privacy, response_hooks, routing, schema, threat_intel or version, found a list",
        ),
        (
            "text",
            "1:1: expected a map with admin, audit, credentials, enrichment, exporters, filtering, global, inputs, \
             log, memory, pipeline, privacy, response_hooks, routing, schema, threat_intel or version, found a single value",
        ),
        ("log:\n  dir: /a\n  dir: /b\n", "3:3: log.dir: written twice, first at 2:3; remove one"),
        ("log: {dir: !secret x}", "1:12: log.dir: tags are not used here; remove it"),
        ("? [a]\n: b", "1:3: a key must be a single text"),
        (
            "version: 1.0.0\n---\nversion: 1.0.0\n",
            "2:1: a second document starts here; a configuration is one document",
        ),
        ("", "1:1: holds no configuration; expected keys such as `inputs:`, or `{}` for none"),
        (
            "---\n# later\n\n",
            "1:1: holds no configuration; expected keys such as `inputs:`, or `{}` for none",
        ),
        (
            "exporters: {tower: &a {nodes: 'https://a'}, tower_b: {<<: *a}}",
            "1:55: exporters.tower_b.<<: maps are not merged here; write its keys out, or repeat single values by \
             `*anchor`",
        ),
        ("log: *nowhere", "1:6: not YAML: while parsing node, found unknown anchor"),
        (
            &format!("a: {}{}", "[".repeat(40), "]".repeat(40)),
            &format!("1:35: a{}: more than 32 levels", "[0]".repeat(31)),
        ),
    ]);
}

#[test]
fn what_is_quoted_cannot_steer_a_terminal() {
    check(&[(
        "\u{f}..:",
        "1:1: \\u{f}..: keys are nested here, not dotted; write `\\u{f}:` and `.:` below it",
    )]);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    check(&[
        ("globl: {debug: true}", "1:1: globl: unknown key; did you mean `global`?"),
        ("log: {max_byte: 1GiB}", "1:7: log.max_byte: unknown key; did you mean `max_bytes`?"),
        (
            "threat_intel: {server: []}",
            "1:16: threat_intel.server: unknown key; did you mean `servers`?",
        ),
        (
            "inputs:\n- {type: http, listen: '127.0.0.1:94'}\n- {type: http, listen: '127.0.0.1:94'}",
            "3:16: inputs[1].listen: input 1 of this list listens there already",
        ),
        (
            "inputs: [{type: unix, path: a}, {type: unix, path: a}]",
            "1:46: inputs[1].path: input 1 of this list listens there already",
        ),
        (
            "inputs: [{type: file, path: a}, {type: file, path: a}]",
            "1:46: inputs[1].path: input 1 of this list reads it already",
        ),
        (
            "inputs: [{type: hushd, url: 'http://a:1'}, {type: sqlite, path: a}, {type: hushd, url: 'http://a:1'}]",
            "1:83: inputs[2].url: input 1 of this list asks there already",
        ),
        (
            "inputs: [{type: sqlite, path: a}, {type: sqlite, path: a}]",
            "1:50: inputs[1].path: input 1 of this list reads it already",
        ),
        (
            "admin: {listen: '127.0.0.1:94'}\ninputs: [{type: http, listen: '127.0.0.1:94'}]",
            "1:9: admin.listen: an input of type http listens there already, at 127.0.0.1:94",
        ),
        (
            "admin: {listen: '127.0.0.1:94'}\ninputs: [{type: http, listen: '0.0.0.0:94', token: 0123456789abcdef}]",
            "1:9: admin.listen: an input of type http listens there already, at 0.0.0.0:94",
        ),
        (
            "admin: {listen: '127.0.0.1:94'}\ninputs: [{type: http, listen: '[::]:94', token: 0123456789abcdef}]",
            "1:9: admin.listen: an input of type http listens there already, at [::]:94",
        ),
        (
            "inputs: [{type: file, path: '/a/[b'}]",
            "1:23: inputs[0].path: is no pattern: invalid range pattern",
        ),
        (
            "response_hooks: [{name: a, when: default}]",
            "1:18: response_hooks[0]: a hook needs `action`",
        ),
        (
            "response_hooks: {name: a}",
            "1:17: response_hooks: expected a list of response hooks, found a map",
        ),
        (
            "response_hooks: [{name: a, when: \"severity == 'criticle'\", action: webhook, params: {url: 'https://h'}}]",
            "1:28: response_hooks[0].when: column 13: expected a severity: info, low, medium, high or critical; \
             did you mean `critical`?",
        ),
        (
            "response_hooks: [{name: a, when: default, action: webhook}]",
            "1:18: response_hooks[0].params.url: is required for action webhook",
        ),
        (
            "response_hooks: [{name: a, when: default, action: script, params: {url: 'https://h'}}]",
            "1:51: response_hooks[0].action: expected webhook, pagerduty or opsgenie, found `script`",
        ),
        (
            "response_hooks: [{name: a, when: default, action: pagerduty, params: {exporter: p}}]",
            "1:71: response_hooks[0].params.exporter: there is no exporter `p`; action pagerduty needs one of type pagerduty",
        ),
        (
            "response_hooks: [{name: a, when: default, action: webhook, params: {url: 'https://h', exporter: p}}]",
            "1:87: response_hooks[0].params.exporter: is of actions pagerduty and opsgenie; a webhook has `params.url`",
        ),
        (
            "response_hooks: [{name: a, when: default, action: webhook, params: {url: 'http://h.example'}}]",
            "1:69: response_hooks[0].params.url: plain http to another host carries events and credentials readably; \
             use https, or set `allow_http: true`",
        ),
        (
            "response_hooks: [{name: a, when: default, action: webhook, params: {url: 'https://h'}, \
             idempotency_key: '{hook}:{sesion_id}'}]",
            "1:88: response_hooks[0].idempotency_key: column 8: unknown variable; did you mean `session_id`?",
        ),
        (
            "response_hooks: [{name: a, when: default, action: webhook, params: {url: 'https://h'}, \
             idempotency_key: '{hook'}]",
            "1:88: response_hooks[0].idempotency_key: column 1: a brace without its partner; write `{{` or `}}` for a brace",
        ),
        (
            "response_hooks: [{name: a, when: default, action: webhook, params: {url: 'https://h'}, timeout_ms: 30001}]",
            "1:100: response_hooks[0].timeout_ms: expected a whole number in ms or a text such as 10s, from 1ms to \
             30s, found `30001`",
        ),
        (
            "response_hooks: [{name: A, when: default, action: webhook, params: {url: 'https://h'}}]",
            "1:19: response_hooks[0].name: expected a name of at most 64 lower-case letters, digits, `_` and `-`",
        ),
        (
            "exporters: {tower: {nodes: 'https://t'}}\n\
             response_hooks: [{name: tower, when: default, action: webhook, params: {url: 'https://h'}}]",
            "2:25: response_hooks[0].name: is the name of another hook or exporter",
        ),
        (
            "response_hooks: [{name: a, when: default, action: webhook, params: {url: 'https://h', \
             payload: [a]}}]",
            "1:96: response_hooks[0].params.payload: expected a map of anything, of at most 65536 bytes as JSON, found a \
             list",
        ),
        (
            "response_hooks: [{name: a, when: default, action: webhook, params: {url: 'https://h'}, cooldown_secs: 5}]",
            "1:88: response_hooks[0].cooldown_secs: unknown key; did you mean `cooldown_seconds`?",
        ),
        (
            "admin: {listen: '0.0.0.0:9401', tokens: [{name: a, token: 0123456789abcdef, role: admin}]}",
            "1:9: admin.listen: is reachable from other hosts: set `admin.tls` and `admin.tokens`, or listen \
             on a loopback address, such as 127.0.0.1:9401",
        ),
        (
            "admin: {listen: '127.0.0.1:1', tokens: [{name: a, token: 0123456789abcdef, role: king}]}",
            "1:82: admin.tokens[0].role: expected viewer, operator or admin, found `king`",
        ),
        (
            "admin: {listen: '127.0.0.1:1', tokens: [{name: ' ', token: 0123456789abcdef, role: admin}]}",
            "1:42: admin.tokens[0].name: is empty; `shrike audit log` tells by it who did what",
        ),
        (
            "filtering: {exclude_paths: [/health, '']}",
            "1:13: filtering.exclude_paths: has an empty text, with which every path begins: no \
             event would be left; remove it",
        ),
        (
            "filtering: {domains: ['${NOT_THERE:- }']}",
            "1:13: filtering.domains: has an empty text, which is no domain; remove it",
        ),
        (
            "admin: {tokens: [{name: a, token: 0123456789abcdef, role: admin}]}",
            "1:9: admin.tokens: has no effect without `admin.listen`",
        ),
        (
            "admin: {listen: 'localhost:9401'}",
            "1:9: admin.listen: expected an address and a port, such as 127.0.0.1:9401",
        ),
        (
            "zebra: 1",
            "1:1: zebra: unknown key; expected one of: admin, audit, credentials, enrichment, exporters, filtering, \
             global, inputs, log, memory, pipeline, privacy, response_hooks, routing, schema, threat_intel, version",
        ),
        (
            "exporters:\n  tower:\n    nodez: https://a\n",
            "3:5: exporters.tower.nodez: unknown key; did you mean `nodes`?",
        ),
        (
            "exporters:\n  tower:\n    max_retries: 5\n",
            "3:5: exporters.tower.max_retries: unknown key; did you mean \
             `exporters.tower.retry.max_retries`?",
        ),
        (
            "exporters:\n  tower:\n    batch: {sise: 5}\n",
            "3:13: exporters.tower.batch.sise: unknown key; did you mean `size`?",
        ),
        (
            "exporters:\n  tower:\n    batch.size: 5\n",
            "3:5: exporters.tower.batch.size: keys are nested here, not dotted; write \
             `batch:` and `size:` below it",
        ),
        (
            "exporters:\n  tower:\n    index: {nam: a}\n",
            "3:13: exporters.tower.index.nam: unknown key; did you mean `name`?",
        ),
        (
            "exporters:\n  towr: {}\n",
            "2:3: exporters.towr: unknown exporter type; did you mean `tower`?",
        ),
        (
            "exporters:\n  eu: {type: towr}\n",
            "2:14: exporters.eu.type: unknown exporter type; did you mean `tower`?",
        ),
        (
            "exporters:\n  eu: {}\n",
            "2:3: exporters.eu: unknown exporter type; set `type` to one of: tower, stdout",
        ),
        (
            "exporters:\n  Tower: {}\n",
            "2:3: exporters.Tower: expected a name of at most 64 lower-case letters, digits, \
             `_` and `-`",
        ),
        (
            "inputs: [{type: file, path: a, folow: true}]",
            "1:32: inputs[0].folow: unknown key; did you mean `follow`?",
        ),
        (
            "schema: {field_mappings: {agent.idd: x}}",
            "1:27: schema.field_mappings.agent.idd: no field of an event; did you mean \
             `agent.id`?",
        ),
        (
            "enrichment: {mitre: {egress: {tactik: TA0010}}}",
            "1:39: enrichment.mitre.egress.tactik: unknown key; did you mean `tactic`?",
        ),
    ]);
}

#[test]
fn values_of_the_wrong_kind_are_refused_with_what_was_expected() {
    check(&[
        ("version: 2.0.0", "1:1: version: version 2.0.0 is not understood; expected 1.x"),
        ("version: one", "1:10: version: expected a version such as 8.17.0, found `one`"),
        (
            "inputs: [{type: file, path: ~/audit.log}]",
            "1:29: inputs[0].path: `~` is not replaced by a home; write `${HOME}`, or the whole \
             path",
        ),
        ("global: {debug: yes}", "1:17: global.debug: expected true or false, found `yes`"),
        ("global: {debug: [true]}", "1:17: global.debug: expected true or false, found a list"),
        (
            "global: 3",
            "1:9: global: expected a map with debug, environment, labels, log, \
             shutdown_timeout_ms, state_dir, tenant_id or watch_config, found a single value",
        ),
        (
            "global: {log: {level: verbose}}",
            "1:23: global.log.level: expected error, warn, info, debug or trace, found `verbose`",
        ),
        (
            "global: {log: {level: warm}}",
            "1:23: global.log.level: expected error, warn, info, debug or trace, found \
             `warm`; did you mean `warn`?",
        ),
        ("global: {labels: [a]}", "1:18: global.labels: expected a map of texts, found a list"),
        (
            "global: {labels: {a: {b: c}}}",
            "1:22: global.labels.a: expected a text of at most 4096 bytes without control \
             characters, found a map",
        ),
        (
            "pipeline: {workers: -1}",
            "1:21: pipeline.workers: expected a whole number from 0 to 1024, found `-1`",
        ),
        (
            "pipeline: {workers: 2000}",
            "1:21: pipeline.workers: expected a whole number from 0 to 1024, found `2000`",
        ),
        (
            "pipeline: {workers: 1.5}",
            "1:21: pipeline.workers: expected a whole number from 0 to 1024, found `1.5`",
        ),
        (
            "log: {sync_ms: 5 parsecs}",
            "1:16: log.sync_ms: expected a whole number in ms or a text such as 10s, at most \
             1m, found `5 parsecs`",
        ),
        (
            "log: {sync_ms: 2h}",
            "1:16: log.sync_ms: expected a whole number in ms or a text such as 10s, at most \
             1m, found `2h`",
        ),
        (
            "log: {keep: {age: 7}}",
            "1:19: log.keep.age: expected a time span such as 10s, at most 3650d, found `7`",
        ),
        (
            "log: {max_bytes: 3 MB}",
            "1:7: log.max_bytes: holds fewer than two segments; raise it or lower \
             `log.segment_bytes`",
        ),
        (
            "log: {segment_bytes: 3000001}",
            "1:7: log.segment_bytes: expected a multiple of 1MiB\n1:7: log.segment_bytes: a \
             segment must hold an event of `pipeline.max_event_bytes` and 1MiB more",
        ),
        (
            "log: {max_bytes: 1GiB, segment_bytes: 1GiB}",
            "1:7: log.max_bytes: holds fewer than two segments; raise it or lower \
             `log.segment_bytes`",
        ),
        ("log: {keep: {bytes: 100GiB}}", "1:14: log.keep.bytes: is more than `log.max_bytes`"),
        (
            "log: {io: uring}",
            "1:11: log.io: expected auto, io_uring or syscalls, found `uring`; did you mean \
             `io_uring`?",
        ),
        ("inputs: {}", "1:9: inputs: expected a list of inputs, found a map"),
        (
            "inputs: [{}]",
            "1:10: inputs[0].type: an input needs `type`: file, http, hushd, sqlite, stdin or unix",
        ),
        ("inputs: [{type: file}]", "1:10: inputs[0].path: an input of type file needs `path`"),
        (
            "inputs: [{type: http, listen: '0.0.0.0:9400'}]",
            "1:23: inputs[0].listen: is reachable from other hosts: set `token`, or listen on a \
             loopback address",
        ),
        (
            "inputs: [{type: http, listen: here}]",
            "1:23: inputs[0].listen: expected an address and a port, such as 127.0.0.1:9400",
        ),
        (
            "inputs: [{type: http, tls: {cert_path: a.pem}}]",
            "1:29: inputs[0].tls.cert_path: needs `tls.key_path` beside it",
        ),
        (
            "inputs: [{type: unix, path: a, token: x}]",
            "1:32: inputs[0].token: belongs to inputs of type http or hushd",
        ),
        (
            "inputs: [{type: file, path: a, follow: false, mode: append}]",
            "1:47: inputs[0].mode: belongs to files that are followed",
        ),
        (
            "inputs: [{type: stdin, follow: true}]",
            "1:24: inputs[0].follow: belongs to inputs of type file",
        ),
        (
            "inputs: [{type: stdin}, {type: stdin}]",
            "1:26: inputs[1].type: standard input can be read only once",
        ),
        (
            "enrichment: {mitre: {egress: TA0010}}",
            "1:30: enrichment.mitre.egress: expected a map with tactic or technique, found a \
             single value",
        ),
    ]);
}

#[test]
fn exporter_keys_are_checked_like_all_others() {
    check(&[
        ("exporters: {tower: {}}", "1:13: exporters.tower.nodes: needs at least one URL"),
        (
            "exporters: {tower: {nodes: 'a:9200'}}",
            "1:28: exporters.tower.nodes: expected an http or https URL, or a list of them, \
             found a text without https:// before the host",
        ),
        (
            "exporters: {tower: {nodes: 'ftp://a'}}",
            "1:28: exporters.tower.nodes: expected an http or https URL, or a list of them, \
             found a URL of another scheme",
        ),
        (
            "exporters: {tower: {nodes: }}",
            "1:21: exporters.tower.nodes: expected an http or https URL, or a list of them, found nothing",
        ),
        (
            "exporters: {tower: {nodes: 'https://a:99999'}}",
            "1:28: exporters.tower.nodes: expected an http or https URL, or a list of them, \
             found a URL with a port that is not from 1 to 65535",
        ),
        (
            "exporters: {tower: {nodes: ['https://[::1]:9200', 'https://a:0', 'https://b:']}}",
            "1:51: exporters.tower.nodes[1]: expected an http or https URL, \
             found a URL with a port that is not from 1 to 65535\n\
             1:66: exporters.tower.nodes[2]: expected an http or https URL, \
             found a URL with a port that is not from 1 to 65535",
        ),
        (
            "exporters: {tower: {nodes: 'no url'}}",
            "1:28: exporters.tower.nodes: expected an http or https URL, or a list of them, \
             found a text that is no URL",
        ),
        (
            "exporters: {tower: {nodes: 'https://u:p4ssw0rd@a'}}",
            "1:28: exporters.tower.nodes: expected an http or https URL, or a list of them, \
             found a URL with credentials; write them under their own keys",
        ),
        (
            "exporters: {tower: {nodes: 'http://far:9200'}}",
            "1:21: exporters.tower.nodes: plain http to another host carries events and \
             credentials readably; use https, or set `allow_http: true`",
        ),
        (
            "exporters: {tower: {nodes: [https://a, 'http://far']}}",
            "1:21: exporters.tower.nodes: plain http to another host carries events and \
             credentials readably; use https, or set `allow_http: true`",
        ),
        (
            "exporters: {tower: {nodes: [https://a, {}]}}",
            "1:40: exporters.tower.nodes[1]: expected an http or https URL, found a map",
        ),
        (
            "exporters: {tower: {nodes: https://a, index: {mode: dayly}}}",
            "1:53: exporters.tower.index.mode: expected daily or alias, found `dayly`; did \
             you mean `daily`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, index: a-name-that-is-too-long}}",
            "1:46: exporters.tower.index: expected a text of at most 16 bytes without control \
             characters, found one of 23 bytes",
        ),
        (
            "exporters: {tower: {nodes: https://a, ack: {channel: 12}}}",
            "1:54: exporters.tower.ack.channel: expected a UUID, found `12`",
        ),
        (
            "exporters: {tower: {nodes: https://a, token: ''}}",
            "1:46: exporters.tower.token: expected a secret text, found an empty one",
        ),
        (
            "exporters: {tower: {nodes: https://a, format: cef}}",
            "1:39: exporters.tower.format: tower takes ecs or native, not cef",
        ),
        (
            "exporters: {tower: {nodes: https://a, format: esc}}",
            "1:47: exporters.tower.format: expected native, ecs, cef, ocsf or text, found `esc`; \
             did you mean `ecs`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, batch: {size: 5000}}}",
            "1:47: exporters.tower.batch.size: tower takes at most 1000 events",
        ),
        (
            "exporters: {tower: {nodes: https://a, batch: {max_bytes: 1GiB}}}",
            "1:47: exporters.tower.batch.max_bytes: tower takes at most 1MB",
        ),
        (
            "exporters: {tower: {nodes: https://a, batch_size: 5, batch: {size: 6}}}",
            "1:62: exporters.tower.batch.size: `exporters.tower.batch_size` at 1:39 sets the \
             same key to another value; keep one",
        ),
        (
            "exporters: {tower: {nodes: https://a, batch_timeout: 10}}",
            "1:54: exporters.tower.batch_timeout: expected a time span such as 10s, from 1ms \
             to 1h, found `10`",
        ),
        (
            "exporters: {tower: {nodes: https://a, timeout_ms: 0}}",
            "1:51: exporters.tower.timeout_ms: expected a whole number in ms or a text such as \
             10s, from 1ms to 1h, found `0`",
        ),
        (
            "exporters: {tower: {nodes: https://a, alert_after_ms: 0s}}",
            "1:55: exporters.tower.alert_after_ms: expected a whole number in ms or a text such \
             as 10s, from 1ms to 1d, found `0s`",
        ),
        (
            "exporters: {tower: {nodes: https://a, dlq: {max_age_days: 0}}}",
            "1:59: exporters.tower.dlq.max_age_days: expected a whole number in d or a text such \
             as 10s, from 1s to 3650d, found `0`",
        ),
        (
            "exporters: {tower: {nodes: https://a, retry: {max_age: 0s}}}",
            "1:56: exporters.tower.retry.max_age: expected none, or a time span such as 10s, at \
             least 1ms, found `0s`",
        ),
        (
            "inputs: [{type: hushd, url: 'http://127.0.0.1:1', poll_interval_ms: 0}]",
            "1:69: inputs[0].poll_interval_ms: expected a whole number in ms or a text such as \
             10s, from 10ms to 1h, found `0`",
        ),
        (
            "credentials: {refresh_interval: 0}",
            "1:33: credentials.refresh_interval: expected a whole number in s or a text such as \
             10s, from 1s to 30d, found `0`",
        ),
        (
            "exporters: {tower: {nodes: []}}",
            "1:28: exporters.tower.nodes: expected an http or https URL, or a list of them, found \
             an empty list",
        ),
        (
            "exporters: {tower: {nodes: https://a, compression: zip}}",
            "1:52: exporters.tower.compression: expected true, false, none, gzip, zstd or \
             deflate, found `zip`; did you mean `gzip`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, compression: zstd}}",
            "1:39: exporters.tower.compression: tower takes gzip or none",
        ),
        (
            "exporters: {tower: {nodes: https://a, compression: {level: 12}}}",
            "1:53: exporters.tower.compression.level: expected a level from 1 to 9",
        ),
        (
            "exporters: {tower: {nodes: https://a, retry: {backoff_multiplier: 0.5}}}",
            "1:67: exporters.tower.retry.backoff_multiplier: expected a number from 1 to 100, \
             found `0.5`",
        ),
        (
            "exporters: {tower: {nodes: https://a, retry: {initial_backoff_ms: 1h}}}",
            "1:47: exporters.tower.retry.initial_backoff_ms: the first wait is longer than \
             `retry.max_backoff_ms`",
        ),
        (
            "exporters: {tower: {nodes: https://a, rate_limit: {burst_size: 5}}}",
            "1:52: exporters.tower.rate_limit.burst_size: has no effect without \
             `rate_limit.requests_per_second`",
        ),
        (
            "exporters: {tower: {nodes: https://a, \
             rate_limit: {requests_per_second: 1, min_rps: 2}}}",
            "1:76: exporters.tower.rate_limit.min_rps: is more than \
             `rate_limit.requests_per_second`",
        ),
        (
            "exporters: {tower: {nodes: https://a, tls: {client_cert_path: a}}}",
            "1:45: exporters.tower.tls.client_cert_path: needs `tls.client_key_path` too",
        ),
        (
            "exporters: {tower: {nodes: https://a, tls: {key: a}}}",
            "1:45: exporters.tower.tls.key: needs `tls.client_cert_path` too",
        ),
        (
            "exporters: {tower: {nodes: https://a, tls: {fingerprint: 'ab:cd'}}}",
            "1:45: exporters.tower.tls.fingerprint: expected SHA-256 of a certificate, 64 \
             hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256 -in CERT.pem` prints \
             it",
        ),
        (
            "exporters: {tower: {nodes: https://a, tls: {min_version: 1.1}}}",
            "1:58: exporters.tower.tls.min_version: expected 1.2 or 1.3, found `1.1`; did you \
             mean `1.2`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, from: yesterday}}",
            "1:45: exporters.tower.from: expected earliest, latest or a time such as \
             2026-01-31T12:00:00Z, found `yesterday`",
        ),
        (
            "exporters: {tower: {nodes: https://a, proxy: 'http//x'}}",
            "1:46: exporters.tower.proxy: expected none, env or a URL, found another text",
        ),
        (
            "exporters: {tower: {nodes: https://a, headers: {'a b': c}}}",
            "1:39: exporters.tower.headers: `a b` is no name of a header",
        ),
        (
            "exporters: {tower: {nodes: https://a, filter: {min_severity: hihg}}}",
            "1:62: exporters.tower.filter.min_severity: expected info, low, medium, high, \
             critical or none, found `hihg`; did you mean `high`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, concurrency: 0}}",
            "1:52: exporters.tower.concurrency: expected auto, or a whole number from 1 to \
             1024, found `0`",
        ),
        (
            "exporters: {tower: {nodes: https://a, routing: [{condition: sevrity == high}]}}",
            "1:50: exporters.tower.routing[0].condition: column 1: expected a name: a field, \
             `labels.X` or `metadata.a.b`; did you mean `severity`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, routing: [{index: a}]}}",
            "1:49: exporters.tower.routing[0]: a rule needs a `condition`",
        ),
        (
            "exporters: {tower: {nodes: https://a, \
             routing: [{condition: 'severity == \"high\"', nodes: b}]}}",
            "1:83: exporters.tower.routing[0].nodes: unknown key; expected one of: condition, \
             index",
        ),
    ]);
}

#[test]
fn references_that_do_not_hold_are_refused() {
    check(&[
        // Once each, wherever they stand.
        (
            "global: {labels: {a: '${NOWHERE}'}}",
            "1:22: global.labels.a: the environment has no variable NOWHERE; set it, or write a \
             default: ${NOWHERE:-text}",
        ),
        (
            "privacy: {redact_fields: [session.id, '${NOWHERE}']}",
            "1:39: privacy.redact_fields[1]: the environment has no variable NOWHERE; set it, or \
             write a default: ${NOWHERE:-text}",
        ),
        (
            "global: {environment: '${NOWHERE}'}",
            "1:23: global.environment: the environment has no variable NOWHERE; set it, or \
             write a default: ${NOWHERE:-text}",
        ),
        (
            "global: {environment: '${NOWHERE'}",
            "1:23: global.environment: `${` without `}`; write `$${` for the text itself",
        ),
        (
            "global: {environment: '${}'}",
            "1:23: global.environment: expected the name of an environment variable between \
             `${` and `}`",
        ),
        (
            "global: {environment: '${1A}'}",
            "1:23: global.environment: expected the name of an environment variable between \
             `${` and `}`",
        ),
        (
            "global: {environment: '${safe:secret/a#b}'}",
            "1:23: global.environment: unknown provider `safe`; expected ${VAR}, \
             ${VAR:-text}, ${file:/path}, ${secret:name}, ${vault:path#field}, ${k8s:name/key} or \
             ${state_dir}",
        ),
        (
            "global: {environment: '${vault:secret/data/a#b}'}",
            "1:23: global.environment: no Vault is known; set `credentials.vault.address`",
        ),
        (
            "audit: {hash_chain: false}",
            "1:9: audit.hash_chain: receipts are always chained; `audit.enabled: false` writes none",
        ),
        (
            "credentials: {provider: vault}",
            "1:1: credentials.vault.address: no Vault is known; set `credentials.vault.address`",
        ),
        (
            "credentials: {provider: vault, vault: {address: 'https://v', auth_method: token}}",
            "1:1: credentials.vault.token: `auth_method: token` needs `credentials.vault.token`",
        ),
        (
            "global: {environment: '${file:relative}'}",
            "1:23: global.environment: expected an absolute path, found relative",
        ),
        (
            "global: {environment: '${file:/run/nothing}'}",
            "1:23: global.environment: cannot read /run/nothing: entity not found",
        ),
        (
            "global: {state_dir: '${state_dir}/x'}",
            "1:21: global.state_dir: state_dir cannot refer to itself",
        ),
        (
            "exporters: {tower: {nodes: https://a, token: '@/run/nothing'}}",
            "1:46: exporters.tower.token: cannot read /run/nothing: entity not found",
        ),
        (
            "inputs: [{type: file, path: '${NOWHERE}'}]",
            "1:29: inputs[0].path: the environment has no variable NOWHERE; set it, or write \
             a default: ${NOWHERE:-text}",
        ),
    ]);
}

#[test]
fn every_mistake_is_told_in_order_of_place() {
    let text =
        "exporters:\n  tower:\n    nodes: nowhere\n    batch: {size: x}\nversion: 3\nlgo: 1\n";
    let error = load(text).expect_err("four mistakes");
    let Error::Wrong(mistakes) = &error else { panic!("{error}") };
    assert_eq!(mistakes.count(), 4);
    let lines = error.to_string();
    let places: Vec<&str> = lines.lines().map(|line| &line[..15]).collect();
    assert_eq!(
        places,
        ["shrike.yaml:3:1", "shrike.yaml:4:1", "shrike.yaml:5:1", "shrike.yaml:6:1"]
    );
}

#[test]
fn a_flood_of_mistakes_is_cut_and_counted() {
    let text: String = (0..150).map(|n| format!("zz{n}: 1\n")).collect();
    let error = load(&text).expect_err("150 mistakes").to_string();
    assert_eq!(error.lines().count(), 101);
    assert!(error.ends_with("\nand 50 more"), "{error}");
}
