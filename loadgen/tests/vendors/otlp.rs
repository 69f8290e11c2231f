//! OTLP/HTTP: every record as the protocol wants it, a busy receiver, a document as the body.

use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Fake, Otlp, Vendor};

use crate::{assert_complete, deliver, fake};

fn receiver(script: &str) -> Fake {
    let book = Arc::new(Book::new("otlp"));
    fake(Vendor::Otlp(Otlp::new(Arc::clone(&book))), book, script)
}

#[test]
fn records_arrive_as_the_protocol_wants_them() {
    for protocol in ["", "    protocol: http/json\n"] {
        for more in ["", "    compression: none\n    format: ecs\n", "    format: cef\n"] {
            let fake = receiver("");
            let endpoint = format!("http://{}/v1/logs", fake.addr());
            let keys = format!("    type: otlp\n    endpoint: {endpoint}\n{protocol}{more}");
            let status = deliver(2_000, &keys);
            assert_eq!(status.exporters[0].counts.delivered, 2_000, "{protocol}{more}");
            assert_complete(2_000, &fake.report());
        }
    }
}

#[test]
fn halves_of_a_request_in_protobuf_are_requests() {
    // Half of the default: bodies that are larger are cut into byte ranges, again and again.
    let fake = receiver("max-body 300000");
    let keys = format!(
        "    type: otlp\n    endpoint: http://{}\n    compression: none\n    batch: {{max_bytes: \
         1MB, linger_ms: 1000}}\n",
        fake.addr()
    );
    let status = deliver(2_000, &keys);
    assert_eq!(status.exporters[0].counts.delivered, 2_000);
    assert_complete(2_000, &fake.report());
}

#[test]
fn a_busy_receiver_gets_everything_later() {
    let fake = receiver("requests 0..3 status 503");
    let keys = format!("    type: otlp\n    endpoint: http://{}\n", fake.addr());
    deliver(1_000, &keys);
    assert_complete(1_000, &fake.report());
}
