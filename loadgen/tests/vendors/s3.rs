//! Object storage: signed objects, partitions by time and tenant, one object for the same bytes.

use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Account, Fake, Objects, S3, Vendor};

use crate::{assert_complete, deliver, fake};

fn store(token: Option<&str>, script: &str) -> (Fake, Objects) {
    let book = Arc::new(Book::new("s3"));
    let account = Account {
        bucket: "sec-events".to_owned(),
        region: "eu-central-1".to_owned(),
        key_id: "AKIDEXAMPLE".to_owned(),
        secret: "s3cr+t/key".to_owned(),
        token: token.map(str::to_owned),
    };
    let store = S3::new(Arc::clone(&book), account);
    let objects = store.objects();
    (fake(Vendor::S3(store), book, script), objects)
}

fn keys(fake: &Fake, more: &str) -> String {
    format!(
        "    type: s3\n    endpoint: http://{}\n    bucket: sec-events\n    region: eu-central-1\n    \
         access_key_id: AKIDEXAMPLE\n    secret_access_key: s3cr+t/key\n{more}",
        fake.addr()
    )
}

#[test]
fn signed_objects_of_every_format_arrive() {
    for (more, ending) in [
        ("", ".ndjson.zst"),
        ("    format: native\n    compression: gzip\n", ".ndjson.gz"),
        ("    format: ecs\n    compression: none\n", ".ndjson"),
        ("    format: cef\n", ".cef.zst"),
    ] {
        let (fake, objects) = store(None, "");
        let status = deliver(3_000, &keys(&fake, more));
        assert_eq!(status.exporters[0].counts.delivered, 3_000, "{more}");
        assert_complete(3_000, &fake.report());
        for key in objects.keys() {
            assert!(key.starts_with("events/dt=") && key.ends_with(ending), "{key}");
        }
    }
}

#[test]
fn partitions_name_day_and_tenant_and_more_is_signed() {
    let (fake, objects) = store(Some("t0k/en=="), "");
    let more = "    session_token: t0k/en==\n    key_prefix: 'a b/{tenant_id}/y={date:%Y}/'\n    \
                headers: {x-amz-storage-class: STANDARD_IA, x-amz-server-side-encryption: AES256}\n";
    deliver(2_000, &keys(&fake, more));
    assert_complete(2_000, &fake.report());
    let keys = objects.keys();
    assert!(keys.len() > 1 && keys.iter().all(|key| key.starts_with("a b/")), "{keys:?}");
    assert!(keys.iter().any(|key| key.contains("/y=2026/")), "{keys:?}");
}

#[test]
fn an_object_that_is_sent_again_takes_the_place_of_itself() {
    let (fake, objects) = store(None, "requests 0..2 lost\nrequests 2..4 status 503");
    let status = deliver(2_000, &keys(&fake, "    batch: {size: 500}\n"));
    assert_eq!(status.exporters[0].counts.delivered, 2_000);
    assert_complete(2_000, &fake.report());
    let report = fake.report();
    assert!(report.requests > objects.keys().len() as u64, "{report:?}");
}
